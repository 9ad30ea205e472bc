"""What interrupted runs have left beside stages and databases; no finished stage, version or report needs any of it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from rm.files import num_bytes
from tasks import environment

_BESIDE_STAGES = (".resume", ".aside", ".partial")
"""Checkpoints of an unfinished training, files that were no stage's own, and copies that were not fetched whole."""


class Leftover(NamedTuple):
    """A file or folder that may go."""

    path: Path
    size: int
    """Bytes."""


def remove(days: float, *, dry_run: bool) -> list[Leftover]:
    """Remove what nothing has changed in for some days; a stage that is at work keeps its own.

    Parameters
    ----------
    days : float
    dry_run : bool
        Whether to only say what would be removed.
    """
    return [found for path in _candidates() if (found := _removed(path, days, dry_run=dry_run))]


def _candidates() -> Iterator[Path]:
    stages = sorted(environment.home().glob("stages/*/.*"))
    yield from (path for path in stages if path.suffix in _BESIDE_STAGES and path.is_dir())
    yield from sorted(environment.home().glob("*.half-made*"))
    yield from sorted(environment.home().glob("prefect/*.half-made*"))


def _removed(path: Path, days: float, *, dry_run: bool) -> Leftover | None:
    try:
        with FileLock(path.with_name(f"{path.stem}.lock"), timeout=0) if path.is_dir() else nullcontext():
            if time.time() - _changed(path) < days * 86_400:
                return None
            found = Leftover(path, num_bytes(path))
            if not dry_run:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            return found
    except Timeout:
        return None  # a run is filling this stage


def _changed(path: Path) -> float:
    return max(each.lstat().st_mtime for each in (path, *path.rglob("*")))
