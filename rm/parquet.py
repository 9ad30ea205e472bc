"""Parquet files that appear whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
