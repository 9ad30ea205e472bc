"""Whole runs in processes of their own, as a user starts them: killed, served, triggered. Minutes: make test-slow."""

import functools
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from prefect.events import emit_event
from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.ingest import STORED_EVENT
from rm.model.manifests import CheckpointManifest
from tests.processes import processes_at, still_running, training_processes

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[2]
RMFLOW = str(Path(sys.executable).parent / "rmflow")


@pytest.fixture
def recipe(tmp_path, tiny) -> Path:
    path = tmp_path / "recipe.yaml"
    config = tiny(sample={"num_prompts": 300}, train={"pairs_per_step": 4, "checkpoint_every": 5, "num_epochs": 2})
    path.write_text(config.model_dump_json(exclude_defaults=True))
    return path


@pytest.fixture
def started():
    """Start commands that are ended, with all that they started, when the test is over."""
    processes: list[subprocess.Popen] = []

    def start(*command: str, **options) -> subprocess.Popen:
        # A shell that runs the tests in the background has set SIGINT to be ignored, which processes inherit.
        heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        process = subprocess.Popen(command, start_new_session=True, preexec_fn=heed, **options)  # noqa: PLW1509
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=60)


def environment(home: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    return {**kept, "RMFLOW_HOME": str(home), "HF_HUB_OFFLINE": "1", **more}


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> object:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.2)
    raise AssertionError(f"{what} did not happen in {seconds} s")


def answer(url: str, data: bytes | None = None) -> bytes | None:
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.read()
    except OSError:
        return None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(recipe: Path, home: Path) -> None:
    command = [RMFLOW, "run", "--config", str(recipe)]
    ended = subprocess.run(command, env=environment(home), capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def checkpoint(home: Path) -> CheckpointManifest:
    (folder,) = (home / "stages" / "train").glob("[!.]*")
    return CheckpointManifest.read(folder)


def num_versions(home: Path) -> int:
    code = "import mlflow; print(len(mlflow.MlflowClient().search_model_versions()))"
    environ = environment(home, MLFLOW_TRACKING_URI=f"sqlite:///{home / 'mlflow.db'}")
    return int(subprocess.run([sys.executable, "-c", code], env=environ, check=True, capture_output=True).stdout)


def test_a_run_killed_in_training_and_repeated_ends_with_the_same_checkpoint_and_one_version(recipe, tmp_path, started):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(recipe, whole)
    process = started(RMFLOW, "run", "--config", str(recipe), env=environment(killed), stderr=subprocess.DEVNULL)
    wait_for(lambda: list(killed.glob("stages/train/.*.resume/step-*/state.json")), 120, "the first checkpoint")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not list(killed.glob("stages/train/*/manifest.json"))
    run(recipe, killed)
    assert checkpoint(killed).digest == checkpoint(whole).digest
    assert num_versions(killed) == 1


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=["interrupted", "cancelled"])
def test_a_cancelled_run_ends_every_process(recipe, tmp_path, started, how):
    home = tmp_path / "home"
    command = [RMFLOW, "run", "--config", str(recipe), "--set", "compute.num_processes=2"]
    command += ["--set", "train.num_epochs=500"]
    process = started(*command, env=environment(home), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: list(home.glob("stages/train/.*.resume/step-*/state.json")), 180, "the first checkpoint")
    training = training_processes(home)
    assert len(training) == 2
    os.kill(process.pid, how)  # the flow's process alone, as Prefect's worker does it
    assert process.wait(timeout=90) != 0
    assert not still_running(training)
    wait_for(lambda: not processes_at(home), 20, "the end of all processes, Prefect's own server too,")
    assert not list(home.glob("stages/train/*/manifest.json"))


def test_the_registered_model_is_served_over_http(recipe, tmp_path, started):
    run(recipe, tmp_path / "home")
    port = free_port()
    command = "mlflow models serve -m models:/reward-model@champion --env-manager local -h 127.0.0.1 -p"
    started(RMFLOW, "exec", *command.split(), str(port), env=environment(tmp_path / "home"))
    wait_for(lambda: answer(f"http://127.0.0.1:{port}/health") is not None, 120, "the server's start")
    rows = [["What is 2 + 2?", "4"], ["What is 2 + 2?", "5"]]
    query = json.dumps({"dataframe_split": {"columns": ["prompt", "response"], "data": rows}}).encode()
    served = json.loads(answer(f"http://127.0.0.1:{port}/invocations", query))["predictions"]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps({"prompt": prompt, "response": response}) + "\n" for prompt, response in rows))
    command = [RMFLOW, "score", "--model", str(checkpoint(tmp_path / "home").path), "--data", str(data)]
    scored = subprocess.run(command, env=environment(tmp_path / "home"), check=True, capture_output=True, text=True)
    expected = [json.loads(line)["reward"] for line in scored.stdout.splitlines()[-2:]]
    assert served == pytest.approx(expected, abs=1e-5)


@pytest.fixture
def team_server(tmp_path, started, recipe):
    """The deployments of prefect.yaml with this recipe, on a server with a worker; `within_s` is their quiet time."""
    port, home, project, within_s = free_port(), tmp_path / "home", tmp_path / "project", 5
    project.mkdir()
    for name in ("rm", "tasks", "flows"):
        (project / name).symlink_to(PROJECT / name)
    deployments = yaml.safe_load((PROJECT / "prefect.yaml").read_text())
    for deployment in deployments["deployments"]:
        deployment["parameters"]["config"] = json.loads(recipe.read_text())
        for trigger in deployment.get("triggers", ()):
            trigger |= {"within": within_s, "schedule_after": within_s}
    (project / "prefect.yaml").write_text(yaml.safe_dump(deployments))
    api = f"http://127.0.0.1:{port}/api"
    environ = environment(home, PREFECT_API_URL=api, PREFECT_WORKER_QUERY_SECONDS="2", OMP_NUM_THREADS="1")

    def tool(*arguments: str, **options) -> subprocess.Popen:
        return started(RMFLOW, "exec", *arguments, env=environ, cwd=project, stdout=subprocess.DEVNULL, **options)

    tool("prefect", "server", "start", "--port", str(port))
    wait_for(lambda: answer(f"{api}/health"), 120, "the server's start")
    assert tool("prefect", "work-pool", "create", "local", "--type", "process").wait(120) == 0
    assert tool("prefect", "--no-prompt", "deploy", "--all").wait(120) == 0
    tool("prefect", "worker", "start", "--pool", "local")

    def runs() -> list[dict]:
        """The retrainings that no schedule has planned, oldest first."""
        query = {"flows": {"name": {"any_": ["retrain"]}}, "sort": "EXPECTED_START_TIME_ASC"}
        found = answer(f"{api}/flow_runs/filter", json.dumps(query).encode())
        return [run for run in json.loads(found or b"[]") if not run["auto_scheduled"]]

    return SimpleNamespace(api=api, home=home, project=project, environ=environ, runs=runs, within_s=within_s)


def test_new_annotations_start_a_retraining_on_a_local_server(team_server, started, recipe):
    command = [RMFLOW, "ingest", "--config", str(recipe)]
    assert started(*command, env=team_server.environ, cwd=team_server.project).wait(120) == 0
    wait_for(lambda: "COMPLETED" in [run["state_type"] for run in team_server.runs()], 240, "the retraining")
    assert num_versions(team_server.home) == 1


def test_events_that_come_together_start_one_retraining_and_one_runs_at_a_time(team_server):
    now = datetime.now(UTC)
    with temporary_settings({PREFECT_API_URL: team_server.api}):
        for seconds in (0, 1, 2, team_server.within_s + 1):
            emit_event(
                STORED_EVENT,
                resource={"prefect.resource.id": "rmflow.annotations.team"},
                occurred=now + timedelta(seconds=seconds),
            )
        EventsWorker.drain_all()

    def ended() -> list[dict]:
        return [run for run in team_server.runs() if run["state_type"] == "COMPLETED"]

    wait_for(lambda: len(ended()) > 1, 300, "both retrainings")
    # The one that waits for its turn may be either: the server grants it by the order in which they ask again.
    first, second = sorted(team_server.runs(), key=lambda run: run["start_time"])
    assert first["end_time"] <= second["start_time"]
