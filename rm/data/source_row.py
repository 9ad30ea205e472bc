"""A row of a source, as it was read from a file."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from rm.data.formats.row import RowError

MAX_ROW = 1 << 24
"""Bytes or characters of a row from which on it is not held in memory: some four million tokens."""
TOO_LARGE = f"expected a row of at most {MAX_ROW >> 20} MiB, got a larger one"


class Part(NamedTuple):
    """A part of a source: some bytes that are whole lines, or some row groups of Parquet."""

    start: int
    end: int
    """Of bytes or row groups, the first that is not in this part any more."""
    before: int
    """Number of lines or rows before it."""


class Row(NamedTuple):
    """One row of a source."""

    line: int
    """Line of a JSONL file, or position in any other file, from 1."""
    value: Any
    """The parsed row; None if it could not be read."""
    text: bytes | None = None
    """The row as the file has it; None if it is the JSON of the parsed row."""
    error: str | None = None
    """Why the row could not be read."""

    def parsed(self) -> Any:
        """The parsed row; raises RowError if it could not be read."""
        if self.error:
            raise RowError(self.error)
        return self.value

    @property
    def raw(self) -> str:
        """The row as text, for the quarantine; bytes that are not UTF-8 are escapes."""
        if self.text is None:
            return json.dumps(self.value, ensure_ascii=False, default=str)
        return self.text.decode("utf-8", "backslashreplace")
