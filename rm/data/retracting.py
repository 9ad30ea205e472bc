"""Retracting and restoring judgements of the annotations table, and what each source has in it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder
from deltalake.exceptions import DeltaError

from rm.data import annotation_table, retractions, tables
from rm.data.retractions import RETRACTION_SCHEMA, State
from rm.errors import DataError
from rm.files import work_folder
from rm.locations import Url

Action = Literal["retract", "restore"]
_NUM_SHOWN = 3


class Choice(NamedTuple):
    """Which judgements; one of the four is given."""

    source: str | None = None
    """As it was read: a path, a URL or a hub name."""
    judgement_id: str | None = None
    """Whole, or its first characters if they are those of one judgement."""
    ids: frozenset[str] | None = None
    """Whole ids."""
    where: str | None = None
    """A condition on the table's columns in SQL, such as ``annotator = 'x' AND weight > 10``."""


class Change(NamedTuple):
    """What was changed, or would be."""

    num_found: int
    """Judgements that were chosen."""
    num_changed: int
    """Of these, the ones that were not yet as they should be."""
    first: tuple[str, ...]
    """Source, line and id of the first of them."""


class SourceState(NamedTuple):
    """The judgements of a source."""

    source: str
    num_stored: int
    num_retracted: int


def change(folder: Path | Url, choice: Choice, action: Action, why: str, *, dry_run: bool = False) -> Change:
    """Retract or restore judgements.

    Parameters
    ----------
    folder : Path or Url
        Holds the table ``annotations``.
    choice : Choice
    action : "retract" or "restore"
    why : str
        Kept with each change.
    dry_run : bool
        Only count.

    Raises
    ------
    DataError
        If there is no table, no judgement is chosen, or the choice is none.
    StorageError
        If the table cannot be read or written.
    """
    if not why.strip():
        raise DataError(f"rmflow annotations {action}: expected a reason with --why, got an empty one")
    path = folder / "annotations"
    table = _opened(path)
    states = retractions.states(folder, retractions.version(folder))
    chosen = _chosen(table, path, choice)
    should = action == "retract"
    wanted = {identifier for identifier in chosen if _is_retracted(states, identifier) != should}
    first = tuple(chosen[identifier] for identifier in [each for each in chosen if each in wanted][:_NUM_SHOWN])
    if wanted and not dry_run:
        rows = list(_rows(table, path, wanted, states, why))
        _add(folder, rows)
    return Change(len(chosen), len(wanted), first)


def _opened(path: Path | Url) -> DeltaTable:
    if (table := tables.opened(path)) is None:
        raise DataError(f"{path}: no annotations yet; see ingest.table in the recipe")
    return table


def _is_retracted(states: Mapping[str, State], identifier: str) -> bool:
    return identifier in states and states[identifier].is_retracted


def _chosen(table: DeltaTable, path: Path | Url, choice: Choice) -> dict[str, str]:
    """Id of each chosen judgement to its place."""
    matching = choice.ids if choice.where is None else _matching(table, path, choice.where)
    found: dict[str, str] = {}
    sources: set[str] = set()
    for identifier, source, line in _places(table, path):
        sources.add(source)
        is_chosen = (
            identifier in matching
            if matching is not None
            else source == choice.source or (choice.judgement_id and identifier.startswith(choice.judgement_id))
        )
        if is_chosen:
            found[identifier] = f"{source}: line {line}: {identifier}"
    if choice.judgement_id and len(found) > 1:
        raise DataError(f"{path}: expected the beginning of one id, got that of {len(found)}: {choice.judgement_id}")
    if not found:
        raise DataError(f"{path}: no judgement has {_named(choice)}{_known(sources) if choice.source else ''}")
    return found


def _named(choice: Choice) -> str:
    if choice.where is not None:
        return f"what --where asks for: {choice.where}"
    if choice.ids is not None:
        return f"one of the {len(choice.ids)} ids"
    return f"the source {choice.source}" if choice.source else f"the id {choice.judgement_id}"


def _known(sources: set[str]) -> str:
    shown = ", ".join(sorted(sources)[:_NUM_SHOWN])
    return f"; there are {shown}" + (f" and {len(sources) - _NUM_SHOWN} more" if len(sources) > _NUM_SHOWN else "")


def _places(table: DeltaTable, path: Path | Url) -> Iterator[tuple[str, str, int]]:
    for batch in tables.batches(table, path, ["judgement_id", "source", "line"]):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _matching(table: DeltaTable, path: Path | Url, where: str) -> frozenset[str]:
    """The ids of rows for which a condition is true."""
    query = f"SELECT judgement_id FROM annotations WHERE ({where}\n)"
    try:
        found = QueryBuilder().register("annotations", table).execute(query)
        batches = pa.RecordBatchReader.from_stream(found)
        return frozenset(each for batch in batches for each in batch.column(0).to_pylist())
    except (DeltaError, pa.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0].partition(" at Line:")[0]
        names = ", ".join(field.name for field in table.schema().fields)
        raise DataError(f"{path}: --where: {where}: {reason}; the columns are {names}") from None


def _rows(
    table: DeltaTable, path: Path | Url, wanted: set[str], states: Mapping[str, State], why: str
) -> Iterator[dict[str, Any]]:
    """A row of `RETRACTION_SCHEMA` for each judgement."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    columns = [field.name for field in table.schema().fields]
    for batch in tables.batches(table, path, columns):
        ids = batch.column("judgement_id").to_pylist()
        if wanted.isdisjoint(ids):
            continue
        for identifier, content in zip(ids, annotation_table.content(batch), strict=True):
            if identifier in wanted:
                number = states[identifier].number + 1 if identifier in states else 1
                key = hashlib.sha256(f"{identifier}:{number}".encode()).hexdigest()
                values = (key, identifier, number, content.decode(), why, now)
                yield dict(zip(RETRACTION_SCHEMA.names, values, strict=True))


def _add(folder: Path | Url, rows: list[dict[str, Any]]) -> None:
    with work_folder() as temporary:
        file = temporary / "retractions.arrow"
        with pa.ipc.new_file(str(file), RETRACTION_SCHEMA) as writer:
            writer.write_table(pa.Table.from_pylist(rows, schema=RETRACTION_SCHEMA))
        tables.add(retractions.place(folder), [file], "retraction_id", RETRACTION_SCHEMA, _content)


def _content(batch: pa.RecordBatch) -> list[bytes]:
    return [each.encode() for each in batch.column("retraction_id").to_pylist()]


def listed(folder: Path | Url) -> list[SourceState]:
    """The sources of a table in order, with their judgements.

    Raises
    ------
    DataError
        If there is no table.
    """
    path = folder / "annotations"
    withdrawn = retractions.retracted(folder, retractions.version(folder))
    stored: Counter[str] = Counter()
    retracted: Counter[str] = Counter()
    for identifier, source, _ in _places(_opened(path), path):
        stored[source] += 1
        retracted[source] += identifier in withdrawn
    return [SourceState(source, stored[source], retracted[source]) for source in sorted(stored)]
