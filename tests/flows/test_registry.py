"""What is registered stays what it was: planted changes of versions, their records, and the commands about them."""

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import mlflow
import pytest
import torch
from mlflow.tracking import MlflowClient
from prefect.client.schemas.objects import StateType
from safetensors.torch import load_file, save_file

from flows.retrain import retrain
from rm.errors import ConfigError, RegistrationError
from rm.files import sha256_file, sha256_json
from rm.gate import promotion
from rm.gate import record as records
from rm.gate.record import RECORD_NAME
from rm.model.config import ModelConfig
from tasks import base_models, environment, registry, versions
from tests.flows.conftest import LENIENT

pytestmark = pytest.mark.usefixtures("without_figures", "few_trees")
OTHER = {"pairs_per_step": 8, "seed": 1}


@pytest.fixture(scope="module")
def key_files(tmp_path_factory):
    """A private key and its public half, as openssl writes them."""
    folder = tmp_path_factory.mktemp("keys")
    private, public = folder / "private.pem", folder / "public.pem"
    for command in (["genpkey", "-algorithm", "ed25519"], ["pkey", "-in", str(private), "-pubout"]):
        out = public if command[0] == "pkey" else private
        subprocess.run(["openssl", *command, "-out", str(out)], check=True)
    return private, public


@pytest.fixture(scope="module")
def unsigned(prefect_server, tiny):
    """Two versions of ``line``: the champion and a challenger."""
    for sections in ({}, {"train": OTHER}):
        retrain(tiny(registry={"name": "line"}, **sections))
    return "line"


@pytest.fixture(scope="module")
def signed(prefect_server, tiny, key_files):
    """A signed version."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RMFLOW_SIGNING_KEY", str(key_files[0]))
        retrain(tiny(registry={"name": "signed"}))
    return "signed"


def version(name, number="1"):
    return MlflowClient().get_model_version(name, number)


def folder_of(name, number="1") -> Path:
    """Where MLflow keeps the files of a version."""
    return Path(mlflow.artifacts.download_artifacts(f"models:/{name}/{number}"))


def weights_of(name, number="1") -> Path:
    (file,) = folder_of(name, number).glob("artifacts/*/model.safetensors")
    return file


def negate(weights: Path) -> None:
    tensors = load_file(weights)
    tensors["score.weight"] = -tensors["score.weight"]
    save_file(tensors, weights, metadata={"format": "pt"})


@contextmanager
def restored(file: Path):
    """Afterwards a file is as before, or gone if it was not there."""
    before = file.read_bytes() if file.is_file() else None
    file.parent.mkdir(exist_ok=True)
    try:
        yield file
    finally:
        if before is None:
            file.unlink()
        else:
            file.write_bytes(before)


def forge(name, number="1", **changes) -> None:
    """Write a record, unsigned, that fits the files as they are now, and its tags."""
    folder, client = folder_of(name, number), MlflowClient()
    made = versions.read_record(version(name, number)).record
    files = {each: sha256_file(folder / each) for each in made.files}
    inside = {each.name: files[f"{made.checkpoint}/{each.name}"] for each in (folder / made.checkpoint).iterdir()}
    del inside["manifest.json"]
    fields = {**made.model_dump(), "files": files, "checkpoint_digest": sha256_json(inside), **changes}
    forged = records.sign(records.VersionRecord.model_validate(fields), None)
    (folder / RECORD_NAME).write_text(forged.text)
    for tag, value in versions.tags(forged).items():
        client.set_model_version_tag(name, number, tag, value)


def test_a_version_has_one_record_of_its_bytes_its_data_its_report_and_the_decision(unsigned):
    found = version(unsigned)
    made = json.loads((folder_of(unsigned) / RECORD_NAME).read_text())["record"]
    written = {
        path.relative_to(folder_of(unsigned)).as_posix(): sha256_file(path)
        for path in folder_of(unsigned).rglob("*")
        if path.is_file() and path.name not in (RECORD_NAME, "registered_model_meta")
    }
    assert made["files"] == written
    assert any(name.startswith("code/rm/") for name in written)
    assert not any("__pycache__" in name for name in written)
    assert found.tags["rmflow.record_digest"] == sha256_file(folder_of(unsigned) / RECORD_NAME)
    report = Path(mlflow.artifacts.download_artifacts(run_id=found.run_id, artifact_path=made["report"]))
    assert made["report_files"] == {path.name: sha256_file(path) for path in report.iterdir()}
    assert json.loads((report / "audit.json").read_text())["report_digest"] == made["report_digest"]
    assert made["signed_by"] == "unsigned: protects against accidents only"
    assert (made["name"], made["verdict"], made["who"]) == ("line", "passed", environment.user())


def test_a_junk_version_with_the_tag_of_a_checkpoint_is_neither_reused_nor_made_champion(unsigned, tiny, tmp_path):
    client, config = MlflowClient(), tiny(registry={"name": "junk"})
    (tmp_path / "MLmodel").write_text("flavors: {}\n")
    (tmp_path / "artifacts" / "c").mkdir(parents=True)
    (tmp_path / "artifacts" / "c" / "config.json").write_text("{}")
    genuine = version(unsigned)
    client.create_registered_model("junk")
    digest = genuine.tags["rmflow.checkpoint_digest"]
    client.create_model_version("junk", str(tmp_path), tags={"rmflow.checkpoint_digest": digest})
    with pytest.raises(RegistrationError, match=r"junk version 1: it has no record of rmflow .*; delete this version"):
        retrain(config)
    assert client.get_registered_model("junk").aliases == {}
    client.delete_model_version("junk", "1")
    # With the tags and the record of a genuine version it is none either.
    shutil.copyfile(folder_of(unsigned) / RECORD_NAME, tmp_path / RECORD_NAME)
    for name, told in (("junk", "its record is of a version of line"), (unsigned, "chat_template.jinja: gone since")):
        copied = client.create_model_version(name, str(tmp_path), tags=genuine.tags)
        try:
            with pytest.raises(RegistrationError, match=told):
                versions.check_checkpoint(copied, None)
        finally:
            client.delete_model_version(name, copied.version)
    assert retrain(config).registered.alias == "champion"


def test_a_champion_whose_weights_were_negated_is_not_compared_nor_registered_again(prefect_server, tiny):
    champion = tiny(registry={"name": "negated"})
    assert retrain(champion).registered.alias == "champion"
    with restored(weights_of("negated")) as weights:
        negate(weights)
        told = r"negated version 1 is not what was registered: .*model.safetensors: SHA-256 .* differs .*; delete"
        for config in (tiny(registry={"name": "negated"}, train=OTHER), champion):
            with pytest.raises(RegistrationError, match=told):
                retrain(config)
        assert len(MlflowClient().search_model_versions("name = 'negated'")) == 1
        MlflowClient().delete_model_version_tag("negated", "1", "rmflow.checkpoint_digest")  # the way on
        assert retrain(tiny(registry={"name": "negated"}, train=OTHER)).registered.alias == "challenger"


def test_where_there_is_a_key_a_version_without_its_signature_is_not_believed(signed, tiny, key_files, monkeypatch):
    monkeypatch.setenv("RMFLOW_SIGNING_KEY", str(key_files[0]))
    config = tiny(registry={"name": "weakened"})
    retrain(config)
    assert retrain(config).registered.version == "1"
    negate(weights_of("weakened"))
    forge("weakened")
    with pytest.raises(RegistrationError, match="weakened version 1: its record is unsigned: "):
        retrain(tiny(registry={"name": "weakened"}, train=OTHER))


def test_a_key_that_cannot_be_read_ends_a_run_before_anything_is_done(prefect_server, tiny, monkeypatch):
    config = tiny(registry={"name": "keyless"}, train={"pairs_per_step": 8, "seed": 77})
    for value, told in (("nowhere.pem", "No such file"), ("-----BEGIN", "expected a private ed25519 key")):
        monkeypatch.setenv("RMFLOW_SIGNING_KEY", value)
        before = set((environment.home() / "stages" / "train").glob("*"))
        state = retrain(config, return_state=True)
        assert state.type == StateType.FAILED
        with pytest.raises(ConfigError, match=rf"RMFLOW_SIGNING_KEY: .*{told}"):
            state.result()
        assert set((environment.home() / "stages" / "train").glob("*")) == before


def test_verify_says_in_one_line_what_a_version_is(rmflow, unsigned, signed, key_files):
    public = str(key_files[1])
    code, out, err = rmflow("verify", "models:/signed/1", "--key", public)
    assert (code, err) == (0, "")
    (line,) = out.strip().splitlines()
    made = versions.read_record(version("signed")).record
    assert line.startswith(f"signed version 1 is what {environment.user()} registered on ")
    assert f"{len(made.files)} files, 10 of the report, none added; signed by the key {made.signed_by[:12]}." in line
    assert rmflow("verify", "models:/signed@champion", "--key", key_files[1].read_text())[1] == out
    assert "signature not checked (no --key)" in rmflow("verify", "models:/signed/1")[1]
    code, out, _ = rmflow("verify", "models:/line/1")
    assert code == 0
    assert "unsigned: protects against accidents only." in out


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("artifacts/{key}/model.safetensors", "model.safetensors: SHA-256"),
        ("artifacts/{key}/pytorch_model.bin", "pytorch_model.bin: expected only the files of the record"),
        ("artifacts/{key}/manifest.json", "manifest.json: SHA-256"),
        ("code/rm/plugin.py", "plugin.py: expected only the files of the record"),
        ("code/rm/__init__.py", "__init__.py: SHA-256"),
        ("serving.py", "serving.py: SHA-256"),
        ("MLmodel", "MLmodel: SHA-256"),
        ("__pycache__/serving.cpython-311.pyc", "loading it has left byte code there: delete this folder"),
        (RECORD_NAME, "its record is none"),
    ],
)
def test_verify_refuses_any_other_file(rmflow, signed, key_files, place, told):
    key = weights_of(signed).parent.name
    with restored(folder_of(signed) / place.format(key=key)) as file:
        file.write_bytes(b"1")
        code, out, err = rmflow("verify", "models:/signed/1", "--key", str(key_files[1]))
    assert (code, out) == (1, "")
    assert told in err
    assert err.count("\n") == 1
    shutil.rmtree(folder_of(signed) / "__pycache__", ignore_errors=True)
    assert rmflow("verify", "models:/signed/1", "--key", str(key_files[1]))[0] == 0


@pytest.mark.parametrize("name", ["audit.json", "findings.json", "note.txt"])
def test_verify_refuses_another_report(rmflow, signed, key_files, name):
    made = versions.read_record(version(signed)).record
    with restored(versions.report_folder(made) / name) as file:
        file.write_text("{}")
        code, _, err = rmflow("verify", "models:/signed/1", "--key", str(key_files[1]))
    assert code == 1
    assert "is not what was registered" in err
    assert f"{name}: " in err


def test_a_later_audit_of_a_registered_checkpoint_leaves_its_record_true(rmflow, unsigned, tiny):
    before = versions.read_record(version("line")).record
    again = retrain(tiny(registry={"name": "line"}, audit={"num_resamples": 120}))
    assert (again.registered.version, again.judged.run_id) == ("1", before.run_id)
    assert again.judged.decision.report_digest != before.report_digest
    assert versions.read_record(version("line")).record == before
    assert rmflow("verify", "models:/line/1")[0] == 0


@pytest.mark.parametrize(
    ("tag", "told"),
    [
        ("rmflow.verdict", "its tag rmflow.verdict is x; its record says passed"),
        ("rmflow.checkpoint_digest", "its tag rmflow.checkpoint_digest is x"),
        ("rmflow.waivers", "its tag rmflow.waivers is x; its record says none"),
        ("rmflow.record_digest", "not x as when registered"),
    ],
)
def test_verify_refuses_tags_that_are_not_the_records(rmflow, signed, key_files, tag, told):
    before = version(signed).tags.get(tag)
    MlflowClient().set_model_version_tag(signed, "1", tag, "x")
    code, _, err = rmflow("verify", "models:/signed/1", "--key", str(key_files[1]))
    if before is None:
        MlflowClient().delete_model_version_tag(signed, "1", tag)
    else:
        MlflowClient().set_model_version_tag(signed, "1", tag, before)
    assert code == 1
    assert told in err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["verify", "models:/line/1", "--key", "PUBLIC"], "line version 1: its record is unsigned"),
        (["verify", "models:/signed/1", "--key", "OTHER"], "expected a signature by the key"),
        (["verify", "models:/signed/1", "--key", "PRIVATE"], "--key: expected a public ed25519 key"),
        (["verify", "models:/signed/1", "--key", "nowhere.pem"], "nowhere.pem: No such file"),
        (["verify", "models:/signed/9"], "models:/signed/9: signed has no such version; it has 1, @champion"),
        (["verify", "signed@best"], "signed has no such version"),
        (["verify", "signed"], "signed: expected NAME/VERSION or NAME@ALIAS"),
        (["models", "list", "nobody"], "nobody: MLflow has no registered model of this name; it has"),
        (["models", "show", "nobody/1"], "nobody: MLflow has no registered model of this name"),
        (["models", "compare", "line/1", "line/x"], "line/x: line has no such version; it has 1, 2, @challenger"),
        (["models", "promote", "line", "9", "--why", "x"], "line/9: line has no such version"),
        (["models", "promote", "line", "1", "--why", "x"], "line version 1: it is the champion already"),
        (["models", "promote", "line", "2", "--why", " "], "--why: expected a reason in words"),
        (["models", "promote", "line", "2", "--why", "\u3164"], "--why: expected a reason in words"),
        (["models", "promote", "line", "2"], "Missing option '--why'"),
        (["models", "rollback", "signed", "--why", "x"], "signed@previous: signed has no such version"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(rmflow, unsigned, signed, key_files, tmp_path, arguments, told):
    other = tmp_path / "other.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(other)], check=True)
    public = subprocess.run(["openssl", "pkey", "-in", str(other), "-pubout"], capture_output=True, check=True).stdout
    other.write_bytes(public)
    files = {"PRIVATE": str(key_files[0]), "PUBLIC": str(key_files[1]), "OTHER": str(other)}
    code, out, err = rmflow(*(files.get(each, each) for each in arguments))
    assert (code, out) == (1, "")
    assert told in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", ["list", "show", "compare", "promote", "rollback"])
def test_help_of_every_command_has_an_example(rmflow, command):
    code, out, _ = rmflow("models", command, "--help")
    assert code == 0
    assert f"rmflow models {command} " in " ".join(out.split("Example")[1].split())
    assert "rmflow verify models:/" in rmflow("verify", "--help")[1]


def test_versions_are_listed_shown_and_compared(rmflow, unsigned):
    code, out, err = rmflow("models", "list", "line")
    assert (code, err) == (0, "")
    made = {number: versions.read_record(version("line", number)).record for number in ("1", "2")}
    rows = [line for line in out.splitlines() if "line/" in line]
    for row, number, alias in zip(rows, ("2", "1"), ("challenger", "champion"), strict=True):
        for word in (number, alias, "passed", f"{made[number].accuracy:.3f}", made[number].table):
            assert word in row
    assert "reward-model" in rmflow("models", "list")[1] or "signed" in rmflow("models", "list")[1]
    code, out, _ = rmflow("models", "show", "line@challenger")
    assert code == 0
    for word in ("line version 2", made["2"].checkpoint_digest[:12], "PASSED", "audit.html", made["2"].run_id):
        assert word in out
    assert re.search(r"variant without_length .*accuracy change [+-]0\.\d{3}|variant without_length .*not there: ", out)
    code, out, _ = rmflow("models", "compare", "line/1", "line/2")
    assert code == 0
    for word in ("line version 1", "line version 2", "accuracy", "Audited on the same held-out pairs."):
        assert word in out


def test_a_version_that_is_not_ours_is_listed_and_not_shown(rmflow, unsigned, tmp_path):
    MlflowClient().create_registered_model("foreign")
    MlflowClient().create_model_version("foreign", str(tmp_path))
    assert "no record" in rmflow("models", "list", "foreign")[1]
    code, _, err = rmflow("models", "show", "foreign/1")
    assert code == 1
    assert "foreign version 1: it has no record of rmflow" in err


def aliases(name):
    found = MlflowClient().get_registered_model(name).aliases
    return {alias: str(number) for alias, number in found.items() if alias != "challenger"}


def test_a_person_promotes_a_version_and_rolls_back(rmflow, unsigned, tiny, capsys):
    for sections in ({}, {"train": OTHER}):
        retrain(tiny(registry={"name": "moved"}, **sections))
    assert aliases("moved") == {"champion": "1"}
    capsys.readouterr()
    assert version("moved").tags["rmflow.promoted_because"] == "the first model that passed"
    code, out, err = rmflow("models", "promote", "moved", "2", "--why", "better on code [issue 12]")
    assert (code, err) == (0, "")
    assert out == "moved version 2 is the champion (before: version 1, now previous).\n"
    assert aliases("moved") == {"champion": "2", "previous": "1"}
    tags = version("moved", "2").tags
    assert (tags["rmflow.promoted_by"], tags["rmflow.promoted_because"]) == (
        environment.user(),
        "better on code [issue 12]",
    )
    assert "better on code [issue 12]" in rmflow("models", "show", "moved/2")[1]
    with restored(weights_of("moved")) as weights:  # nor is it rolled back to what was changed
        negate(weights)
        code, _, err = rmflow("models", "rollback", "moved", "--why", "answers became longer")
        assert code == 1
        assert "moved version 1 is not what was registered" in err
        assert aliases("moved") == {"champion": "2", "previous": "1"}
    assert rmflow("models", "rollback", "moved", "--why", "answers became longer")[0] == 0
    assert aliases("moved") == {"champion": "1", "previous": "2"}
    assert version("moved").tags["rmflow.promoted_because"] == "answers became longer"
    forge("moved", "2", verdict="inconclusive")
    code, _, err = rmflow("models", "promote", "moved", "2", "--why", "please")
    assert code == 1
    assert "moved version 2: it did not pass, its verdict is 'inconclusive'" in err
    assert aliases("moved") == {"champion": "1", "previous": "2"}


def test_a_run_that_beats_the_champion_keeps_it_as_previous(rmflow, unsigned, tiny, monkeypatch):
    retrain(tiny(registry={"name": "beaten"}))
    monkeypatch.setattr(promotion, "beats_champion", lambda *_: True)  # too few prompts to show it
    assert retrain(tiny(registry={"name": "beaten"}, train=OTHER)).registered.alias == "champion"
    assert aliases("beaten") == {"champion": "2", "previous": "1"}
    because = version("beaten", "2").tags["rmflow.promoted_because"]
    assert because == "more accurate than version 1 beyond the interval"
    assert rmflow("models", "rollback", "beaten", "--why", "too slow")[0] == 0
    assert aliases("beaten") == {"champion": "1", "previous": "2"}


def test_a_model_with_warnings_becomes_champion_only_if_the_recipe_or_a_person_says_so(rmflow, unsigned, tiny):
    soft = {"name": "accuracy_style_only", "min_value": 1.1, "severity": "soft", "min_pairs": 1, "why": "never holds"}
    warned = {**LENIENT, "checks": [*LENIENT["checks"], soft]}
    allowed = {"name": "allowed", "champion": "passed_with_warnings"}
    outcome = retrain(tiny(gate=warned, registry=allowed), return_state=True).result()
    assert (outcome.judged.decision.verdict, outcome.registered.alias) == ("passed_with_warnings", "champion")
    outcome = retrain(tiny(gate=warned, registry={"name": "warned"}), return_state=True).result()
    assert (outcome.registered.alias, aliases("warned")) == ("challenger", {})
    assert rmflow("models", "promote", "warned", "1", "--why", "I have read them")[0] == 0
    assert aliases("warned") == {"champion": "1"}
    again = retrain(tiny(gate=warned, registry={"name": "warned"}), return_state=True).result()
    assert (again.registered, aliases("warned")) == (outcome.registered, {"champion": "1"})


def test_no_alias_is_given_to_a_version_with_a_file_too_many(unsigned, tiny):
    client, config = MlflowClient(), tiny(registry={"name": "interrupted"})
    retrain(config)
    client.delete_registered_model_alias("interrupted", "champion")  # as if the run had ended before
    client.delete_model_version_tag("interrupted", "1", registry.ALIAS_TAG)
    with restored(folder_of("interrupted") / "code" / "rm" / "plugin.py") as file:
        file.write_text("1\n")
        with pytest.raises(RegistrationError, match=r"plugin.py: expected only the files of the record"):
            retrain(config)
        assert aliases("interrupted") == {}
    assert retrain(config).registered.version == "1"
    assert aliases("interrupted") == {"champion": "1"}


def test_with_a_key_only_what_it_signed_is_promoted(rmflow, prefect_server, unsigned, key_files, monkeypatch):
    monkeypatch.setenv("RMFLOW_SIGNING_KEY", key_files[0].read_text())
    code, _, err = rmflow("models", "promote", "line", "2", "--why", "better")
    assert code == 1
    assert "line version 2: its record is unsigned" in err
    assert aliases("line") == {"champion": "1"}


def test_serving_leaves_no_file_in_a_version(signed, key_files, rmflow):
    uri, python = "models:/signed/1", "import mlflow, sys; mlflow.pyfunc.load_model(sys.argv[1])"
    command = ["from flows.cli.app import main; main()", "exec", sys.executable, "-c", python, uri]
    ran = subprocess.run([sys.executable, "-c", *command], check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert rmflow("verify", uri, "--key", str(key_files[1]))[0] == 0


def test_what_is_downloaded_from_a_server_goes_when_the_process_ends(tmp_path):
    code = "from tasks import versions; from pathlib import Path\n"
    code += "for room in (versions.lasting_room(), versions.lasting_room()):\n"
    code += "    Path(room, 'weights').touch(); print(room)"
    environ = {**os.environ, "MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "TMPDIR": str(tmp_path)}
    ran = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    first, second = map(Path, ran.stdout.split())
    assert first != second and first.parent == second.parent == tmp_path
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("rmflow-")]


def test_a_registered_version_is_the_base_of_a_training(unsigned, tiny):
    still = {"pairs_per_step": 8, "learning_rate": 1e-9}
    retrain(tiny(registry={"name": "warm"}, model={"path": "models:/line@champion"}, train=still))
    before, after = (load_file(weights_of(name))["score.weight"] for name in ("line", "warm"))
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-7)
    trained = json.loads((weights_of("warm").parent / "manifest.json").read_text())
    assert trained["base"] == f"line/{MlflowClient().get_model_version_by_alias('line', 'champion').version}"


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("models:/line/9", "line/9: line has no such version; it has 1, 2"),
        ("models:/nobody@champion", "nobody: MLflow has no registered model of this name"),
    ],
)
def test_a_base_that_the_registry_does_not_have_is_named(unsigned, reference, told):
    with pytest.raises(RegistrationError, match=f"^{told}"):
        base_models.find(ModelConfig(path=reference))


def test_a_base_whose_files_were_changed_is_not_trained_from(prefect_server, tiny):
    retrain(tiny(registry={"name": "changed"}))
    with restored(weights_of("changed")) as weights:
        negate(weights)
        with pytest.raises(RegistrationError, match=r"changed version 1 is not what was registered"):
            base_models.find(ModelConfig(path="models:/changed/1"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["models", "list"],
        ["models", "show", "line/1"],
        ["models", "compare", "line/1", "line/2"],
        ["models", "ledger"],
        ["models", "promote", "line", "1", "--why", "x"],
        ["models", "rollback", "line", "--why", "x"],
        ["verify", "models:/line/1"],
    ],
)
def test_without_an_answer_from_mlflow_a_command_ends_at_once(rmflow, monkeypatch, arguments):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    code, out, err = rmflow(*arguments)
    assert (code, out) == (1, "")
    assert err.startswith("error: MLflow at http://127.0.0.1:9 does not answer")
    assert err.count("\n") == 1
