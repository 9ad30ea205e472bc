"""Parquet files that appear whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
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
    write_table(path, pa.Table.from_pylist(list(rows), schema=schema))
