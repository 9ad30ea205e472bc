"""Judgements that no longer count: a table of changes beside the annotations, which stay as they were read.

A row of the table says that one judgement was retracted or restored, with a number that counts its changes: an odd one
retracts, an even one restores. Rows are only added, once each, so that any version of the table says what counted then,
and of two writers who make the same change at once one is enough. The judgement's row stays, so that reading its file
again adds nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
from deltalake import DeltaTable

from rm.data import tables
from rm.locations import Url

RETRACTION_SCHEMA = pa.schema(
    [
        ("retraction_id", pa.string()),
        ("judgement_id", pa.string()),
        ("number", pa.int64()),
        ("content", pa.string()),
        ("why", pa.string()),
        ("changed_at", pa.string()),
    ]
)


class State(NamedTuple):
    """The last change of a judgement."""

    number: int
    content: bytes
    """What the judgement adds to the digest of its table."""

    @property
    def is_retracted(self) -> bool:
        """Whether it does not count."""
        return self.number % 2 == 1


def place(folder: Path | Url) -> Path | Url:
    """Where the table of changes of a folder's annotations lies."""
    return folder / "retractions"


def version(folder: Path | Url) -> int | None:
    """The current version; None if nothing was ever retracted."""
    table = tables.opened(place(folder))
    return table.version() if table is not None else None


def states(folder: Path | Url, at: int | None) -> dict[str, State]:
    """The last change of each judgement that was changed at all, in a version of the table; none in no version."""
    if at is None or (table := tables.opened(place(folder), at)) is None:
        return {}
    return _last(table, folder)


def _last(table: DeltaTable, folder: Path | Url) -> dict[str, State]:
    found: dict[str, State] = {}
    for batch in tables.batches(table, place(folder), ["judgement_id", "number", "content"]):
        for identifier, number, content in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            if identifier not in found or found[identifier].number < number:
                found[identifier] = State(number, content.encode())
    return found


def retracted(folder: Path | Url, at: int | None) -> dict[str, State]:
    """The judgements that do not count in a version of the table."""
    return {identifier: state for identifier, state in states(folder, at).items() if state.is_retracted}
