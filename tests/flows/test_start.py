"""The end of the command: the exit code and all that was printed are those of the interpreter's own end."""

import os
import subprocess
import sys

import pytest

_PROGRAM = """
import atexit, sys
from flows.cli import app, start

def work():
    print("to the reader")
    print("to the terminal", file=sys.stderr)
    atexit.register(print, "closed")
    {ending}

app.main = work
start.main()
"""


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        pytest.param("sys.exit(0)", 0, id="passed"),
        pytest.param("sys.exit(3)", 3, id="a verdict"),
        pytest.param("sys.exit()", 0, id="no code"),
        pytest.param("sys.exit('why')", 1, id="a text"),
        pytest.param("raise ValueError('a fault')", 1, id="a fault"),
    ],
)
def test_the_command_ends_as_the_interpreter_does(ending, code):
    program = _PROGRAM.format(ending=ending)
    ended = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert ended.returncode == code
    assert ended.stdout == "to the reader\nclosed\n"
    assert ended.stderr.startswith("to the terminal\n")
    assert ("ValueError: a fault" in ended.stderr) == ("fault" in ending)


def test_a_reader_that_has_gone_is_no_fault():
    program = _PROGRAM.format(ending="sys.exit(0)")
    command = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},  # which prints at once
    )
    command.stdout.close()
    with command.stderr as said:
        assert said.read() == b"to the terminal\n"
    assert command.wait() == 0


def test_a_signal_while_the_commands_are_imported_ends_them_with_one_line():
    program = """
import os, signal, sys
from flows.cli import start

class Finder:
    def find_spec(self, name, *_):
        if name == "flows.cli.app":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
signal.signal(signal.SIGINT, signal.default_int_handler)
start.main()
"""
    ended = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    told = "\ninterrupted; repeat the command to continue\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", told)
