"""When a retraining starts: the table is asked, whoever adds to it."""

import json
from types import SimpleNamespace

import pytest
from prefect.states import Completed, Crashed, Running

from rm.data import retracting
from rm.pipeline.config import PipelineConfig
from tasks import environment, retrainings, watcher
from tasks.watcher import ERROR_ENDING, Watcher


def pairs(first: int, num: int) -> str:
    rows = [
        {"prompt": f"question {number}", "chosen": f"good {number}", "rejected": f"bad {number}"}
        for number in range(first, first + num)
    ]
    return "".join(f"{json.dumps(row)}\n" for row in rows)


@pytest.fixture
def started(monkeypatch):
    """What was started, in place of Prefect's API: `runs` is what it would list, newest first."""
    found = SimpleNamespace(reasons=[], runs=[])

    def start(_: str, reason: str) -> SimpleNamespace:
        found.reasons.append(reason)
        return SimpleNamespace(name="a run")

    monkeypatch.setattr(retrainings, "start", start)
    monkeypatch.setattr(retrainings, "last_runs", lambda _: [SimpleNamespace(state=state) for state in found.runs])
    return found


@pytest.fixture
def drop(tmp_path):
    folder = tmp_path / "drop"
    folder.mkdir()
    return folder


@pytest.fixture
def watching(drop, monkeypatch, tmp_path):
    monkeypatch.setenv("RMFLOW_HOME", str(tmp_path / "home"))
    config = {
        "ingest": {"sources": [f"{drop}/*.jsonl"]},
        "model": {"scratch": {"architecture": "llama", "vocab_size": 300}},
        "schedule": {"min_new_judgements": 5, "quiet_s": 10, "max_restarts": 2},
    }
    return lambda: Watcher("retrain/team", PipelineConfig.model_validate(config))


def look(one: Watcher, *times: float) -> None:
    for now in times:
        one.look(now)


def test_a_retraining_starts_when_enough_has_come_and_it_is_quiet(watching, drop, started):
    one = watching()
    (drop / "a.jsonl").write_text(pairs(0, 4))
    look(one, 0, 4, 60)  # 4 of 5
    assert started.reasons == []
    (drop / "b.jsonl").write_text(pairs(4, 3))
    look(one, 61, 65, 70)  # read at 65; quiet from 75 on
    assert started.reasons == []
    look(one, 75, 80)
    assert started.reasons == ["7 new judgements"]


def test_what_comes_while_one_runs_is_in_the_next_also_after_a_restart(watching, drop, started):
    one = watching()
    (drop / "a.jsonl").write_text(pairs(0, 6))
    look(one, 0, 4, 20)
    started.runs = [Running()]
    (drop / "b.jsonl").write_text(pairs(6, 9))
    look(one, 21, 25, 60)
    assert started.reasons == ["6 new judgements"]
    started.runs = [Completed()]
    look(watching(), 0, 20)  # another process, which reads all files again
    assert started.reasons == ["6 new judgements", "9 new judgements"]


def test_judgements_that_others_store_count_too(watching, drop, started, tmp_path):
    from tasks import reading

    one = watching()
    look(one, 0)
    (tmp_path / "elsewhere.jsonl").write_text(pairs(0, 5))
    reading.read_in(one.config.ingest.model_copy(update={"sources": (str(tmp_path / "elsewhere.jsonl"),)}))
    look(one, 20, 31)
    assert started.reasons == ["5 new judgements"]


def test_what_is_retracted_does_not_hide_what_is_new(watching, drop, started):
    one = watching()
    (drop / "a.jsonl").write_text(pairs(0, 6))
    look(one, 0, 4, 20)
    choice = retracting.Choice(source=str(drop / "a.jsonl"))
    assert retracting.change(one.place, choice, "retract", "a test").num_changed == 6
    (drop / "b.jsonl").write_text(pairs(6, 5))
    look(one, 21, 25, 60)
    assert started.reasons == ["6 new judgements", "5 new judgements"]


def test_a_file_that_cannot_be_read_stays_with_its_reason_until_it_is_mended(watching, drop, started):
    one = watching()
    bad = drop / "bad.jsonl"
    bad.write_text('{"question": 1}\n')
    look(one, 0, 4)
    reason = drop / f"bad.jsonl{ERROR_ENDING}"
    assert reason.read_text().startswith(f"{bad}: ")
    bad.write_text(pairs(0, 5))
    look(one, 5, 9, 20)
    assert not reason.exists() and started.reasons == ["5 new judgements"]


def test_a_crashed_retraining_is_started_again_so_many_times(watching, drop, started):
    one = watching()
    (drop / "a.jsonl").write_text(pairs(0, 5))
    look(one, 0, 4, 20)
    for crashed in (1, 2, 3):
        started.runs = [Crashed()] * crashed + [Completed()]
        look(one, 20 + crashed)
    assert started.reasons == [
        "5 new judgements",
        "restart 1 of 2 after a crash",
        "restart 2 of 2 after a crash",
    ]


def test_what_goes_wrong_in_a_look_does_not_end_the_watching(watching, monkeypatch, caplog):
    def wait(_: float) -> None:
        raise KeyboardInterrupt

    def broken(*_: object) -> None:
        raise OSError("the server is being restarted")

    monkeypatch.setattr(watcher.time, "sleep", wait)
    monkeypatch.setattr(retrainings, "last_runs", broken)
    with pytest.raises(KeyboardInterrupt):
        watcher.watch([watching()])
    assert "the server is being restarted" in caplog.text
    assert environment.home().name == "home"
