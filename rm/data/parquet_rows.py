"""Rows of Parquet, which says how large it is before it is read."""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rm.data.csv_rows import check_names
from rm.data.source_row import MAX_ROW, TOO_LARGE, Part, Row
from rm.data.unpacking import MOST_TIMES

_FEWEST, _MOST, _BYTES_AT_ONCE = 32, 256, 1 << 26
"""Fewest and most rows of a batch, and bytes that it should not exceed."""
_ALLOWED = 1 << 26
"""Bytes that may be more than `MOST_TIMES` the size of the file."""
_UNREADABLE = (ValueError, OverflowError, KeyError, pa.ArrowException)
"""What Arrow raises for a cell that Python cannot hold, such as a date beyond the year 9999."""


def parquet_rows(opened: Callable[[], io.BufferedReader], part: Part | None = None) -> Iterator[Row]:
    """The rows of a Parquet file; a row with a cell that Python cannot hold, or that is too large, has an error.

    Parameters
    ----------
    opened : callable
    part : Part, optional
        The row groups that are read. Default: all.

    Raises
    ------
    pa.ArrowException, OSError, ValueError
        If the file is broken, or says that it unpacks to far more than it is.
    """
    with opened() as content, tempfile.TemporaryFile() as unpacked:
        source: Any = content.raw
        if not source.seekable():  # a compressed stream cannot be read from the middle
            shutil.copyfileobj(content, unpacked)
            source = pa.PythonFile(unpacked)
        file = pq.ParquetFile(source)
        check_names(file.schema_arrow.names)
        _check_size(file.metadata, source.size())
        start, end, position = part or Part(0, file.num_row_groups, 0)
        for group in range(start, end):
            for batch in file.iter_batches(_num_rows(file.metadata.row_group(group)), row_groups=[group]):
                for value, error in _values(batch):
                    position += 1
                    yield Row(position, value) if error is None else Row(position, None, value, error)


def parts(opened: Callable[[], io.BufferedReader], size: int) -> list[Part]:
    """Parts of a Parquet file that is not compressed as a whole, of about some bytes."""
    with opened() as content:
        metadata = pq.ParquetFile(content.raw).metadata
    found: list[Part] = []
    start = before = rows = held = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        rows, held = rows + group.num_rows, held + group.total_byte_size
        if held >= size or number == metadata.num_row_groups - 1:
            found.append(Part(start, number + 1, before))
            start, before, held = number + 1, rows, 0
    return found


def _check_size(metadata: pq.FileMetaData, size: int) -> None:
    """Refuse what says of itself that it unpacks to far too much; of columns Arrow is not asked, which may end it."""
    if metadata.num_rows > max(size, 1000):
        raise ValueError(f"expected fewer rows than bytes, got {metadata.num_rows:,} rows in {size:,} bytes")
    unpacked = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        unpacked += group.total_byte_size
        if group.total_byte_size > MAX_ROW * max(group.num_rows, 1):
            amounts = f"{group.total_byte_size:,} bytes in {group.num_rows:,} rows"
            raise ValueError(f"row group {number}: expected rows of at most {MAX_ROW >> 20} MiB, got {amounts}")
    if unpacked > max(_ALLOWED, MOST_TIMES * size):
        raise ValueError(f"expected at most {MOST_TIMES} times its size, got {unpacked:,} bytes in {size:,}")


def _num_rows(group: pq.RowGroupMetaData) -> int:
    """Rows that are read at once: a dictionary may repeat one value, as large as all of the group, in each of them."""
    largest: int = min(max(group.total_byte_size, 1), MAX_ROW)
    return min(max(_BYTES_AT_ONCE // largest, _FEWEST), _MOST)


def _values(batch: pa.RecordBatch) -> Iterator[tuple[Any, str | None]]:
    """Each row, or what can be read of it and why the rest cannot."""
    if batch.nbytes <= MAX_ROW:
        try:
            yield from ((value, None) for value in batch.to_pylist())
        except _UNREADABLE:
            pass
        else:
            return
    for place in range(len(batch)):
        yield _value(batch.slice(place, 1))


def _value(row: pa.RecordBatch) -> tuple[Any, str | None]:
    if row.nbytes > MAX_ROW:
        return b"", TOO_LARGE
    try:
        return row.to_pylist()[0], None
    except _UNREADABLE:
        return _partly(row)


def _partly(row: pa.RecordBatch) -> tuple[bytes, str]:
    """The cells that can be read, as JSON, and what is wrong with the last of the others."""
    found: dict[str, Any] = {}
    reason = ""
    for name, column in zip(row.schema.names, row.columns, strict=True):
        try:
            found[name] = column[0].as_py()
        except _UNREADABLE as error:
            reason = f"{name}: expected a value that Python can hold, got {column.type}: {error}"
    return json.dumps(found, ensure_ascii=False, default=str).encode("utf-8", "backslashreplace"), reason
