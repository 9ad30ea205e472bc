"""Opening and staging many sources, here or by the workers of a cluster, which send back what they have written."""

from __future__ import annotations

import functools
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rm.data import sources, staging
from rm.data.config import IngestConfig
from rm.data.sources import Source
from rm.data.staging import Staged
from rm.engine.engines import Engine
from rm.errors import DataError
from rm.files import work_folder


def opened(names: Sequence[str], engine: Engine) -> list[Source | DataError]:
    """The files of all names and patterns, with their digests; an error for one that cannot be opened.

    Parameters
    ----------
    names : sequence of str
        Files, globs or hub names, as in `IngestConfig.sources`.
    engine : Engine
        Its workers must reach the files by these names.
    """
    files = list(_expanded(names))
    opener = functools.partial(_opener, not engine.is_here)
    return list(engine.map(opener, ((str(file), file) for file in files)))


def _expanded(names: Sequence[str]) -> Iterator[str | DataError]:
    for name in names:
        try:
            yield from sources.expanded(name)
        except DataError as error:
            yield error


def _opener(divided: bool) -> Callable[[str | DataError], Source | DataError]:
    return functools.partial(_opened, divided)


def _opened(divided: bool, file: str | DataError) -> Source | DataError:
    if isinstance(file, DataError):
        return file
    try:
        return sources.open_source(file, divided=divided)
    except DataError as error:
        return error


def staged(found: Iterable[Source], config: IngestConfig, folder: Path, engine: Engine) -> Iterator[Staged | DataError]:
    """What was read of each source, in order; an error for one that breaks off.

    Parameters
    ----------
    found : iterable of Source
    config : IngestConfig
    folder : Path
        Gets a folder with two files for each source.
    engine : Engine
    """
    numbers = itertools.count()
    if engine.is_here:
        yield from engine.map(lambda: functools.partial(_stage, config, folder, numbers), ((s.name, s) for s in found))
        return
    waiting: deque[int] = deque()  # the number of parts of each source
    carried = engine.map(functools.partial(_carrier, config), _shards(found, waiting))
    for first in carried:
        parts = itertools.chain([first], itertools.islice(carried, waiting.popleft() - 1))
        # Each is put into files as it comes: a large source does not fit into memory.
        here = [each if isinstance(each, DataError) else each.unpacked(_part(folder, numbers)) for each in parts]
        yield _joined(here, folder, numbers)


def _joined(parts: list[Staged | DataError], folder: Path, numbers: Iterator[int]) -> Staged | DataError:
    read: list[Staged] = []
    for part in parts:
        if isinstance(part, DataError):
            return part
        read.append(part)
    return read[0] if len(read) == 1 else staging.joined(read, _part(folder, numbers))


def _shards(found: Iterable[Source], waiting: deque[int]) -> Iterator[tuple[str, Source]]:
    """The sources, large ones in parts."""
    for source in found:
        parts = [source._replace(read=read, parts=()) for read in source.parts] or [source]
        waiting.append(len(parts))
        yield from ((source.name, part) for part in parts)


def _stage(config: IngestConfig, folder: Path, numbers: Iterator[int], source: Source) -> Staged | DataError:
    try:
        return staging.stage(source, config, _part(folder, numbers))
    except DataError as error:
        return error


def _part(folder: Path, numbers: Iterator[int]) -> Path:
    part = folder / str(next(numbers))
    part.mkdir()
    return part


class _Carried(NamedTuple):
    """What a worker has read of a source, with the bytes of both files."""

    staged: Staged
    judgements: NDArray[np.uint8]
    quarantine: NDArray[np.uint8]

    def unpacked(self, folder: Path) -> Staged:
        """The same with the files in a folder of this machine."""
        here = self.staged._replace(
            judgements=folder / self.staged.judgements.name, quarantine=folder / self.staged.quarantine.name
        )
        self.judgements.tofile(here.judgements)
        self.quarantine.tofile(here.quarantine)
        return here


def _carrier(config: IngestConfig) -> Callable[[Source], _Carried | DataError]:
    return functools.partial(_carried, config)


def _carried(config: IngestConfig, source: Source) -> _Carried | DataError:
    with work_folder() as folder:
        found = _stage(config, folder, itertools.count(), source)
        if isinstance(found, DataError):
            return found
        return _Carried(found, np.fromfile(found.judgements, np.uint8), np.fromfile(found.quarantine, np.uint8))
