"""The processes of a system on one machine: started together, kept running, ended together."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict

from rm.errors import ServerError
from rm.files import replace_text
from tasks import environment

_START_S = 180.0
_STOP_S = 10.0
_MAX_STARTS = 5
"""Times that a service that ends is started again; then all end, so that systemd or a person sees it."""
_STEADY_S = 60.0
"""A service that ran this long has not failed to start."""


@dataclass
class Service:
    """A process of the system."""

    name: str
    command: Sequence[str]
    health: str | None = None
    """The address that answers when it is ready; None if there is none."""
    variables: dict[str, str] = field(default_factory=dict)
    """Variables of its environment beside this process's."""
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    num_starts: int = 0

    @property
    def log(self) -> Path:
        """The file of its output."""
        return environment.home() / "logs" / f"{self.name}.log"

    def start(self) -> None:
        """Start it; what it has started ends with it."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tasks.guard", *self.command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment.with_variables(self.variables),
                start_new_session=True,
            )
        self.started_at, self.num_starts = time.monotonic(), self.num_starts + 1

    @property
    def is_running(self) -> bool:
        """Whether its process has not ended."""
        return self.process is not None and self.process.poll() is None

    def wait(self) -> None:
        """Wait until it answers.

        Raises
        ------
        ServerError
            If it ends first, or does not answer within three minutes.
        """
        deadline = time.monotonic() + _START_S
        while self.health is not None and not answers(self.health):
            if not self.is_running or time.monotonic() > deadline:
                raise ServerError(f"{self.name} did not start; the end of {self.log}: {self._last_line()}")
            time.sleep(0.1)

    def _last_line(self) -> str:
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1].strip() if lines else "empty"

    def stop(self) -> None:
        """End it and all that it has started."""
        if self.process is not None and self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()

    def wait_for_the_end(self) -> None:
        """Wait until it has ended; kill it if it takes too long."""
        if self.process is not None:
            try:
                self.process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def servers(prefect_port: int, mlflow_port: int) -> tuple[list[Service], str, str]:
    """The servers that are not configured, and the addresses of Prefect's API and of MLflow."""
    started = []
    if (prefect := environment.prefect_server()) is None:
        prefect = f"http://127.0.0.1:{prefect_port}/api"
        command = [_tool("prefect"), "server", "start", "--host", "127.0.0.1", "--port", str(prefect_port)]
        pages = {"PREFECT_SERVER_UI_API_URL": prefect, "PREFECT_API_URL": prefect}
        started.append(Service("prefect", command, f"{prefect}/health", pages))
    if (mlflow := environment.mlflow_server()) is None:
        mlflow = f"http://127.0.0.1:{mlflow_port}"
        command = [_tool("mlflow"), "server", "--host", "127.0.0.1", "--port", str(mlflow_port), "--workers", "1"]
        started.append(Service("mlflow", command, f"{mlflow}/health"))
    return started, prefect, mlflow


def worker(pool: str) -> Service:
    """What runs the retrainings on this machine."""
    command = [_tool("prefect"), "worker", "start", "--pool", pool, "--name", pool]
    # It asks for new runs every two seconds, in place of ten.
    return Service("worker", command, variables={"PREFECT_WORKER_QUERY_SECONDS": "2"})


def watcher(recipes: Sequence[str]) -> Service:
    """What watches the recipes' files and tables."""
    config = [part for recipe in recipes for part in ("--config", recipe)]
    # It reads annotations outside a flow, whose log has no run to go to.
    quiet = {"PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore"}
    return Service("watcher", [_tool("rmflow"), "watch", *config], variables=quiet)


def own_pool() -> str:
    """The work pool of this home: no other worker serves it, so when this one's worker has ended, so have its runs."""
    file = environment.home() / "work_pool"
    if not file.is_file():
        replace_text(file, f"rmflow-{uuid.uuid4().hex[:8]}\n")
    return file.read_text(encoding="utf-8").strip()


def _tool(name: str) -> str:
    """The tool of this installation."""
    return str(Path(sys.executable).parent / name)


def stop_all(services: Sequence[Service]) -> None:
    """End services, the last one first."""
    for service in reversed(services):
        service.stop()
    for service in reversed(services):
        service.wait_for_the_end()


def keep(services: Sequence[Service], when_gone: Callable[[str], None]) -> None:
    """Start services again that end, for ever.

    Parameters
    ----------
    services : sequence of Service
    when_gone : callable
        Called with a service's name before it is started, also for the first time.

    Raises
    ------
    ServerError
        If one of them has ended five times without running for a minute.
    """
    while True:
        for service in services:
            if service.is_running:
                continue
            if time.monotonic() - service.started_at > _STEADY_S:
                service.num_starts = 0
            if service.num_starts >= _MAX_STARTS:
                raise ServerError(f"{service.name} has ended {_MAX_STARTS} times; see {service.log}")
            when_gone(service.name)
            service.start()
        time.sleep(0.5)


def answers(url: str, timeout_s: float = 5.0) -> bool:
    """Whether a server answers at an address, whatever it says."""
    try:
        urllib.request.urlopen(url, timeout=timeout_s).close()
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False
    return True


def check_port(tool: str, port: int, option: str) -> None:
    """Check that a port is free.

    Raises
    ------
    ServerError
        If another process listens on it.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ServerError(
                f"port {port} for {tool} cannot be used ({error.strerror}); {option} names another"
            ) from None


class System(BaseModel):
    """A running system, as its own file tells other commands."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pid: int
    prefect: str
    """Address of Prefect's API."""
    mlflow: str
    recipes: tuple[str, ...]
    services: tuple[str, ...]

    @classmethod
    def of_this_process(cls, prefect: str, mlflow: str, recipes: tuple[str, ...], parts: Sequence[Service]) -> System:
        """The system that this process runs."""
        names = tuple(part.name for part in parts)
        return cls(pid=os.getpid(), prefect=prefect, mlflow=mlflow, recipes=recipes, services=names)

    @staticmethod
    def path() -> Path:
        """The file, in the home folder."""
        return environment.home() / "up.json"

    def write(self) -> None:
        """Tell other commands."""
        replace_text(self.path(), self.model_dump_json(indent=2) + "\n")

    @classmethod
    def running(cls) -> System | None:
        """The system of this home, if one runs."""
        with contextlib.suppress(Timeout), only_one():
            return None  # nobody holds the lock, so a file is of a system that was killed
        try:
            return cls(**json.loads(cls.path().read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return None  # it is starting

    def stop(self) -> bool:
        """End it; returns whether it has ended within half a minute."""
        os.kill(self.pid, signal.SIGTERM)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(Timeout), only_one():
                return True
            time.sleep(0.1)
        return False


def only_one() -> contextlib.AbstractContextManager[object]:
    """The lock that a running system holds; raises filelock's Timeout if another process holds it."""
    return FileLock(environment.home() / ".up.lock", timeout=0)
