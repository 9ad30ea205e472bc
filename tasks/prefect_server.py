"""The Prefect server of a command: the configured one, or a process of its own, which ends with the command.

Prefect starts such a process itself, but in the terminal's process group: Ctrl-C ends the server before the flow can
tell it anything, and the flow asks a server that is gone for minutes. After SIGKILL it goes on for ever.
"""

from __future__ import annotations

import atexit
import logging
import selectors
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from rm.errors import ServerError
from tasks import environment

_ANSWER_S = 5.0
"""A server on this machine or in its network that does not answer in this time is taken for gone."""
_START_S = 180.0
"""For a first start, which makes a database, on a busy machine."""
_STOP_S = 5.0
_MAX_STARTS = 3
_LEAST_ROOM = 2**20
"""Bytes: on a disk with less no database can be made."""
_LOGGER = logging.getLogger(f"rm.{__name__}")


class OwnServer:
    """A process with a Prefect server; it starts at once, and answers a few seconds later.

    One that dies is started again: what asks it meanwhile waits, since the socket stays open here.

    Parameters
    ----------
    log : Path
        For what the server has to say.
    """

    def __init__(self, log: Path) -> None:
        self.log = log
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/api"
        self.process = self._launched()
        self._is_wanted = threading.Event()
        atexit.register(self.stop)

    def _launched(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as errors:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "tasks.prefect_process", str(self._listening.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                pass_fds=[self._listening.fileno()],
                start_new_session=True,  # Ctrl-C is for the command, which ends the server when it needs it no more
            )

    def wait(self) -> None:
        """Wait until it answers.

        Raises
        ------
        ServerError
            If it ends, or does not answer within three minutes.
        """
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)  # type: ignore[arg-type]  # it is a pipe
            answers = selector.select(_START_S) and self.process.stdout.readline()  # type: ignore[union-attr]
        if not answers:
            self.stop()
            raise ServerError(f"the Prefect server of this command did not start; {_last_words(self.log)}")
        self._is_wanted.set()
        threading.Thread(target=self._keep, daemon=True).start()

    def _keep(self) -> None:
        for _ in range(_MAX_STARTS):
            self.process.wait()
            if not self._is_wanted.is_set():
                return
            _LOGGER.warning("the Prefect server of this command has died; it is started again")
            self.process = self._launched()

    def stop(self) -> None:
        """End it; does nothing if it has ended."""
        self._is_wanted.clear()
        self._listening.close()
        self.process.stdin.close()  # type: ignore[union-attr]
        try:
            self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()  # type: ignore[union-attr]


def _last_words(log: Path) -> str:
    """Why a server ended, by its log; on a full disk it could write none."""
    if said := log.read_text(errors="replace").strip().splitlines()[-1:]:
        return f"the end of {log}: {said[0]}"
    full = shutil.disk_usage(log).free < _LEAST_ROOM
    return f"the disk of {log.parent} is full" if full else f"{log} is empty"


def begin() -> OwnServer | None:
    """Start a server for this command, unless the user has configured one, which must answer.

    Call it before Prefect is imported, which takes as long as the start.

    Raises
    ------
    ServerError
        If the configured server, or that of MLflow, does not answer within five seconds.
    """
    if "Prefect" in probe_configured():
        return None
    if environment.uses_own_server():  # of an earlier flow in this process
        return None
    log = environment.home() / "prefect" / "own_server.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    server = OwnServer(log)
    environment.use_own_server(server.url)
    return server


@contextmanager
def without_heartbeats() -> Iterator[None]:
    """Flow runs in this block send no heartbeats: nobody asks the server of one command for a run that is still.

    The thread that sends them would make each flow wait for it at its end.
    """
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):  # no value of the variable means none
        yield


class Configured(NamedTuple):
    """A server that the user has configured."""

    tool: str
    address: str
    asked: str
    """The address that answers a server in good health."""
    variable: str

    def failure(self) -> str | None:
        """Why it does not answer within five seconds; None if it does."""
        try:
            urllib.request.urlopen(self.asked, timeout=_ANSWER_S).close()
        except urllib.error.HTTPError:
            return None  # it answers; whether it wants a login is for the tool to say
        except (OSError, ValueError) as error:
            return str(getattr(error, "reason", error))
        return None


def configured() -> list[Configured]:
    """The servers that the user has configured."""
    found = []
    if mlflow := environment.mlflow_server():
        found.append(Configured("MLflow", mlflow, mlflow, "MLFLOW_TRACKING_URI"))
    if prefect := environment.prefect_server():
        found.append(Configured("Prefect", prefect, f"{prefect}/health", "PREFECT_API_URL"))
    return found


def probe_configured(tools: Collection[str] = ("MLflow", "Prefect")) -> dict[str, str]:
    """Each server that the user has configured, with its address; they answer.

    Parameters
    ----------
    tools : collection of str
        The tools whose servers are asked.

    Raises
    ------
    ServerError
        If one does not answer within five seconds.
    ConfigError
        If an address holds a login, or MLflow's is of no kind that it knows.
    """
    environment.check_mlflow()
    found = [server for server in configured() if server.tool in tools]
    for server in found:
        started = time.monotonic()
        if reason := server.failure():
            raise ServerError(
                f"{server.tool} at {server.address} does not answer ({reason}; waited {time.monotonic() - started:.0f} "
                f"s): start it, or correct {server.variable}"
            )
    return {server.tool: server.address for server in found}
