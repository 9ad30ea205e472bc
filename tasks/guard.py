"""Runs a command that ends when this process's standard input ends: ``python -m tasks.guard COMMAND...``.

So it ends with the process that started it, also if that one is killed; and with it, all that the command has started.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

_GRACE_S = 6.0
"""From SIGTERM to SIGKILL."""
_MARK = "RMFLOW_GUARD"
"""A variable that all processes of the command inherit, also those in sessions of their own."""


def main() -> None:
    """Run the command, and exit with its code."""
    mark = f"{os.getpid()}-{time.time_ns()}"
    environ = {**os.environ, _MARK: mark}
    command = subprocess.Popen(sys.argv[1:], env=environ, stdin=subprocess.DEVNULL, start_new_session=True)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: _end(command, mark))
    threading.Thread(target=_end_with_the_parent, args=(command, mark), daemon=True).start()
    code = command.wait()
    _kill(mark)
    os._exit(code if code >= 0 else 128 - code)


def _end_with_the_parent(command: subprocess.Popen[bytes], mark: str) -> None:
    os.read(0, 1)
    _end(command, mark)


def _end(command: subprocess.Popen[bytes], mark: str) -> None:
    command.terminate()
    try:
        command.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        command.kill()
    _kill(mark)


def _kill(mark: str) -> None:
    """End what the command has started and left behind, at once."""
    wanted = f"{_MARK}={mark}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (process / "environ").read_bytes().split(b"\0"):
                os.kill(int(process.name), signal.SIGKILL)
        except OSError:  # it has ended, or is another user's
            continue


if __name__ == "__main__":
    main()
