"""Parquet files: written whole or not at all, and read in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rm.files import replacing


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table to path whole or not at all, compressed with zstd."""
    with replacing(path) as partial:
        pq.write_table(table, partial, compression="zstd")


def write_rows(path: Path, rows: Sequence[dict[str, Any]], schema: pa.Schema) -> None:
    """Write rows as a table with this schema; see `write_table`."""
    write_parts(path, [rows], schema)


def write_parts(path: Path, parts: Iterable[Sequence[dict[str, Any]]], schema: pa.Schema) -> None:
    """Write rows that come in parts, each as a row group, so that no more than a part is in memory."""
    with replacing(path) as partial, pq.ParquetWriter(partial, schema, compression="zstd") as file:
        for rows in parts:
            file.write_table(pa.Table.from_pylist(list(rows), schema=schema))


def batches(file: pq.ParquetFile, num_rows: int, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of a file, at most num_rows at a time, with some columns or all.

    One row group after another: if pyarrow goes through all of them itself, its memory grows with their number.
    """
    for group in range(file.num_row_groups):
        yield from file.iter_batches(num_rows, row_groups=[group], columns=columns)
