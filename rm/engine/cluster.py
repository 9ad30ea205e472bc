"""Doing the work of a stage on a Ray cluster.

Each worker is a Ray actor, so that a tokenizer or a model is loaded once. Shards and results pass through Ray's object
store: the machines need no common file system. A shard whose worker dies is done again by the worker that Ray starts in
its place.
"""

from __future__ import annotations

import functools
import logging
import socket
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

import rm
from rm import imports
from rm.engine.engines import FindFolder, Make, R, S
from rm.errors import ClusterError, ConfigError, RmflowError
from rm.files import work_folder

try:
    import ray
    from ray.exceptions import RayError, RayTaskError
except ImportError:
    raise ConfigError("compute.engine is ray, which is not installed: pip install 'rmflow[ray]'") from None

_WAITING_PER_WORKER = 3
"""Shards per worker that are read ahead, or wait for an earlier one's result."""
_TRIES = 4
"""How often a shard is tried whose worker dies."""
_ROOT = Path(rm.__file__).parents[1]


class Cluster:
    """The Ray cluster that ``RAY_ADDRESS`` names, or one of this machine alone.

    Parameters
    ----------
    num_workers : int, optional
        Default: one per GPU or core, as the cluster is when work begins.

    Raises
    ------
    ClusterError
        If there is no cluster at the address.
    """

    is_here = False

    def __init__(self, num_workers: int | None = None) -> None:
        self._num_workers = num_workers
        if not ray.is_initialized():
            try:
                ray.init(log_to_driver=False, logging_level=logging.WARNING)
            except (RayError, OSError, ValueError, RuntimeError) as error:
                raise ClusterError(f"compute.engine: no connection to a Ray cluster: {error}") from None

    def map(self, make: Make[S, R], shards: Iterable[tuple[str, S]], *, on_gpus: bool = False) -> Iterator[R]:
        """The results in the order of the shards.

        Raises
        ------
        ClusterError
            If a shard's worker fails, or dies each time; names the shard.
        RmflowError
            If the function raises one.
        """
        made = ray.put(make)  # kept until the end: a worker that is started again takes it once more
        workers = self._started(made, _code(make), on_gpus=on_gpus)
        waiting: deque[tuple[str, Any]] = deque()
        running: dict[Any, int] = {}
        try:
            for name, shard in shards:
                if len(waiting) == _WAITING_PER_WORKER * len(workers):
                    yield _result(*waiting.popleft())
                place = _least_busy(running, len(workers))
                result = workers[place].work.remote(shard)
                running[result] = place
                waiting.append((name, result))
                del result  # a result whose reference is kept stays in the object store
            while waiting:
                yield _result(*waiting.popleft())
        finally:
            for worker in workers:
                ray.kill(worker)

    def _started(self, made: Any, code: tuple[str, str], *, on_gpus: bool) -> list[Any]:
        resources = ray.cluster_resources()
        num_gpus = 1 if on_gpus and resources.get("GPU") else 0
        num_workers = self._num_workers or int(resources["GPU" if num_gpus else "CPU"])
        actor = ray.remote(_Worker).options(num_cpus=1, num_gpus=num_gpus, max_restarts=-1, max_task_retries=_TRIES - 1)
        return [actor.remote(made, code) for _ in range(num_workers)]

    def folder(self, path: Path) -> FindFolder:
        """The folder itself on a cluster of one machine; else a copy, which workers take from Ray's object store."""
        if len(ray.nodes()) == 1:
            return functools.partial(_there, path)
        names = [file.relative_to(path).as_posix() for file in sorted(path.rglob("*")) if file.is_file()]
        return functools.partial(_copied, {name: ray.put(np.fromfile(path / name, np.uint8)) for name in names})


class _Worker:
    """Does the work of shards on some machine of the cluster."""

    def __init__(self, make: Make[Any, Any], code: tuple[str, str]) -> None:
        self._make, self._code = make, code
        self._function: Callable[[Any], Any] | None = None

    def work(self, shard: Any) -> Any:
        if self._function is None:
            if (found := imports.code_digest(self._code[0], _ROOT)) != self._code[1]:
                raise ClusterError(
                    f"{socket.gethostname()}: expected the same code of {self._code[0]} as where the run was started "
                    f"({self._code[1][:12]}), got {found[:12]}; install the same version of rmflow there"
                )
            self._function = self._make()
        return self._function(shard)


def _code(make: Make[Any, Any]) -> tuple[str, str]:
    """The module of the work, and the digest of the code that it reaches."""
    module = getattr(make, "func", make).__module__
    return module, imports.code_digest(module, _ROOT)


def _least_busy(running: dict[Any, int], num_workers: int) -> int:
    if running:
        done, _ = ray.wait(list(running), num_returns=len(running), timeout=0, fetch_local=False)
        for result in done:
            del running[result]
    shards = Counter(running.values())
    return min(range(num_workers), key=lambda place: shards[place])


def _result(name: str, result: Any) -> Any:
    try:
        return ray.get(result)
    except RayTaskError as error:
        if isinstance(error.cause, RmflowError):
            raise error.cause from None
        raise ClusterError(f"{name}: a worker failed: {type(error.cause).__name__}: {error.cause}") from None
    except RayError as error:
        told = str(error).strip().splitlines()
        raise ClusterError(
            f"{name}: its worker died, or could not start, each of {_TRIES} times: {told[0] if told else error!r}"
        ) from None


def _there(path: Path) -> AbstractContextManager[Path]:
    return nullcontext(path)


@contextmanager
def _copied(files: dict[str, Any]) -> Iterator[Path]:
    """A folder of this machine with files of Ray's object store.

    It goes with the context: a worker is killed at the end of its work, and removes nothing then.
    """
    with work_folder() as folder:
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            ray.get(content).tofile(folder / name)
        yield folder
