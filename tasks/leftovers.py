"""Files that no run and no registered version needs: left by interrupted runs, or not used for a long time."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import NamedTuple

from rm.files import num_bytes, process_of
from rm.manifests import MANIFEST_NAME
from tasks import environment
from tasks.locks import lock_of, unused

_BESIDE_STAGES = (".resume", ".rehearsal", ".aside", ".partial")
"""Checkpoints of an unfinished training, files that were no stage's own, and copies that were not fetched whole."""
_DAY_S = 86_400.0


class Leftover(NamedTuple):
    """Something that may go."""

    what: str
    """Its path, or its name in MLflow."""
    size: int
    """Bytes."""


class _Stage(NamedTuple):
    """A finished stage, as its manifest tells."""

    digest: str
    inputs: frozenset[str]
    """Their digests."""


def remove(days: float, registered: Set[str], *, dry_run: bool) -> list[Leftover]:
    """Remove what nothing has used or changed for some days; what a run uses stays.

    Parameters
    ----------
    days : float
    registered : set of str
        Digests of the checkpoints of registered versions. Their trainings stay, with what they were made from.
    dry_run : bool
        Whether to only say what would be removed.
    """
    candidates = [*_beside_stages(), *_stages(days, registered), *_half_made(), *_work_folders(), *_downloads()]
    old = [path for path in candidates if _age_s(path) >= days * _DAY_S]
    return [found for path in old if (found := _removed(path, dry_run=dry_run))]


def _removed(path: Path, *, dry_run: bool) -> Leftover | None:
    with unused(_lock(path), make=path.is_dir() and not dry_run) as may_go:
        if not may_go:
            return None
        found = Leftover(str(path), num_bytes(path))
        if not dry_run:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return found


def _lock(path: Path) -> Path:
    """The lock of a stage, also for what lies beside it as ``.KEY.resume``."""
    return lock_of(path.with_name(path.stem.removeprefix(".")))


def _age_s(path: Path) -> float:
    times = [each.lstat().st_mtime for each in (path, *path.rglob("*"))]
    if (lock := _lock(path)).exists():
        times.append(lock.stat().st_mtime)
    return time.time() - max(times)


def _beside_stages() -> Iterator[Path]:
    found = sorted(environment.home().glob("stages/*/.*"))
    yield from (path for path in found if path.suffix in _BESIDE_STAGES and path.is_dir())


def _half_made() -> Iterator[Path]:
    yield from sorted(environment.home().glob("*.half-made*"))
    yield from sorted(environment.home().glob("prefect/*.half-made*"))


def _work_folders() -> Iterator[Path]:
    """Folders for temporary files whose process has ended without removing them."""
    found = [*Path(tempfile.gettempdir()).glob("rmflow-*"), *environment.home().glob(".check-*")]
    for path in sorted(found):
        process = process_of(path)
        if process is not None and path.stat().st_uid == os.getuid() and not _is_running(process):
            yield path


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def _downloads() -> Iterator[Path]:
    """Downloads from the hub that were broken off; one that goes on has changed today."""
    for path in sorted(environment.home().glob("huggingface/hub/*/blobs/*.incomplete")):
        if _age_s(path) > _DAY_S:
            yield path


def _stages(days: float, registered: Set[str]) -> Iterator[Path]:
    """Stages, finished or not, that nothing needs: no version, and no stage that stays."""
    found = _found()
    kept = with_inputs(_used(found, days) | registered, _made_from(found))
    yield from (path for path, stage in found.items() if stage is None or stage.digest not in kept)


def used_here(days: float) -> tuple[frozenset[str], dict[str, frozenset[str]]]:
    """Digests of the stages of this machine that a run uses now or used within some days, and what each was made from.

    Parameters
    ----------
    days : float

    Returns
    -------
    used : frozenset of str
    made_from : dict of str to frozenset of str
        Of all stages of this machine: digest to the digests of the inputs.
    """
    found = _found()
    return _used(found, days), _made_from(found)


def with_inputs(digests: Set[str], made_from: Mapping[str, frozenset[str]]) -> set[str]:
    """These digests, those of what they were made from, and so on."""
    kept, waiting = set(digests), list(digests)
    while waiting:
        new = made_from.get(waiting.pop(), frozenset()) - kept
        kept |= new
        waiting += new
    return kept


def _found() -> dict[Path, _Stage | None]:
    folders = sorted(path for path in environment.home().glob("stages/*/[!.]*") if path.is_dir())
    return {path: _read(path) for path in folders if not path.is_symlink()}


def _used(found: Mapping[Path, _Stage | None], days: float) -> frozenset[str]:
    return frozenset(stage.digest for path, stage in found.items() if stage and _stays(path, days))


def _made_from(found: Mapping[Path, _Stage | None]) -> dict[str, frozenset[str]]:
    return {stage.digest: stage.inputs for stage in found.values() if stage}


def _stays(stage: Path, days: float) -> bool:
    with unused(lock_of(stage), make=False) as may_go:
        return not may_go or _age_s(stage) < days * _DAY_S


def _read(stage: Path) -> _Stage | None:
    """None for a stage that did not finish."""
    try:
        manifest = json.loads((stage / MANIFEST_NAME).read_bytes())
        return _Stage(manifest["digest"], frozenset(each["digest"] for each in manifest["inputs"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
