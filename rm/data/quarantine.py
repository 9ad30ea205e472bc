"""Rows that are no judgements or that a model cannot read, with the reason, in a table beside the annotations."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from rm.data import annotation_table, staging, tables
from rm.data.annotation_table import FIELDS, TableVersion
from rm.data.staging import QUARANTINE_SCHEMA
from rm.files import work_folder
from rm.locations import Url


def add(folder: Path | Url, files: Sequence[Path]) -> None:
    """Put staged rows (`QUARANTINE_SCHEMA`) beside the annotations of a folder; those that are there stay once."""
    tables.add(folder / "quarantine", files, "quarantine_id", QUARANTINE_SCHEMA, _content)


def rows(folder: Path | Url) -> list[dict[str, Any]]:
    """The quarantined rows (`QUARANTINE_SCHEMA`), in order of source and line."""
    path = folder / "quarantine"
    table = tables.opened(path)
    batches = tables.batches(table, path, QUARANTINE_SCHEMA.names) if table is not None else ()
    found = [row for batch in batches for row in batch.to_pylist()]
    return sorted(found, key=lambda row: (row["source"], row["line"]))


def add_prompts(table: TableVersion, reasons: Mapping[str, str]) -> list[str]:
    """Put the rows of prompts that a model cannot read into quarantine; they stay in the table for other models.

    Parameters
    ----------
    table : TableVersion
    reasons : mapping of prompt id to reason

    Returns
    -------
    list of str
        Source, line and reason of each row, in order.
    """
    rows = []
    for batch in annotation_table.columns_of(table, [*FIELDS, "source", "line"]):
        places = zip(batch.column("source").to_pylist(), batch.column("line").to_pylist(), strict=True)
        known = [name for name in FIELDS if name in batch.schema.names]
        for (source, line), judgement in zip(places, annotation_table.judgements_of(batch.select(known)), strict=True):
            if reason := reasons.get(judgement.prompt_id):
                raw = json.dumps([judgement.prompt, judgement.first, judgement.second], ensure_ascii=False)
                identifier = staging.quarantine_id(source, line, raw)
                rows.append(dict(zip(QUARANTINE_SCHEMA.names, (identifier, source, line, reason, raw), strict=True)))
    rows.sort(key=lambda row: (row["source"], row["line"]))
    with work_folder() as temporary:
        path = temporary / "quarantine.arrow"
        with pa.ipc.new_file(str(path), QUARANTINE_SCHEMA) as file:
            file.write_batch(pa.RecordBatch.from_pylist(rows, schema=QUARANTINE_SCHEMA))
        add(table.path.parent, [path])
    return [f"{row['source']}: line {row['line']}: {row['reason']}" for row in rows]


def _content(batch: pa.RecordBatch) -> list[bytes]:
    return [name.encode() for name in batch.column("quarantine_id").to_pylist()]
