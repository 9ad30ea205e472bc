"""Rows of CSV: the first line has the names of the columns, every cell is text, and an empty cell is null."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Any

from rm.data.source_row import MAX_ROW, TOO_LARGE, Row

csv.field_size_limit(MAX_ROW)  # the default refuses cells of more than 131,072 characters

_BACKSLASHED = re.compile(r"(?<!\\)\\\"")
r"""A quote in a cell as Spark writes it: ``\"`` in place of two quotes."""
_ONLY_BACKSLASHED = re.compile(rb"(?:^|[,;\t])\"[^\"]*(?<!\\)\\\"[^\",;\t\r\n]")
"""Such a quote before another character than a quote or the end of the cell, which the usual form does not allow."""


def csv_rows(opened: Callable[[], io.BufferedReader]) -> Iterator[Row]:
    """The rows of CSV whose delimiter is a comma, a semicolon or a tab.

    Raises
    ------
    csv.Error, ValueError
        If the quotes are wrong, two columns have one name, or a row is larger than `MAX_ROW`.
    """
    with opened() as content:
        has_backslashes = _has_backslashes(content)
    with opened() as content:
        text = iter(io.TextIOWrapper(content, "utf-8-sig", newline=""))
        lines = (_BACKSLASHED.sub('""', line) if has_backslashes else line for line in text)
        head = next(lines, "")
        delimiter = max((",", ";", "\t"), key=lambda each: len(next(csv.reader([head], delimiter=each), [])))
        counted = _Counted(chain([head], lines))
        rows = csv.reader(counted, delimiter=delimiter, strict=True)
        names = next(rows, [])
        check_names(names)
        for cells in rows:
            if cells:
                counted.position += 1
                yield _row(counted.position, names, cells)
            counted.size = 0


def check_names(names: list[str]) -> None:
    """Raise ValueError if two columns have one name."""
    if doubled := sorted(name for name, times in Counter(names).items() if times > 1):
        raise ValueError(f"expected different names of columns, two are named {doubled[0]!r:.100}")


def _row(position: int, names: list[str], cells: list[str]) -> Row:
    if len(cells) != len(names):
        written = json.dumps(cells, ensure_ascii=False).encode()
        return Row(position, None, written, f"expected {len(names)} cells, got {len(cells)}")
    if cells == names:  # of another file that was put behind the first
        return Row(position, None, json.dumps(cells, ensure_ascii=False).encode(), "the names of the columns again")
    given: dict[str, Any] = {name: text or None for name, text in zip(names, cells, strict=True)}
    return Row(position, given)


def _has_backslashes(content: io.BufferedReader) -> bool:
    """Whether quotes are written as Spark does; raises ValueError for a line larger than `MAX_ROW`."""
    found = False
    for number, line in enumerate(iter(partial(content.readline, MAX_ROW + 1), b""), start=1):
        if len(line) > MAX_ROW:
            raise ValueError(f"line {number}: {TOO_LARGE}")
        found = found or _ONLY_BACKSLASHED.search(line) is not None
    return found


class _Counted:
    """Lines, which stop at a row that is too large, such as one with a quote that is never closed."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self.size = 0
        """Characters of the row that is being read."""
        self.position = 0
        """Of the last row that was read."""

    def __iter__(self) -> _Counted:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.size += len(line)
        if self.size > MAX_ROW:
            raise ValueError(f"row {self.position + 1}: {TOO_LARGE}; is there a quote that is not closed?")
        return line
