"""Signals: the command ends with 128 plus the signal's number and one line, whatever it does."""

import signal
import subprocess
import sys

import pytest

from tests.processes import unmeasured

COMMAND = """
import signal, sys, time
from flows.cli import app, interrupts
from tasks import progress
interrupts._GRACE_S = 1.0
interrupts.install()

def work():
    with progress.items("score", "response") as advance:
        advance(3, 8)
        print("working", flush=True)
        {work}

app._exit_code = work
app.main()
"""
WAITS = "time.sleep(600)"
# Prefect takes SIGTERM for itself while a flow runs, and sends it again.
PASSES_IT_ON = """
        def handle(number, _):
            signal.signal(number, former)
            signal.raise_signal(number)
        former = signal.getsignal(signal.SIGTERM)  # before the handler, which may be called at once
        signal.signal(signal.SIGTERM, handle)
        time.sleep(600)
"""
NEVER_ENDS = """
        while True:
            try:
                time.sleep(600)
            except BaseException:
                pass
"""
REMOVES = """
        class Slow:
            def __del__(self):
                time.sleep(5)
        Slow()
        time.sleep(600)
"""


@pytest.fixture
def interrupted():
    """Start work, send it signals; returns exit code, what it says of it, and whether there is a traceback."""

    def run(work, *numbers):
        def heed():
            """As on a terminal: SIGINT is ignored in the background of a shell, SIGHUP after nohup."""
            for number in (signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)

        with subprocess.Popen(
            [sys.executable, "-c", COMMAND.format(work=work)],
            env=unmeasured(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=heed,  # noqa: PLW1509
        ) as process:
            process.stdout.readline()
            for number in numbers:
                process.send_signal(number)
            _, errors = process.communicate(timeout=60)
        told = [line for line in errors.splitlines() if line.startswith("interrupted")]  # a bar may be drawn after it
        code = process.returncode  # negative if a later signal met the ending interpreter: as a shell shows it
        return code if code >= 0 else 128 - code, told, "Traceback" in errors

    return run


LINE = ["interrupted at score, response 3 of 8; repeat the command to continue"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
@pytest.mark.parametrize(
    "work", [WAITS, PASSES_IT_ON, NEVER_ENDS, REMOVES], ids=["waits", "passes it on", "never ends", "removes"]
)
def test_a_signal_ends_the_command_with_one_line(interrupted, number, work):
    assert interrupted(work, number) == (128 + number, LINE, False)


def test_a_second_signal_changes_nothing(interrupted):
    assert interrupted(NEVER_ENDS, signal.SIGINT, signal.SIGTERM, signal.SIGINT) in (
        (128 + signal.SIGINT, LINE, False),
        (128 + signal.SIGTERM, LINE, False),  # both were there before Python looked
    )
