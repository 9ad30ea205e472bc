"""In a process of its own, as a worker runs a flow: no command line is imported."""

import errno
import os
import sqlite3
import subprocess
import sys

import pyarrow as pa
import pytest

from tasks import tracebacks

LOGGED = """
import logging
import sys
from pathlib import Path
import flows.retrain
from rm.errors import DataError, GateRejected
from tasks import tracebacks

def log(error):
    name = {"extra": {"flow_run_name": "run"}}
    logger = logging.getLogger("prefect.flow_runs")
    try:
        raise error
    except Exception:
        logger.error("Engine execution exited", exc_info=True, **name)
        logging.getLogger("prefect.engine").error("Execution exited", exc_info=True)
    logger.error(f"Finished in state Failed('Task run encountered an exception {error}')", **name)
    logger.error("Finished in state Completed()", **name)

logging.getLogger("prefect.flow_runs").addHandler(logging.StreamHandler(sys.stdout))  # as the one for a server
tracebacks.hide()
"""


def logged(error, more=""):
    """What a server gets, and what stands on the terminal."""
    environment = {**os.environ, "PREFECT_LOGGING_TO_API_ENABLED": "false"}  # there is no server
    command = [sys.executable, "-c", f"{LOGGED}{more}\nlog({error})\n"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return done.stdout, done.stderr


def test_an_error_of_ours_is_one_line_and_any_other_keeps_its_traceback():
    assert all("Traceback" in place for place in logged("ValueError('a fault')"))
    for place in logged("DataError('bad.jsonl: line 1')"):
        assert "stopped: bad.jsonl: line 1" in place
        assert "Traceback" not in place


FULL = """
import sqlite3
from mlflow.exceptions import MlflowException
def full():
    error = MlflowException("(raised as a result of Query-invoked autoflush)")
    error.__cause__ = ValueError("in between")
    error.__cause__.__context__ = sqlite3.OperationalError("database or disk is full")
    return error
"""


def test_a_full_disk_is_one_line_by_its_cause_whatever_library_says_it():
    for place in logged("full()", FULL):
        assert "stopped: database or disk is full; RMFLOW_TRACEBACK=1 shows where" in place
        assert "Traceback" not in place
    shown = logged("full()", FULL + "tracebacks.leave_to_the_command()")[1]
    assert "disk is full" not in shown and "Traceback" not in shown


def test_a_cause_that_was_left_out_on_purpose_is_not_told():
    try:
        try:
            raise sqlite3.OperationalError("no such table")
        except sqlite3.OperationalError:
            raise ConnectionError("Prefect is gone") from None
    except ConnectionError as error:
        assert tracebacks.explain(error).startswith("Prefect is gone; ")


def test_a_warning_keeps_what_it_is_about():
    code = """
logger = logging.getLogger("prefect.flow_runs")
try:
    raise FileNotFoundError("gone")
except OSError:
    logger.warning("nightly: cannot look now", exc_info=True, extra={"flow_run_name": "run"})
"""
    told, shown = logged("GateRejected('failed', [], Path('report'))", code)
    assert "nightly: cannot look now" in told and "nightly: cannot look now" in shown


def test_a_rejection_is_not_logged_whatever_number_of_handlers_there_are():
    for place in logged("GateRejected('failed', ['a reason'], Path('report'))"):
        assert "stopped" not in place and "Traceback" not in place


def test_a_command_that_says_it_at_its_end_leaves_it_out_of_its_terminal_alone():
    told, shown = logged("DataError('bad.jsonl: line 1')", "tracebacks.leave_to_the_command()")
    assert told.count("bad.jsonl: line 1") == 2  # the error, and the state
    assert "bad.jsonl" not in shown
    assert "Finished in state Failed\n" in shown and "Finished in state Completed()\n" in shown


def test_a_command_leaves_the_traceback_of_a_fault():
    assert "Traceback" in logged("ValueError('a fault')", "tracebacks.leave_to_the_command()")[1]


def test_an_error_of_mlflows_database_is_raised_and_not_shown_as_well(tmp_path):
    code = """
import sqlite3, sys
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from tasks import tracebacks
if sys.argv[2] == "hide":
    tracebacks.hide()
client = MlflowClient(f"sqlite:///{sys.argv[1]}")
experiment = client.create_experiment("one")
with sqlite3.connect(sys.argv[1]) as connection:
    connection.execute("DROP TABLE experiment_tags")
try:
    client.set_experiment_tag(experiment, "key", "value")
except MlflowException as error:
    print("raised", "no such table" in str(error))
"""
    shown = {}
    for name in ("hide", "show"):
        command = [sys.executable, "-c", code, str(tmp_path / f"{name}.db"), name]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
        assert ran.stdout.strip() == "raised True"
        shown[name] = "Traceback" in ran.stderr
    assert shown == {"hide": False, "show": True}


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a.json"), "[Errno 28] No space left on device: 'a.json'"),
        (MemoryError(), "there is not enough memory"),
        (ImportError("a.so: failed to map segment from shared object"), "there is not enough memory"),
        (pa.ArrowInvalid("Not Arrow\nand more"), "Not Arrow"),
        (BrokenPipeError(), "BrokenPipeError"),
        (ValueError("External: no room (os error 28)"), "External: no room (os error 28)"),
    ],
)
def test_an_error_of_the_machine_is_one_sentence_that_says_how_to_see_more(monkeypatch, error, sentence):
    assert tracebacks.explain(error) == f"{sentence}; RMFLOW_TRACEBACK=1 shows where"
    monkeypatch.setenv("RMFLOW_TRACEBACK", "1")
    assert tracebacks.explain(error) is None


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), AssertionError(), ImportError("no such name")])
def test_an_error_of_the_program_keeps_its_traceback(error):
    assert tracebacks.explain(error) is None


def test_a_kernel_that_no_layer_of_ours_uses_is_not_missed(tmp_path):
    script = tmp_path / "adapters.py"
    script.write_text(
        "import logging, sys\n"
        "logging.basicConfig()\n"
        "from tasks import tracebacks\n"
        "'hide' in sys.argv and tracebacks.hide()\n"
        "import peft\n"
    )

    def said(*arguments):
        run = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=True)
        return [line for line in run.stderr.splitlines() if "kernels-community" in line]

    if not said():
        pytest.skip("this bitsandbytes, if there is one, misses nothing")
    assert not said("hide")
