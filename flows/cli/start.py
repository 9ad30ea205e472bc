"""The entry point of the command line: signals are handled before anything that takes time is imported."""

from __future__ import annotations

import atexit
import logging
import os
import sys
from contextlib import suppress

from flows.cli import interrupts
from tasks import collector

_exit_codes: list[int] = []


def main() -> None:
    """Run ``rmflow``."""
    atexit.register(_leave)  # the first one registered is called last
    interrupts.install()
    try:
        with collector.resting():
            from flows.cli import app
        app.main()
    except SystemExit as end:
        _exit_codes.append(end.code if isinstance(end.code, int) else int(end.code is not None))
        raise
    except BaseException:
        if (interrupted := interrupts.exit_code()) is None:
            raise
        interrupts.show()  # while the commands were imported
        _exit_codes.append(interrupted)
        sys.exit(interrupted)


def _leave() -> None:
    """End the process; the interpreter would take apart thousands of modules first, which takes a second."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # a pipe that nobody reads any more, a stream that is closed
            stream.flush()
    os._exit(_exit_codes[0] if _exit_codes else 1)  # without a code it ends by an exception, which is printed by now
