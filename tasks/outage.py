"""A configured server that goes away while a flow runs: the process ends, since Prefect and MLflow ask for minutes.

Nothing is lost: a repeated run continues from its last checkpoint. A server that is back within a minute is not missed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tasks import prefect_server

_PATIENCE_S = 60.0
_EVERY_S = 2.0
_ASK_EVERY_S = 0.5
_GRACE_S = 10.0
"""From SIGTERM, by which the flow can tell the servers that are left, to the end."""
_NAME = "outage"
_lost: list[str] = []
_watched: list[threading.Event] = []
"""One per block that is open, set at its end."""


def lost() -> str | None:
    """What is said of the server that is gone; None if none is."""
    return _lost[0] if _lost else None


@contextmanager
def watched() -> Iterator[None]:
    """End this process, with exit code 1, if a server that the user has configured does not answer for a minute.

    Inside another such block it does nothing.
    """
    servers = [] if _watched else prefect_server.configured()
    ended = threading.Event()
    _watched.append(ended)
    if servers:
        threading.Thread(target=_watch, args=(servers, ended), daemon=True, name=_NAME).start()
    try:
        yield
    finally:
        _watched.remove(ended)
        ended.set()


def wait() -> None:
    """Wait, in a block of `watched`, until the configured servers answer: Prefect asks once where a flow begins."""
    for server in prefect_server.configured():
        while server.failure():
            time.sleep(_ASK_EVERY_S)


def _watch(servers: list[prefect_server.Configured], ended: threading.Event) -> None:
    answered = dict.fromkeys(servers, time.monotonic())
    while not ended.wait(_EVERY_S):
        for server in servers:
            if server.failure() is None:
                answered[server] = time.monotonic()
            elif time.monotonic() - answered[server] > _PATIENCE_S and not ended.is_set():
                _end(server)


def _end(server: prefect_server.Configured) -> None:
    _lost.append(
        f"{server.tool} at {server.address} has not answered for {_PATIENCE_S:.0f} s; start it, and repeat the command "
        "to continue"
    )
    sys.stderr.write(f"\nerror: {_lost[0]}\n")  # no log message: a thread has no flow run to which it belongs
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S)
    os._exit(1)
