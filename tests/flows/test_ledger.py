"""The ledger of three real runs: one that passed, one that was rejected, and another that passed."""

import json
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from flows.retrain import retrain
from rm.errors import GateRejected
from tests.flows.conftest import LENIENT, STRICT
from tests.rm.html_page import Page

pytestmark = pytest.mark.usefixtures("without_figures", "few_trees")


@pytest.fixture(scope="module")
def three(prefect_server, tiny):
    """Runs of ``ledgered``, the oldest first."""
    for seed, gate in ((31, LENIENT), (32, STRICT), (33, LENIENT)):
        config = tiny(gate=gate, train={"pairs_per_step": 8, "seed": seed}, registry={"name": "ledgered"})
        if gate is STRICT:
            with pytest.raises(GateRejected):
                retrain(config)
        else:
            retrain(config)
    client = MlflowClient()
    experiment = client.get_experiment_by_name("rmflow").experiment_id
    return client.search_runs(
        [experiment], "params.`registry.name` = 'ledgered'", order_by=["attributes.start_time ASC"]
    )


def test_each_run_but_the_first_has_the_ledger_up_to_it(three):
    client, ids = MlflowClient(), [run.info.run_id for run in three]
    assert client.list_artifacts(ids[0], "ledger") == []
    for at in (1, 2):
        folder = Path(client.download_artifacts(ids[at], "ledger"))
        values = json.loads((folder / "ledger.json").read_text())
        assert [run["run_id"] for run in values["runs"]] == ids[: at + 1]
        assert "artifacts/ledger/ledger.html)" in three[at].data.tags["mlflow.note.content"]
    assert [(run["version"], run["verdict"]) for run in values["runs"]] == [
        ("1", "passed"),
        (None, "failed"),
        (None, "passed"),  # not yet: the ledger is written before the model is registered
    ]
    found = {(one["new"], one["old"], one["against"]) for one in values["comparisons"]}
    assert found == {
        (ids[1], ids[0], "previous"),
        (ids[2], ids[1], "previous"),
        (ids[2], ids[0], "registered"),
    }
    keys = {row["quantity"]["key"] for row in values["rows"]}
    assert {"accuracy", "length_following", "probe_empty", "gain_without_length"} <= keys


def test_the_command_prints_what_changed_and_writes_the_page(three, rmflow, tmp_path):
    out_file = tmp_path / "new" / "page.html"
    code, out, err = rmflow("models", "ledger", "--name", "ledgered", "--out", str(out_file))
    assert (code, err) == (0, "")
    assert "3 runs of ledgered, the last one version 2, passed." in out
    assert "most changed in the last run" in out
    assert "the last registered" in out or "the run before" in out
    page = Page(out_file.read_text(encoding="utf-8"))
    listed = [text for text in page.section("runs") if text.startswith(("run ", "version "))]
    assert listed == ["version 2", f"run {three[1].info.run_id[:8]}", "version 1"]
    assert len(json.loads(out_file.with_suffix(".json").read_text())["runs"]) == 3
    code, out, _ = rmflow("models", "ledger", "--name", "ledgered", "--last", "1", "--out", str(out_file))
    assert code == 0 and "2 runs of ledgered" in out  # the last registered one before it is there too
    values = json.loads(out_file.with_suffix(".json").read_text())
    ids = [three[at].info.run_id for at in (0, 2)]
    assert [run["run_id"] for run in values["runs"]] == ids
    assert [(one["new"], one["old"], one["against"]) for one in values["comparisons"]] == [(*ids[::-1], "registered")]


def test_wrong_arguments_are_told_in_one_sentence(three, rmflow, tmp_path):
    code, _, err = rmflow("models", "ledger", "--name", "nobody", "--out", str(tmp_path / "x.html"))
    assert code == 1 and "nobody: MLflow has no run of this registered model with a report" in err
    code, _, err = rmflow("models", "ledger", "--name", "ledgered", "--out", str(tmp_path / "x.json"))
    assert code == 1 and "--out: expected the name of a page" in err
    assert not list(tmp_path.iterdir())
