"""The whole system on one machine, as a team uses it for a night. Minutes: make test-slow."""

import gzip
import json
import os
import signal
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from tests.flows.test_whole_runs import answer, environment, free_port, started, wait_for  # noqa: F401  # a fixture
from tests.processes import processes_at

pytestmark = pytest.mark.slow

RMFLOW = str(Path(sys.executable).parent / "rmflow")


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def recipe(tmp_path, tiny) -> Path:
    config = tiny(
        sample=None,
        ingest={"sources": [str(tmp_path / "drop" / "*.jsonl")], "table": "team"},
        tokenize={"max_lost_share": 0.05},  # some of the real pairs are longer than 512 tokens
        train={"pairs_per_step": 4, "num_epochs": 2, "checkpoint_every": 20},
        schedule={"min_new_judgements": 100, "quiet_s": 2},
    )
    path = tmp_path / "team.yaml"
    path.write_text(config.model_dump_json(exclude_unset=True))
    return path


@pytest.fixture
def drop(tmp_path, shared_data):
    """Put real pairs into the watched folder, a slice of them at a time."""
    (tmp_path / "drop").mkdir()
    (file,) = (shared_data / "hh_rlhf").glob("*.jsonl.gz")

    def put(first: int, last: int) -> None:
        with gzip.open(file, "rt", encoding="utf-8") as rows:
            part = tmp_path / "part"
            part.write_text("".join(islice(rows, first, last)))
        part.replace(tmp_path / "drop" / f"{first}.jsonl")

    return put


def kill(home: Path, *words: bytes) -> int:
    """Kill the processes of a home whose command has these words; returns how many."""
    commands = {number: Path(f"/proc/{number}/cmdline").read_bytes() for number in processes_at(home)}
    found = [number for number, command in commands.items() if all(word in command for word in words)]
    for number in found:
        os.kill(number, signal.SIGKILL)
    return len(found)


def test_a_team_lives_with_the_system(home, recipe, drop, started, tmp_path):  # noqa: F811
    prefect, mlflow = free_port(), free_port()
    log = (tmp_path / "up.log").open("w+")
    environ = environment(home, OMP_NUM_THREADS="1")
    ports = ["--prefect-port", str(prefect), "--mlflow-port", str(mlflow)]
    up = started(RMFLOW, "up", "--config", str(recipe), *ports, env=environ, stdout=log, stderr=log, cwd=tmp_path)
    wait_for(lambda: "rmflow down" in Path(log.name).read_text() or up.poll() is not None, 180, "the start")

    def rmflow(*arguments: str, code: int = 0) -> str:
        ended = subprocess.run(
            [RMFLOW, *arguments],
            env={**environ, "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{mlflow}", "COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == code, ended.stdout + ended.stderr
        return ended.stdout + ended.stderr

    def states() -> list[str]:
        """Of all runs, oldest first."""
        found = answer(f"http://127.0.0.1:{prefect}/api/flow_runs/filter", b'{"sort": "EXPECTED_START_TIME_ASC"}')
        return [run["state_type"] for run in json.loads(found or b"[]")]

    def is_training() -> bool:
        return bool(list(home.glob("stages/train/.*.resume/step-*/state.json")))

    assert "already running" in rmflow("up", code=1)
    drop(0, 300)
    wait_for(is_training, 120, "the first training")
    drop(300, 600)  # while it trains: in the next one
    assert kill(home, b"prefect.engine")  # the retraining itself
    wait_for(lambda: "CRASHED" in states(), 60, "the crash")
    wait_for(lambda: "COMPLETED" in states(), 180, "the restarted retraining")
    wait_for(lambda: states().count("COMPLETED") >= 1 and "RUNNING" not in states(), 240, "a quiet system")
    drop(600, 900)
    wait_for(lambda: states()[-1] == "RUNNING", 60, "the next retraining")
    assert kill(home, b"worker", b"start")  # the worker, with what it runs
    wait_for(lambda: states()[-1] == "COMPLETED" and states().count("COMPLETED") >= 2, 300, "a retraining after that")
    assert "last retraining" in rmflow("status")

    def champion() -> str:
        url = f"http://127.0.0.1:{mlflow}/api/2.0/mlflow/registered-models/alias?name=reward-model&alias=champion"
        return json.loads(answer(url))["model_version"]["version"]

    assert "reward-model/2" in rmflow("models", "list")
    before = champion()
    rmflow("verify", "models:/reward-model/1")
    rmflow("models", "promote", "reward-model", "2", "--why", "a test of the system")
    assert champion() == "2"
    rmflow("models", "rollback", "reward-model", "--why", "and back")
    assert champion() == (before if before != "2" else "1")

    rmflow("down")
    assert up.wait(timeout=30) == 0
    wait_for(lambda: not processes_at(home), 20, "the end of all processes")
