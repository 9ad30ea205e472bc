"""Locks between processes with the same home; a lock is released when its process ends, in whatever way."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait until no other process holds the lock with this file, then hold it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path):
        yield


def lock_of(stage: Path) -> Path:
    """The file of the lock that a run holds on a stage's folder while it uses it; its time is that of the last use."""
    return stage.with_name(f".{stage.name}.used")


@contextmanager
def using(path: Path) -> Iterator[None]:
    """Hold a lock that others may hold too, but not while somebody has it by `unused`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        os.utime(path)
        yield


@contextmanager
def unused(path: Path, *, make: bool) -> Iterator[bool]:
    """Keep others from `using` it, without waiting; yields whether that was possible.

    Parameters
    ----------
    path : Path
    make : bool
        Whether to make the lock's file. Without one nobody uses it now, but somebody may begin to.
    """
    if not make and not path.exists():
        yield True
        return
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
