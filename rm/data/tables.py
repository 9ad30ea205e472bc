"""Delta tables to which rows are added once: by their key, in one commit, whoever else writes.

A table's rows are never changed. Writers take the version that they have read as the last one; if another writer was
first, the commit fails, and they look again which of their rows are new. Each commit keeps the sum of the digests of
all rows, so that adding rows does not read those that are there.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from numpy.typing import NDArray

from rm import parquet, storage
from rm.data import arrays
from rm.errors import DataError, StorageError, refusal, writing
from rm.locations import Url, without_secrets

Digests = NDArray[np.uint64]

_SUM = "rmflow.sum"
_ERA = "rmflow.era"
"""A name for the time in which no other program has written to the table."""
_NUM_ATTEMPTS = 12
_MAX_FILES = 50
"""Files of a table from which on they are put together: each commit adds one, and each reading opens all."""
_BATCH = 2048
_ROW_GROUP = 4096
"""Rows of a file that are in memory while it is written."""
_BUFFER = 1 << 20
"""Bytes of a column of a file that are read at once."""


def add(
    path: Path | Url,
    staged: Sequence[Path],
    key: str,
    schema: pa.Schema,
    content: Callable[[pa.RecordBatch], Sequence[bytes]],
    marks: Mapping[str, int] = MappingProxyType({}),
) -> list[int]:
    """Add the rows whose key the table does not have, in one commit.

    Parameters
    ----------
    path : Path or Url
        Of the table; made if there is none.
    staged : sequence of Path
        Arrow files with the rows; of rows with the same key the first counts.
    key : str
        Column that identifies a row: a digest in hexadecimal.
    schema : pa.Schema
        Of the table's and the files' rows; an older table gets the columns that it lacks.
    content : callable
        What counts as the content of each row of a batch, for `digest`.
    marks : mapping
        Names to numbers that `marks` finds again once the rows are there.

    Returns
    -------
    list of int
        Number of rows of each file that were added.

    Raises
    ------
    CommitFailedError
        If other writers were first in each of many attempts.
    DataError
        If deltalake cannot write below a folder of this name.
    StorageError
        If the table is at a URL that cannot be written to, or its disk is full or read-only.
    """
    if odd := sorted(set(str(path if isinstance(path, Url) else path.resolve())) & set("[]^|%\\")):
        raise DataError(
            f"{path}: deltalake cannot write below a folder with {odd[0]!r} in its name; expected another name"
        )
    for attempt in range(_NUM_ATTEMPTS):
        try:
            with writing(path), _explained(path):
                new = _added(path, staged, key, schema, content, marks)
        except CommitFailedError:
            if attempt == _NUM_ATTEMPTS - 1:
                raise
            time.sleep(random.uniform(0, 0.1 * 2 ** min(attempt, 6)))
            continue
        if new.any():
            with writing(path), _explained(path):
                _compact(path, _MAX_FILES)
        return _per_file(new, staged, key)
    raise AssertionError("the last attempt returns or raises")


@contextmanager
def _explained(path: Path | Url) -> Iterator[None]:
    """Turn what is wrong with a table, here or at a URL, into one sentence; a full disk is left to `writing`.

    Raises
    ------
    CommitFailedError, TableNotFoundError
        As they are: they say what to do next.
    DataError
        If the files of a table in a folder are broken or gone.
    StorageError
        If the storage behind a URL failed.
    """
    try:
        with storage.explained(path):
            yield
    except (CommitFailedError, TableNotFoundError):
        raise
    except (DeltaError, OSError, pa.ArrowException) as error:
        if refusal(error):
            raise
        reason = without_secrets(str(error)).partition("\n")[0] or type(error).__name__
        if isinstance(path, Url):
            raise StorageError(f"{path}: the storage failed: {reason:.200}") from None
        raise DataError(f"{path}: the table cannot be read: {reason:.300}") from None


def _added(
    path: Path | Url,
    staged: Sequence[Path],
    key: str,
    schema: pa.Schema,
    content: Callable[[pa.RecordBatch], Sequence[bytes]],
    marks: Mapping[str, int],
) -> NDArray[np.bool_]:
    """For each staged row whether it was new and added; raises CommitFailedError if another writer was first."""
    table = DeltaTable.create(str(path), schema=schema, mode="ignore")
    new = _new_rows(table, path, staged, key)
    if not new.any():
        return new
    total = _total(table, path, content) + sum(
        _expanded(row) for batch in _selected(staged, new) for row in content(batch)
    )
    write_deltalake(
        table,
        pa.RecordBatchReader.from_batches(schema, _selected(staged, new)),
        mode="append",
        schema_mode="merge",  # without it, values of columns that an older table lacks are dropped unsaid
        writer_properties=WriterProperties(compression="SNAPPY", max_row_group_size=_ROW_GROUP),
        commit_properties=_properties(total, _kept(table, path).get(_ERA) or uuid4().hex, marks),
    )
    return new


def opened(path: Path | Url, version: int | None = None) -> DeltaTable | None:
    """The table, or one of its versions; None if there is no table."""
    try:
        with _explained(path):
            return DeltaTable(str(path), version=version)
    except TableNotFoundError:
        return None


def digest(
    table: DeltaTable,
    path: Path | Url,
    content: Callable[[pa.RecordBatch], Sequence[bytes]],
    without: Iterable[bytes] = (),
) -> str:
    """SHA-256 that two tables share if and only if they have the same rows, in any order.

    Parameters
    ----------
    table, path, content
        As in `add`.
    without : iterable of bytes
        Content of rows that do not count.

    Notes
    -----
    The digest of the sum, modulo 2^2048, of a 2048-bit digest of each row (AdHash of Bellare and Micciancio, 1997,
    doi:10.1007/3-540-69053-0_13). A sum can be added to, and 2048 bits keep anyone from making rows of a wanted sum.
    """
    total = (_total(table, path, content) - sum(map(_expanded, without))) % _MODULUS
    return hashlib.sha256(total.to_bytes(_NUM_BYTES, "little")).hexdigest()


def marks(table: DeltaTable, path: Path | Url, names: Sequence[str]) -> tuple[int, ...] | None:
    """The numbers that a commit left under names; None if one is missing, or if another program wrote since.

    Another program may have taken the rows away that the numbers speak of.
    """
    era = _kept(table, path).get(_ERA)
    found = [table.transaction_version(f"{era}:{name}") for name in names] if era else []
    known = tuple(number for number in found if number is not None)
    return known if len(known) == len(names) else None


def batches(table: DeltaTable, path: Path | Url, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The rows in batches, with the columns that this version of the table has.

    The files are opened here, since deltalake's own way to Arrow loads pandas, which takes longer than a small table.

    Raises
    ------
    DataError
        If another program wrote the table in a way that its files alone do not tell its rows.
    """
    if table.protocol().min_reader_version > 1 or table.metadata().partition_columns:
        raise DataError(
            f"{path}: expected a Delta table of reader version 1 without partitions; another program wrote it"
        )
    whole = pa.schema(table.schema().to_arrow())
    schema = pa.schema([whole.field(name) for name in columns if name in whole.names])
    with _explained(path):
        files = storage.rooted(path)
        for uri in table.file_uris():
            with files.open_input_file(uri.rpartition("/")[2]) as file:
                rows = pq.ParquetFile(file, buffer_size=_BUFFER)
                names = [name for name in schema.names if name in rows.schema_arrow.names]
                for batch in parquet.batches(rows, _BATCH, names):
                    yield pa.RecordBatch.from_arrays([_column(batch, field) for field in schema], schema=schema)


def _column(batch: pa.RecordBatch, field: pa.Field) -> pa.Array:
    """A column of a batch; nulls if the file is older than the column."""
    if field.name not in batch.schema.names:
        return pa.nulls(len(batch), field.type)
    column = batch.column(field.name)
    return column if column.type == field.type else column.cast(field.type)


def clean(path: Path | Url, days: float, *, dry_run: bool) -> list[str]:
    """Put small files together, and remove files that no version of the last days has; return the removed ones."""
    with writing(path), _explained(path):
        if not dry_run:
            _compact(path, 1)
        removed: list[str] = DeltaTable(str(path)).vacuum(
            retention_hours=max(0, round(24 * days)), dry_run=dry_run, enforce_retention_duration=False
        )
    return removed


_NUM_BYTES = 256
_MODULUS = 1 << (8 * _NUM_BYTES)


def _expanded(row: bytes) -> int:
    return int.from_bytes(hashlib.shake_128(row).digest(_NUM_BYTES), "little")


def _total(table: DeltaTable, path: Path | Url, content: Callable[[pa.RecordBatch], Sequence[bytes]]) -> int:
    """The sum of the digests of a table's rows: from its last commit, or from the rows if another program made that."""
    kept = _kept_sum(table, path)
    if kept is not None:
        return kept
    names = [column.name for column in table.schema().fields]
    return sum(_expanded(row) for batch in batches(table, path, names) for row in content(batch)) % _MODULUS


def _kept_sum(table: DeltaTable, path: Path | Url) -> int | None:
    """The sum that the last commit kept; None if another program made that commit."""
    kept = _kept(table, path).get(_SUM)
    return None if kept is None else int(kept, 16)


def _kept(table: DeltaTable, path: Path | Url) -> dict[str, str]:
    """What the last commit says of itself."""
    with _explained(path):
        try:
            with storage.rooted(path).open_input_stream(f"_delta_log/{table.version():020}.json") as log:
                actions = [json.loads(line) for line in log.read().splitlines()]
        except FileNotFoundError:
            return {}  # old commits are put together into checkpoints
    return next((action["commitInfo"] for action in actions if "commitInfo" in action), {})


def _properties(total: int, era: str, marks: Mapping[str, int]) -> CommitProperties:
    return CommitProperties(
        custom_metadata={_SUM: f"{total % _MODULUS:x}", _ERA: era},
        max_commit_retries=0,  # deltalake would add the rows after another writer's, perhaps the same ones, unseen
        app_transactions=[Transaction(f"{era}:{name}", number) for name, number in marks.items()] or None,
    )


def _compact(path: Path | Url, most: int) -> None:
    """Put the files together if there are too many; not if another writer comes in between, since the next will."""
    table = DeltaTable(str(path))
    if len(table.file_uris()) <= most:
        return
    kept = _kept_sum(table, path)
    if kept is None:
        return
    try:
        table.optimize.compact(commit_properties=_properties(kept, _kept(table, path)[_ERA], {}))
    except CommitFailedError:
        return


def _per_file(new: NDArray[np.bool_], staged: Sequence[Path], key: str) -> list[int]:
    sizes = [sum(batch.num_rows for batch in _staged([path], [key])) for path in staged]
    return [int(part.sum()) for part in np.split(new, np.cumsum(sizes)[:-1])] if staged else []


def _staged(staged: Sequence[Path], columns: Sequence[str] = ()) -> Iterator[pa.RecordBatch]:
    """The rows of Arrow files, batch by batch, with some columns, or with all if none is named."""
    for path in staged:
        with pa.OSFile(str(path)) as file:
            names = pa.ipc.open_file(file).schema.names
            options = pa.ipc.IpcReadOptions(included_fields=[names.index(name) for name in columns])
            reader = pa.ipc.open_file(file, options=options)
            yield from map(reader.get_batch, range(reader.num_record_batches))


def _new_rows(table: DeltaTable, path: Path | Url, staged: Sequence[Path], key: str) -> NDArray[np.bool_]:
    """For each staged row whether the table lacks its key and no earlier staged row has it."""
    ids = np.concatenate([_NO_IDS, *map(_ids, _staged(staged, [key]))])
    order = np.lexsort((np.arange(len(ids)), ids[:, 1], ids[:, 0]))
    ids = ids[order]
    is_first = np.ones(len(ids), dtype=bool)
    is_first[1:] = (ids[1:] != ids[:-1]).any(axis=1)
    distinct, places = ids[is_first], order[is_first]
    is_new = np.ones(len(distinct), dtype=bool)
    for batch in batches(table, path, [key]) if len(ids) else ():
        is_new[_places_in(distinct, _ids(batch))] = False
    new = np.zeros(len(ids), dtype=bool)
    new[places[is_new]] = True
    return new


_NO_IDS: NDArray[np.uint64] = np.zeros((0, 2), dtype=np.uint64)
_NIBBLES = np.zeros(256, dtype=np.uint64)
_NIBBLES[[ord(digit) for digit in "0123456789abcdef"]] = np.arange(16)
_PLACES = np.uint64(4) * np.arange(15, -1, -1, dtype=np.uint64)


def _ids(batch: pa.RecordBatch) -> NDArray[np.uint64]:
    """The first 128 bits of digests in hexadecimal, shape (B, 2)."""
    column = batch.column(0)
    if not len(column):
        return _NO_IDS
    _, offsets, data = column.buffers()
    ends = np.frombuffer(offsets, dtype=np.int32)[column.offset : column.offset + len(column) + 1]
    digits = np.frombuffer(data, dtype=np.uint8)[ends[:-1, None] + np.arange(32)]  # (B, 32)
    ids: NDArray[np.uint64] = (_NIBBLES[digits].reshape(-1, 2, 16) << _PLACES).sum(axis=2, dtype=np.uint64)
    return ids


def _places_in(distinct: NDArray[np.uint64], ids: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Places in sorted distinct ids where one of the ids stands."""
    places = np.searchsorted(distinct[:, 0], ids[:, 0])
    places = np.minimum(places, len(distinct) - 1)
    # Two ids of a table that share 64 bits but not the next 64 are one in 10^10 at a million rows: such a row is new.
    return np.unique(places[(distinct[places] == ids).all(axis=1)])


def _selected(staged: Sequence[Path], chosen: NDArray[np.bool_]) -> Iterator[pa.RecordBatch]:
    """The chosen rows of staged files, in batches."""
    start = 0
    for batch in _staged(staged):
        part = chosen[start : start + len(batch)]
        start += len(batch)
        if part.any():
            yield batch if part.all() else batch.filter(arrays.booleans(part))
