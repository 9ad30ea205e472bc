"""The process of a Prefect server that belongs to one command: ``python -m tasks.prefect_process SOCKET``.

It serves on a socket that it inherits, and prints a line when it answers. It ends when its standard input ends, so
however the command ends, also by SIGKILL.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import warnings

import uvicorn

from tasks import collector, databases

READY = "ready"
_GRACE_S = 3.0
"""For what runs when the command has ended, before the process ends all the same."""


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            sys.stdout.write(f"{READY}\n")
            sys.stdout.flush()


def _end_with_the_command(servers: list[_Server]) -> None:
    os.read(0, 1)  # not by sys.stdin, whose lock would disturb the end of this process
    if not servers:  # databases and imports may be left at any point
        os._exit(0)
    servers[0].should_exit = True
    threading.Timer(_GRACE_S, os._exit, (0,)).start()


def main() -> None:
    """Serve until standard input ends."""
    servers: list[_Server] = []
    threading.Thread(target=_end_with_the_command, args=(servers,), daemon=True).start()
    warnings.simplefilter("ignore")
    with collector.resting():
        databases.ensure_prefect()
        from prefect.server.api.server import create_app

        app = create_app(ephemeral=True, final=True)  # without pages and without the services of a server that stays
    server = _Server(uvicorn.Config(app, log_level="error", lifespan="on", timeout_graceful_shutdown=1))
    servers.append(server)
    server.run(sockets=[socket.socket(fileno=int(sys.argv[1]))])


if __name__ == "__main__":
    main()
    os._exit(0)  # all is written; the interpreter's own end takes a second, for which the command would wait
