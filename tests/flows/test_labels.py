"""What becomes of labels in a run: warnings on the page and in MLflow, or an end before anything is tokenized."""

import json
import logging

import pytest
from mlflow.tracking import MlflowClient

from flows import runs
from flows.train import train
from rm.errors import LabelsRejected, StorageError
from rm.labels.records import read_labels
from rm.pipeline.config import PipelineConfig
from rm.pipeline.preflight import Remark
from rm.report.manifests import ReportManifest
from rm.report.markdown import escaped
from tasks import audits, data, environment, tracking, trial
from tests.flows.test_retrain import states_by_task

pytestmark = pytest.mark.usefixtures("without_figures", "few_trees")
STOPS = {"checks": [{"name": "longer_wins", "limit": 0.0, "action": "stop"}], "num_resamples": 100}
WARNS = {"checks": [{"name": "longer_wins", "limit": 0.0}], "num_resamples": 100}


@pytest.fixture
def recipe(tmp_path, tiny):
    def write(labels):
        path = tmp_path / "recipe.yaml"
        path.write_text(tiny(labels=labels).model_dump_json(exclude_defaults=True), encoding="utf-8")
        return str(path)

    return write


def test_labels_beyond_a_limit_end_the_run_before_anything_is_tokenized(prefect_server, tiny):
    state = train(tiny(labels=STOPS), return_state=True)
    assert state.name == "Rejected" and state.is_failed()
    assert "response wins" in state.message
    with pytest.raises(LabelsRejected, match="the labels are beyond a limit"):
        state.result()
    tasks = states_by_task(state.state_details.flow_run_id)
    assert "labels" in tasks and not {"tokenize", "train"} & set(tasks)


def test_the_command_line_says_why_and_exits_as_for_a_rejected_model(prefect_server, rmflow, recipe):
    code, out, _ = rmflow("train", "--config", recipe(STOPS))
    assert code == 2
    assert "response wins" in out and "labels.json" in out


def test_labels_that_warn_are_shown_on_the_page_and_in_mlflow(prefect_server, tiny):
    config = tiny(labels=WARNS)
    trained = train(config)
    run = MlflowClient().get_run(
        tracking.run_id(MlflowClient(), trained.checkpoint.path.name, config.registry.experiment)
    )
    assert "response wins" in run.data.tags["rmflow.label_warnings"]
    found = read_labels(trained.labels).find("label_longer_wins")
    assert run.data.metrics["label longer wins"] == pytest.approx(found.estimate)
    artifacts = MlflowClient().list_artifacts(run.info.run_id, tracking.LABELS_FOLDER)
    assert [each.path for each in artifacts] == ["labels/labels.json"]

    from flows.audit import audit

    judged = audit(config, trained.checkpoint.path)
    page = (judged.report.path / ReportManifest.PAGE_NAME).read_text(encoding="utf-8")
    assert "The labels that it was trained on" in page and "response wins" in page
    assert [each.digest for each in judged.report.inputs] == [judged.audited.digest, trained.labels.digest]


def test_a_recipe_is_audited_without_a_model(rmflow, recipe, tmp_path):
    code, out, _ = rmflow("audit", "--labels", "--config", recipe({"num_resamples": 100}), "--out", str(tmp_path))
    assert code == 0
    assert "response wins" in out and len(out.splitlines()) <= 17
    report = json.loads((tmp_path / "labels.json").read_text(encoding="utf-8"))
    assert report["num_prompts"] == 60
    names = json.loads((tmp_path / "annotators.json").read_text(encoding="utf-8"))
    assert names.keys() == {row["annotator"] for row in report["annotators"]}
    assert rmflow("audit", "--labels", "--config", recipe(STOPS))[0] == 2
    assert (environment.home() / "labels" / "labels.json").is_file()


def test_sources_that_are_not_read_are_told(rmflow, recipe, tmp_path, monkeypatch):
    found_by = trial.found_by

    def partly(*given):
        return found_by(*given)[0], Remark(about="data", level="warning", text="3 sources are not counted")

    monkeypatch.setattr(trial, "found_by", partly)
    code, out, _ = rmflow("audit", "--labels", "--config", recipe({"num_resamples": 100}), "--out", str(tmp_path))
    assert code == 0 and "warning: 3 sources are not counted" in out


def test_labels_go_with_a_recipe_alone(rmflow, recipe):
    code, _, err = rmflow("audit", "--labels")
    assert code == 1 and "--config RECIPE --labels" in err
    code, _, err = rmflow("audit", "--labels", "--config", recipe(WARNS), "--policy", "policy.yaml")
    assert code == 1 and "--policy does not go with" in err


def test_the_last_snapshot_of_a_table_is_the_one_before(tmp_path, monkeypatch):
    from rm.data import snapshots
    from rm.data.config import SnapshotConfig
    from tests.rm.labels import world

    monkeypatch.setattr(environment, "home", lambda: tmp_path)
    stages, found = tmp_path / "stages" / "snapshot", []
    for number in range(3):
        table = world.ingested(tmp_path / "data", world.rows(30, number, votes=1, source=str(number)))
        found.append(snapshots.snapshot(table, SnapshotConfig(heldout_share=0.3), stages / str(number)))
    other = snapshots.snapshot(table, SnapshotConfig(heldout_share=0.4), stages / "other settings")
    assert [data.previous_snapshot(each) for each in found] == [None, found[0], found[1]]
    assert data.previous_snapshot(other) is None
    (found[1].path / "dataset.parquet").write_bytes(b"changed")
    assert data.previous_snapshot(found[2]) == found[0]


def test_a_snapshot_without_other_judgements_is_not_the_last_one(tmp_path, monkeypatch):
    """What one of them left out and the other did not is no change since."""
    from rm.data import annotation_table, id_lists
    from tests.rm.labels import world

    monkeypatch.setattr(environment, "home", lambda: tmp_path)
    stages, file = tmp_path / "stages" / "snapshot", tmp_path / "ids.txt"
    found, ids = [], []
    for number, num_left_out in enumerate([9, 2, 2]):
        table = world.ingested(tmp_path / "data", world.rows(30, number, votes=1, source=str(number)))
        ids = ids or [each.judgement_id for each in annotation_table.judgements(table)]
        id_lists.write(file, ids[:num_left_out])
        found.append(world.snapshot(table, stages / str(number), 0.3, exclude=file))
    assert found[0].config_digest == found[1].config_digest
    assert [data.previous_snapshot(each) for each in found] == [None, None, found[1]]


@pytest.fixture
def snapshot(tmp_path):
    """Annotations in a table of their own, and their snapshot."""
    from tests.rm.labels import world

    table = world.ingested(tmp_path, world.rows(30, 5, votes=1))
    return table, world.snapshot(table, tmp_path / "dataset", 0.3)


def no_table(tmp_path, monkeypatch):
    for file in (tmp_path / "table" / "annotations").rglob("*.parquet"):
        file.unlink()


def no_access(tmp_path, monkeypatch):
    def refused(*_):
        raise StorageError("s3://bucket/annotations: no access")

    monkeypatch.setattr(audits, "labels", refused)


@pytest.mark.parametrize(
    ("broken", "benchmarks"), [(no_table, {}), (no_access, {}), (None, {"riddles": "moved.jsonl"})]
)
def test_labels_that_cannot_be_audited_again_are_no_reason_to_fail(
    prefect_server, tiny, tmp_path, snapshot, monkeypatch, broken, benchmarks
):
    from prefect import flow

    if broken is not None:
        broken(tmp_path, monkeypatch)
    config: PipelineConfig = tiny(labels={"num_resamples": 101, "benchmarks": benchmarks})
    assert flow(lambda: audits.labels_of(snapshot[1], config.labels))() is None


def test_names_in_a_table_are_shown_as_they_are(snapshot, tmp_path, monkeypatch):
    from rm.labels.config import LabelCheck, LabelsConfig
    from rm.labels.stage import audit
    from tests.rm.labels import world

    file = tmp_path / "benchmark.jsonl"
    file.write_text("".join(json.dumps({"prompt": row["prompt"]}) + "\n" for row in world.rows(30, 5, votes=1)))
    hostile = "<img src=x> [see](http://example.org) | *so*"
    config = LabelsConfig(
        benchmarks={hostile: str(file)}, checks=[LabelCheck(name="benchmarks", limit=0)], num_resamples=100
    )
    shown = {}
    monkeypatch.setattr(audits, "create_markdown_artifact", lambda **given: shown.update(given))
    monkeypatch.setattr(audits, "get_run_logger", lambda: logging.getLogger("test"))
    audits.check_labels.fn(audit(*snapshot, None, config, tmp_path / "labels"))
    assert "are trained on" in shown["markdown"]
    assert escaped(hostile) in shown["markdown"]
    assert hostile not in shown["markdown"]


def test_more_reasons_than_fit_are_looked_for_where_they_are(prefect_server, tiny, tmp_path):
    @runs.flow("rejecting")
    def rejecting(config: PipelineConfig) -> None:
        raise LabelsRejected(["one", "two", "three", "four"], tmp_path)

    assert rejecting(tiny(), return_state=True).message == "one; two; three; and 1 more, in the artifact 'labels'"
