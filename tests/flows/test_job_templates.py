"""The job templates of work pools, rendered by Prefect itself, and what they ask of Kubernetes and of Docker."""

import asyncio
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from docker.models.containers import _create_container_args
from jsonschema import Draft202012Validator
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.workers.base import BaseJobConfiguration
from pydantic import ConfigDict

from flows import deployments

pytestmark = pytest.mark.usefixtures("prefect_server")
FOLDER = Path(__file__).parents[2] / "deploy"
TEMPLATES = {
    name: json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")) for name in ("kubernetes", "docker")
}
SECRET = re.compile("PASSWORD|SECRET|TOKEN|KEY|_URI|_URL")


class Job(BaseJobConfiguration):
    """A job of any kind of work pool."""

    model_config = ConfigDict(extra="allow")


def rendered(kind: str, **values: Any) -> dict[str, Any]:
    """The job of a flow run, from the template's defaults and the variables of a deployment."""
    values = {"command": "prefect flow-run execute", "name": "brave-lion"} | values
    job = asyncio.run(Job.from_template_and_values(TEMPLATES[kind], values, client=None))
    return job.model_dump()


def placeholders(template: dict[str, Any]) -> set[str]:
    return set(re.findall(r"{{ (\w+) }}", json.dumps(template["job_configuration"])))


@pytest.mark.parametrize("kind", TEMPLATES)
def test_every_variable_is_used_and_has_a_value_and_holds_no_secret(kind):
    variables = TEMPLATES[kind]["variables"]
    Draft202012Validator.check_schema(variables)
    assert placeholders(TEMPLATES[kind]) == set(variables["properties"])
    defaults = {name: each["default"] for name, each in variables["properties"].items() if "default" in each}
    assert set(variables["properties"]) - set(defaults) == {"name", "command", "labels"}  # which Prefect fills
    Draft202012Validator(variables).validate(defaults)
    assert "{{" not in json.dumps(rendered(kind))
    assert not [name for name in rendered(kind)["env"] if SECRET.search(name)]


def test_a_kubernetes_job_has_gpus_its_volume_and_its_secret():
    manifest = rendered("kubernetes", num_gpus=2, secret="keys", volume_claim="disk")["job_manifest"]
    assert (manifest["apiVersion"], manifest["kind"]) == ("batch/v1", "Job")
    pod = manifest["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 2
    assert container["envFrom"] == [{"secretRef": {"name": "keys"}}]
    assert pod["volumes"][0] == {"name": "data", "persistentVolumeClaim": {"claimName": "disk"}}
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    assert [*container["command"], container["args"]] == ["rmflow", "exec", "prefect flow-run execute"]


def test_docker_takes_a_container_with_gpus_its_folder_and_its_secrets():
    job = rendered("docker", num_gpus=2, data="/disk", secrets="/keys.env")
    asked = {name: job[name] for name in ("image", "volumes", "network_mode", "auto_remove")}
    made = _create_container_args(
        {**asked, "version": "1.47", "environment": job["env"], **job["container_create_kwargs"]}
    )
    host = made["host_config"]
    assert host["DeviceRequests"] == [
        {"Driver": "nvidia", "Count": 2, "DeviceIDs": [], "Capabilities": [["gpu"]], "Options": {}}
    ]
    assert host["Binds"] == ["/disk:/data", "/keys.env:/run/secrets/rmflow.env:ro"]
    assert (host["NetworkMode"], host["ShmSize"]) == ("host", 16 << 30)
    assert made["environment"] == {"RMFLOW_HOME": "/data/var", "PREFECT_HOME": "/data/var/prefect"}


def test_a_container_reads_its_secrets_from_their_file_and_runs_the_command(tmp_path):
    command = [
        part.replace("/run/secrets", str(tmp_path))
        for part in rendered("docker")["container_create_kwargs"]["entrypoint"]
    ]
    (tmp_path / "rmflow.env").write_text("RMFLOW_SIGNING_KEY='-----BEGIN\nab c\n-----END'\nHF_TOKEN=x\n")
    program = tmp_path / "rmflow"
    program.write_text('#!/bin/sh\necho "$@"; printenv RMFLOW_SIGNING_KEY HF_TOKEN\n')
    program.chmod(0o755)
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    ran = subprocess.run(
        [*command, "prefect", "flow-run", "execute"], env=environ, capture_output=True, text=True, check=True
    )
    assert ran.stdout == "exec prefect flow-run execute\n-----BEGIN\nab c\n-----END\nx\n"
    (tmp_path / "rmflow.env").unlink()
    assert subprocess.run([*command, "prefect"], env=environ, capture_output=True, check=False).returncode


def test_the_image_is_made_of_what_is_there_and_begins_with_rmflow():
    lines = (FOLDER / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = [name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]]
    assert {"rm", "tasks", "flows", "pyproject.toml"} <= set(copied)
    assert [name for name in copied if not (FOLDER.parent / name).exists()] == []
    assert 'ENTRYPOINT ["rmflow"]' in lines


@pytest.mark.parametrize(("kind", "has_folder"), [("kubernetes", False), ("docker", False), ("process", True)])
def test_retraining_goes_to_its_own_pool_and_ingestion_stays_on_this_machine(tiny, tmp_path, kind, has_folder):
    with get_client(sync_client=True) as client:
        template = TEMPLATES.get(kind, {})
        client.create_work_pool(WorkPoolCreate(name=f"gpus-{kind}", type=kind, base_job_template=template))
        deployments.make_pool("here")
        config = tiny(sample=None, ingest={"sources": [str(tmp_path / "*.jsonl")]})
        assert deployments.deploy(f"night-{kind}", config, "here", f"gpus-{kind}") == f"retrain/night-{kind}"
        retraining, ingestion = (
            client.read_deployment_by_name(f"{flow}/night-{kind}") for flow in ("retrain", "ingest")
        )
    assert (retraining.work_pool_name, ingestion.work_pool_name) == (f"gpus-{kind}", "here")
    assert ("working_dir" in retraining.job_variables) == has_folder
    assert "working_dir" in ingestion.job_variables


def test_a_work_pool_that_does_not_exist_has_no_kind(prefect_server):
    assert deployments.kind_of_pool("nowhere") is None
