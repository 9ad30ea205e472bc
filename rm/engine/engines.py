"""Doing the same work on many shards, here or on other machines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol, TypeVar

S = TypeVar("S")
R = TypeVar("R")

Make = Callable[[], Callable[[S], R]]
"""Called once per worker, since a tokenizer or a model takes long to load; gives what is called with each shard."""
FindFolder = Callable[[], AbstractContextManager[Path]]
"""Called by a worker: a folder of its machine, which may be gone after the context."""


class Engine(Protocol):
    """Calls a function with many shards."""

    is_here: bool
    """Whether the work is done in this process, which may use what it has loaded."""

    def map(self, make: Make[S, R], shards: Iterable[tuple[str, S]], *, on_gpus: bool = False) -> Iterator[R]:
        """The results in the order of the shards.

        Parameters
        ----------
        make : callable
            A function of a module of `rm`, or a `functools.partial` of one.
        shards : iterable of (name, shard)
            The name stands in errors. A few shards are taken ahead of the results.
        on_gpus : bool
            Whether the work is faster on a GPU.
        """
        ...

    def folder(self, path: Path) -> FindFolder:
        """What finds the files of a folder on a worker's machine."""
        ...


class Local:
    """Does the work in this process."""

    is_here = True

    def map(self, make: Make[S, R], shards: Iterable[tuple[str, S]], *, on_gpus: bool = False) -> Iterator[R]:
        """The results, one after another."""
        function = make()
        for _, shard in shards:
            yield function(shard)

    def folder(self, path: Path) -> FindFolder:
        """The folder itself."""
        return lambda: nullcontext(path)


LOCAL = Local()
