"""In a process of its own, as a worker runs a flow: no command line is imported."""

import os
import subprocess
import sys

LOGGED = """
import logging
from pathlib import Path
import flows.retrain
from rm.errors import DataError, GateRejected
from tasks import tracebacks

def log(error):
    try:
        raise error
    except Exception:
        logger = logging.getLogger("prefect.flow_runs")
        logger.error("Engine execution exited", exc_info=True, extra={"flow_run_name": "run"})
        logging.getLogger("prefect.engine").error("Execution exited", exc_info=True)

logging.getLogger("prefect.flow_runs").addHandler(logging.StreamHandler())  # beside the one that sends to a server
tracebacks.hide()
log({error})
"""


def logged(error):
    code = LOGGED.replace("{error}", error)
    environment = {**os.environ, "PREFECT_LOGGING_TO_API_ENABLED": "false"}  # there is no server
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stderr


def test_an_error_of_ours_is_one_line_and_any_other_keeps_its_traceback():
    assert "Traceback" in logged("ValueError('a fault')")
    found = logged("DataError('bad.jsonl: line 1')")
    assert "stopped: bad.jsonl: line 1" in found
    assert "Traceback" not in found


def test_a_rejection_is_not_logged_whatever_number_of_handlers_there_are():
    assert logged("GateRejected('failed', ['a reason'], Path('report'))") == ""
