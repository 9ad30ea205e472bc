"""The annotations table as it is read: its versions, their judgements and the sources these came from."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Container, Iterator, Set
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from rm.data import retractions, tables
from rm.data.preferences import Judgement, Message
from rm.data.staging import ATTRIBUTE_COLUMNS, JUDGEMENT_SCHEMA
from rm.errors import DataError
from rm.locations import Location, Url

FIELDS = [name for name in JUDGEMENT_SCHEMA.names if name in Judgement.__dataclass_fields__]
"""The columns that make a judgement."""


class TableVersion(BaseModel):
    """The annotations table at one version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Location
    version: int
    digest: str
    """Equal digests mean equal annotations that count, also between versions (`rm.data.tables.digest`)."""
    num_judgements: int
    """Those that count: stored and not retracted."""
    num_retracted: int = 0
    retractions: int | None = None
    """Version of the table of retractions (`rm.data.retractions`) that says which ones; None: nothing was retracted."""

    @property
    def num_stored(self) -> int:
        """All judgements in the table."""
        return self.num_judgements + self.num_retracted


def current(folder: Path | Url) -> TableVersion:
    """The current version of the annotations table in a folder or at a URL.

    Raises
    ------
    DataError
        If there is no table.
    """
    path = folder / "annotations"
    withdrawn_at = retractions.version(folder)  # first: what was retracted by then is in any later version of the table
    if (table := tables.opened(path)) is None:
        raise DataError(f"{path}: no annotations yet; set ingest.sources or run `rmflow ingest`")
    withdrawn = retractions.retracted(folder, withdrawn_at)
    num_stored, here = 0, set()
    for batch in tables.batches(table, path, ["judgement_id" if withdrawn else "line"]):
        num_stored += len(batch)
        if withdrawn:
            here.update(withdrawn.keys() & batch.column(0).to_pylist())
    return TableVersion(
        path=path,
        version=table.version(),
        digest=tables.digest(table, path, content, [withdrawn[identifier].content for identifier in here]),
        num_judgements=num_stored - len(here),
        num_retracted=len(here),
        retractions=withdrawn_at,
    )


def judgements(table: TableVersion, excluded: Set[str] = frozenset()) -> Iterator[Judgement]:
    """The judgements in a version of the table, in no particular order, without those of some ids."""
    for batch in batches(table, excluded):
        yield from judgements_of(batch)


def batches(table: TableVersion, excluded: Set[str] = frozenset()) -> Iterator[pa.RecordBatch]:
    """The judgements in a version of the table, as `judgements_of` reads them, without those of some ids."""
    return columns_of(table, FIELDS, excluded)


def judgements_of(batch: pa.RecordBatch) -> Iterator[Judgement]:
    """The judgements of a batch of rows."""
    for row in batch.to_pylist(maps_as_pydicts="strict"):
        row["prompt"] = tuple(Message(turn["role"], turn["content"]) for turn in row["prompt"])
        yield Judgement(**row | {name: row.get(name) or {} for name in ATTRIBUTE_COLUMNS})


def prompts_of(batch: pa.RecordBatch) -> list[tuple[Message, ...]]:
    """The prompts of a batch of rows."""
    prompts = batch.column("prompt").to_pylist()
    return [tuple(Message(turn["role"], turn["content"]) for turn in prompt) for prompt in prompts]


def source_digests(table: TableVersion) -> dict[str, str]:
    """Source that judgements were read from, to the digest of its content.

    A source that changed between two readings has one entry per content, with the digest in its name.
    """
    columns = ["source", "source_digest"]
    found = {
        (row["source"], row["source_digest"])
        for batch in columns_of(table, columns)
        for row in pa.Table.from_batches([batch]).group_by(columns).aggregate([]).to_pylist()
    }
    times = Counter(source for source, _ in found)
    return {source if times[source] == 1 else f"{source} @ {digest[:12]}": digest for source, digest in sorted(found)}


def columns_of(table: TableVersion, columns: list[str], excluded: Set[str] = frozenset()) -> Iterator[pa.RecordBatch]:
    """Some columns of a version of the table, without the judgements that are retracted in it or have one of some ids.

    Raises
    ------
    DataError
        If the table is gone.
    """
    if (found := tables.opened(table.path, table.version)) is None:
        raise DataError(f"{table.path}: gone since its version {table.version} was read")
    withdrawn = retractions.retracted(table.path.parent, table.retractions)
    left_out = withdrawn.keys() | excluded
    if not left_out:
        return tables.batches(found, table.path, columns)
    read = list(dict.fromkeys([*columns, "judgement_id"]))
    return (_counting(batch, left_out).select(columns) for batch in tables.batches(found, table.path, read))


def _counting(batch: pa.RecordBatch, left_out: Container[str]) -> pa.RecordBatch:
    """The rows of judgements that count."""
    counts = [identifier not in left_out for identifier in batch.column("judgement_id").to_pylist()]
    return batch.filter(pa.array(counts, pa.bool_()))


def content(batch: pa.RecordBatch) -> list[bytes]:
    """What makes a judgement, as bytes: its id, and what is in the snapshot beside."""
    columns = {name: batch.column(name) for name in batch.schema.names}
    missing = pa.nulls(len(batch))
    names = ("judgement_id", "weight", "domain", "sampling_probability")
    plain = list(zip(*(columns.get(name, missing).to_pylist() for name in names), strict=True))
    attributes = [columns.get(name, missing) for name in ATTRIBUTE_COLUMNS]
    if all(column.null_count == len(batch) for column in attributes):
        return [b'["%s"%s' % (identifier.encode(), _end(*values)) for identifier, *values in plain]
    texts = zip(columns["first"].to_pylist(), columns["second"].to_pylist(), strict=True)
    given = zip(*(column.to_pylist(maps_as_pydicts="strict") for column in attributes), strict=True)
    return [
        # In the order of the texts, since the id does not depend on which response stood first.
        _bytes(*row, *(pair if first < second else pair[::-1])) if any(pair) else _bytes(*row)
        for row, (first, second), pair in zip(plain, texts, given, strict=True)
    ]


def _bytes(identifier: str, weight: float, domain: str | None, probability: float | None, *given: Any) -> bytes:
    """Without a probability the same as in a table that has no column for it."""
    values = (identifier, weight, domain or "", *(() if probability is None else (probability,)), *given)
    return json.dumps(values, ensure_ascii=True, sort_keys=True).encode()


@lru_cache(maxsize=4096)
def _end(weight: float, domain: str | None, probability: float | None) -> bytes:
    """What follows the id in `_bytes` of a judgement without attributes."""
    return _bytes("", weight, domain, probability).removeprefix(b'[""')
