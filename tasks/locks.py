"""Locks between processes with the same home; a lock is released when its process ends, in whatever way."""

from __future__ import annotations

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
