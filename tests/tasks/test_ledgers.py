"""Ledgers from runs in MLflow that were made here, without a training."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from tasks import ledgers, tracking, versions
from tests.rm.html_page import Page
from tests.rm.ledger import made_up
from tests.rm.ledger.made_up import audit, finding

LENGTH = [0.09, 0.08, *[0.0] * 8]
BOLD = [0.0, 0.0, 0.0, 0.0, 0.09, *[0.0] * 5]
RATES = [0.02, 0.1, 0.5, 0.55, 0.7]
NOTE = "mlflow.note.content"


@pytest.fixture
def experiment(request):
    """The name of an experiment of this test alone."""
    return f"ledger {request.node.name}"


@pytest.fixture(autouse=True)
def logger(monkeypatch):
    """In place of Prefect's, which is there in a flow only."""
    found = logging.getLogger("ledgers")
    monkeypatch.setattr(ledgers, "get_run_logger", lambda: found)
    return found


def run(experiment, values, at, name="some-model", folder="audit", note="## Passed\n"):
    """A run that began some days after the first, with its report: values, a text, or None for no report."""
    client = tracking.client()
    tags = {"rmflow.report_digest": f"digest {at}", NOTE: note}
    start = int(made_up.START.timestamp() * 1000) + at * 86_400_000
    made = client.create_run(tracking.experiment_id(client, experiment), start, tags, run_name=f"run {at}")
    client.log_param(made.info.run_id, "registry.name", name)
    if values is not None:
        text = values if isinstance(values, str) else json.dumps(values)
        client.log_text(made.info.run_id, text, f"{folder}/audit.json")
    return made.info.run_id


def whole(sizes, seed=0):
    return made_up.whole(sizes, RATES, np.random.default_rng(seed))


def test_runs_are_read_in_the_order_of_time_and_those_of_others_are_not(experiment):
    late, early = run(experiment, whole(BOLD), 3), run(experiment, whole(LENGTH), 1)
    run(experiment, whole(LENGTH), 2, name="another-model")
    run(f"{experiment}, another", whole(LENGTH), 0)
    found, left_out = ledgers.read("some-model", 20, until=late)
    assert [each.run_id for each in found.runs] == [early, late]
    assert left_out == ()
    assert [each.time.day for each in found.runs] == [6, 8]
    assert [each.run_id for each in ledgers.read("some-model", 20, until=early).ledger.runs] == [early]
    assert [each.run_id for each in ledgers.read("some-model", 1, until=late).ledger.runs] == [late]


def test_without_a_run_the_newest_of_the_name_and_its_experiment_are_read(experiment):
    run(f"{experiment}, another", whole(LENGTH), 5, name="only-here")
    ids = [run(experiment, whole(LENGTH), at, name="only-here") for at in (6, 7)]
    assert [each.run_id for each in ledgers.read("only-here", 20).ledger.runs] == ids
    assert ledgers.read("nobody", 20).ledger.runs == ledgers.read("no'body", 20).ledger.runs == ()


def test_a_registered_run_has_its_version(experiment):
    one, other = (
        run(experiment, whole(LENGTH), 0, name="versioned"),
        run(experiment, whole(LENGTH), 1, name="versioned"),
    )
    MlflowClient().create_registered_model("versioned")
    MlflowClient().create_model_version("versioned", "nowhere", run_id=one)
    found = ledgers.read("versioned", 20, until=other).ledger
    assert [each.version for each in found.runs] == ["1", None]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (None, "its audit.json is gone, or cannot be read"),
        ("<html>", "its audit.json is not JSON"),
        ({"accuracy": 0.7}, "its audit.json is not the report of an audit"),
        (audit(schema_version=1), "its audit.json is older than version 2 of the schema"),
    ],
)
def test_a_run_whose_report_cannot_be_read_is_left_out_in_one_sentence_with_its_name(experiment, values, told):
    first, foreign, last = (
        run(experiment, whole(LENGTH), 0),
        run(experiment, values, 1),
        run(experiment, whole(LENGTH), 2),
    )
    found, left_out = ledgers.read("some-model", 20, until=last)
    assert [each.run_id for each in found.runs] == [first, last]
    (sentence,) = left_out
    assert sentence.startswith(f"run {foreign} (run 1) is left out of the ledger: {told}")


def test_a_run_gets_its_ledger_and_its_alerts_once(experiment, caplog):
    run(experiment, whole(LENGTH), 0)
    last = run(experiment, whole(BOLD), 1)
    alerts = ledgers.publish(last, "some-model")
    assert len(alerts) == 1 and "bold, overpaid" in alerts[0]
    assert [record.getMessage() for record in caplog.records] == [f"One bias fell while another rose: {alerts[0]}"]
    client = tracking.client()
    note = client.get_run(last).data.tags[NOTE]
    assert note.startswith("## Passed\n\n**One bias fell while another rose**\n\n- run ")
    assert note.endswith(f"/runs/{last}/artifacts/ledger/ledger.html)\n")
    folder = Path(client.download_artifacts(last, "ledger"))
    assert ledgers.publish(last, "some-model") == alerts
    assert client.get_run(last).data.tags[NOTE] == note
    assert json.loads((folder / "ledger.json").read_text(encoding="utf-8"))["runs"][-1]["run_id"] == last
    page = Page((folder / "ledger.html").read_text(encoding="utf-8"))
    assert page.section("first")[0] == "One bias fell while another rose"


def test_a_first_run_has_no_ledger(experiment):
    only = run(experiment, whole(LENGTH), 0)
    assert ledgers.publish(only, "some-model") == ()
    assert tracking.client().list_artifacts(only, "ledger") == []
    assert tracking.client().get_run(only).data.tags[NOTE] == "## Passed\n"


def test_what_goes_wrong_is_a_warning(experiment, caplog, monkeypatch):
    def broken(self):
        raise OSError("the store is gone")

    run(experiment, whole(LENGTH), 0)
    last = run(experiment, whole(LENGTH), 1)
    monkeypatch.setattr(versions.JudgedRun, "report", broken)
    assert ledgers.publish(last, "some-model") == ()
    assert "the ledger of some-model could not be written: the store is gone" in caplog.text


def test_a_ledger_is_read_of_reports_with_hostile_names(experiment):
    text = "<script>alert(1)</script>"
    values = audit([finding("gain_without", "x", 0.1, part=text)], verdict=text)
    run(experiment, values, 0)
    last = run(experiment, values, 1)
    ledgers.publish(last, "some-model")
    folder = Path(tracking.client().download_artifacts(last, "ledger"))
    page = Page((folder / "ledger.html").read_text(encoding="utf-8"))
    assert "script" not in {tag for tag, _ in page.elements} and text in page.text
