"""Locks between processes of one home; a lock goes with the process that holds it, however that ends."""

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
