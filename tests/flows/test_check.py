"""What is said of a recipe before it is run, and that a run stops by the same rule."""

import json
import re

import pytest
from mlflow.tracking import MlflowClient
from prefect.client.orchestration import get_client

from flows.train import train
from rm.errors import ConfigError
from tasks import environment

pytestmark = pytest.mark.usefixtures("few_trees")
ROWS = [
    {"prompt": f"Name thing {number}.", "first": "A thing " * (2 + number % 9), "second": "Nothing", "preference": 1}
    for number in range(120)
]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("RMFLOW_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def recipe(tmp_path, tiny):
    """Write a recipe that reads some rows; returns its path."""

    def write(rows=ROWS, **sections) -> str:
        source, path = tmp_path / "rows.jsonl", tmp_path / "recipe.yaml"
        source.write_text("".join(json.dumps(row) + "\n" for row in rows))
        ingest = {"sources": [str(source)], "table": "checked"}
        config = tiny(**{"sample": None, "ingest": ingest, **sections})
        path.write_text(config.model_dump_json(exclude_defaults=True))
        return str(path)

    return write


def files_in(home):
    return sorted(path for path in home.rglob("*") if path.is_file())


def test_a_good_recipe_is_told_without_a_server_and_nothing_is_changed(rmflow, recipe, home):
    code, out, _ = rmflow("check", "--config", recipe())
    assert code == 0
    assert "the table with its sources" in out and "120 judgements, 120 of them not read before" in out
    assert "responses fit" in out and "steps of 8 pairs" in out and "of disk are needed" in out
    assert re.search(r"about \d+ min of training on this machine, at [\d,.]+ pairs per second", out)
    assert files_in(home) == []


def test_what_is_in_the_table_already_counts_once(rmflow, recipe, home):
    path = recipe()
    assert rmflow("ingest", "--config", path)[0] == 0
    before = files_in(home)
    code, out, _ = rmflow("check", "--config", path)
    assert code == 0 and "120 judgements\n" in out
    assert files_in(home) == before


def test_what_would_stop_the_run_is_told_with_exit_code_1(rmflow, recipe, home, monkeypatch):
    long = [{**row, "first": "word " * 900} if number < 6 else row for number, row in enumerate(ROWS)]
    for sections, arguments, told in (
        ({"rows": long, "tokenize": {"max_tokens": 512}}, [], "tokenize.max_lost_share allows"),
        ({"rows": ROWS[:1]}, [], "more annotations or another snapshot.heldout_share are needed"),
        ({}, ["--set", "ingest.sources=[]"], "no annotations yet"),
        ({}, ["--set", "ingest.sources=[gone.jsonl]"], "gone.jsonl"),
        ({"gate": {}}, [], "cannot pass gate: "),
    ):
        code, out, err = rmflow("check", "--config", recipe(**sections), *arguments)
        assert (code, err) == (1, "")
        assert told in out
        assert "Traceback" not in out
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    code, out, _ = rmflow("check", "--config", recipe())
    assert code == 1 and "stop servers: MLflow at http://127.0.0.1:9 does not answer" in out


def test_a_system_is_not_started_where_a_server_elsewhere_does_not_answer(rmflow, recipe, home, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    code, out, err = rmflow("up", "--config", recipe())
    assert (code, out) == (1, "")
    assert err.startswith("error: Prefect at http://127.0.0.1:9/api does not answer")


def test_a_step_that_cannot_be_taken_is_a_remark(rmflow, recipe):
    code, out, _ = rmflow("check", "--config", recipe(), "--set", "compute.tokens_per_batch=8")
    assert code == 1 and "stop training: a step could not be taken on this machine: " in out
    assert "pairs per second" not in out


def test_a_folder_that_cannot_be_written_to_is_told(rmflow, recipe, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("RMFLOW_HOME", str(tmp_path / "file" / "home"))
    code, out, _ = rmflow("check", "--config", recipe())
    assert code == 1 and "cannot be written: Not a directory" in out


def test_a_run_shows_the_same_and_stops_before_it_trains(prefect_server, tiny, tmp_path):
    train(tiny())
    with get_client(sync_client=True) as client:
        found = [each for each in client.read_artifacts() if each.key == "preflight"]
    assert "| held-out | " in found[0].data and "steps of 8 pairs" in found[0].data
    rows = [{**row, "first": "word " * 900} if number < 6 else row for number, row in enumerate(ROWS)]
    source = tmp_path / "long.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    sections = {"tokenize": {"max_tokens": 512}, "registry": {"experiment": "long"}}
    config = tiny(sample=None, ingest={"sources": [str(source)], "table": "long"}, **sections)
    tokenized = set((environment.home() / "stages" / "tokenize").glob("*"))
    with pytest.raises(ConfigError, match=r"6 of \d+ responses .* do not fit, and 6 of 120 pairs"):
        train(config)
    assert set((environment.home() / "stages" / "tokenize").glob("*")) == tokenized
    assert MlflowClient().get_experiment_by_name("long") is None
