"""Ctrl-C, SIGTERM and SIGHUP: the command ends within ten seconds, whatever it does.

The first one is an exception in the main thread, so that Prefect and MLflow hear of it. A thread waits beside it: it
ends the process if that takes too long, or if a second one comes. Nothing is lost then either: everything that rmflow
writes can be interrupted by SIGKILL.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from types import FrameType

_GRACE_S = 8.0
_SECOND_GRACE_S = 4.0
"""After a second signal; not at once, since Prefect sends itself the SIGTERM that it has handled again."""
_AGAIN_S = 0.1
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_received: list[int] = []
_shown: list[bool] = []


def install() -> None:
    """Handle the signals from now on; one that is ignored, as after nohup, stays ignored."""
    for number in _ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _raise_once)
    sys.unraisablehook = _raise_again
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reader,), daemon=True).start()


def exit_code() -> int | None:
    """The exit code after a signal, 128 plus its number; 1 if a server is gone; None if nothing ends the command."""
    if _outage():
        return 1
    return 128 + _received[0] if _received else None


def show() -> None:
    """Say on the error output where the command was interrupted, and how to go on; an outage has said it itself."""
    if _shown or _outage():
        return
    _shown.append(True)
    progress = sys.modules.get("tasks.progress")  # not imported for this: then nothing was counted
    where = progress.where() if progress else ""
    sys.stderr.write(f"\ninterrupted{' at ' if where else ''}{where}; repeat the command to continue\n")
    sys.stderr.flush()


def _outage() -> str | None:
    outage = sys.modules.get("tasks.outage")
    return outage.lost() if outage else None


def _raise_once(number: int, _: FrameType | None) -> None:
    """An exception in the main thread; a second one would only disturb the first one's way out."""
    signal.signal(number, lambda *_: None)
    _note(number)
    raise KeyboardInterrupt


def _raise_again(lost: sys.UnraisableHookArgs) -> None:
    """Where an object was being removed, Python drops the exception and goes on."""
    if not (isinstance(lost.exc_value, KeyboardInterrupt) and _received):
        sys.__unraisablehook__(lost)
        return
    signal.signal(_received[0], _raise_once)
    again = threading.Timer(_AGAIN_S, os.kill, (os.getpid(), _received[0]))
    again.daemon = True
    again.start()


def _note(number: int) -> None:
    if not _received:
        _received.append(number)


def _watch(reader: int) -> None:
    """Wait for a signal by Python's wakeup pipe, to which it writes even while the main thread is in other code."""
    while (number := os.read(reader, 1)[0]) not in _ENDING:
        pass
    _note(number)
    deadline = time.monotonic() + _GRACE_S
    while (left := deadline - time.monotonic()) > 0:
        if select.select([reader], [], [], left)[0] and os.read(reader, 1)[0] in _ENDING:
            deadline = min(deadline, time.monotonic() + _SECOND_GRACE_S)
    show()
    os._exit(exit_code() or 128 + number)
