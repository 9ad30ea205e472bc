"""New and changed files of sources, once nobody is writing them any more."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pyarrow import fs

from rm.data import contents, sources
from rm.errors import DataError
from rm.storage import connected, explained

_SETTLED_S = 3.0
"""A file that has not changed for this long is no longer being written."""
Facts = tuple[int, int]
"""Size in bytes and time of the last change in nanoseconds."""


class Arrivals:
    """Which files of some sources are new.

    Parameters
    ----------
    names : sequence of str
        Files and patterns, also of object storage; data sets of the hub are left out.
    ignored : str
        Ending of files that are no annotations.
    """

    def __init__(self, names: Sequence[str], ignored: str) -> None:
        self._names = [name for name in names if not name.startswith(sources.HUB_PREFIX)]
        self._ignored = ignored
        self._waiting: dict[str, tuple[Facts, float]] = {}
        self._given: dict[str, Facts] = {}

    def settled(self, now: float) -> list[str]:
        """Files that came or changed since they were given last, and have not changed for three seconds.

        Parameters
        ----------
        now : float
            Seconds of a clock that only goes forward.
        """
        return [file for name in self._names for file in self._files(name) if self._is_settled(file, now)]

    def _files(self, name: str) -> list[str]:
        try:
            return [file for file in sources.expanded(name) if not file.endswith(self._ignored)]
        except DataError:
            return []  # none is there yet

    def _is_settled(self, file: str, now: float) -> bool:
        facts = _facts(file)
        if facts is None or self._given.get(file) == facts:
            return False
        known, since = self._waiting.get(file, (None, now))
        if known != facts:
            self._waiting[file] = (facts, now)
            return False
        if now - since < _SETTLED_S:
            return False
        self._given[file] = self._waiting.pop(file)[0]
        return True


def _facts(file: str) -> Facts | None:
    """Of a file or object; None if it is gone."""
    if url := contents.url_of(file):
        with explained(url):
            info = connected(url).get_file_info(url.path)
        return None if info.type == fs.FileType.NotFound else (info.size, info.mtime_ns or 0)
    try:
        stat = Path(file).stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns
