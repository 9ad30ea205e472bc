"""Reading a source into two files of rows, usable and not, before any of them is added to a table."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from rm.data import sources
from rm.data.config import IngestConfig
from rm.data.formats.catalog import Reading, read_row
from rm.data.formats.row import RowError
from rm.data.preferences import Judgement
from rm.data.prompt_groups import ATTRIBUTES, MESSAGES
from rm.errors import DataError
from rm.files import sha256_text
from rm.locations import Url

JUDGEMENT_SCHEMA = pa.schema(
    [
        ("judgement_id", pa.string()),
        ("prompt", MESSAGES),
        ("first", pa.string()),
        ("second", pa.string()),
        ("preference", pa.float64()),
        ("target_margin", pa.float64()),
        ("weight", pa.float64()),
        ("sampling_probability", pa.float64()),
        ("attributes_first", ATTRIBUTES),
        ("attributes_second", ATTRIBUTES),
        ("annotator", pa.string()),
        ("created_at", pa.string()),
        ("domain", pa.string()),
        ("source", pa.string()),
        ("source_digest", pa.string()),
        ("line", pa.int64()),
    ]
)
QUARANTINE_SCHEMA = pa.schema(
    [
        ("quarantine_id", pa.string()),
        ("source", pa.string()),
        ("line", pa.int64()),
        ("reason", pa.string()),
        ("raw", pa.string()),
    ]
)
ATTRIBUTE_COLUMNS = ("attributes_first", "attributes_second")
_CHUNK, _LARGEST_CHUNK = 8192, 1 << 25
"""Rows, and characters, that are held in memory before they are written."""


class Staged(NamedTuple):
    """The rows of a source in files, and how many there were."""

    judgements: Path
    """Parquet with `JUDGEMENT_SCHEMA`; equal judgements are still there as often as they were read."""
    quarantine: Path
    """Parquet with `QUARANTINE_SCHEMA`."""
    num_rows: int
    num_judgements: int
    num_quarantined: int
    formats: dict[str, int]
    left_out: dict[str, int]
    first_reason: str
    """Line and reason of the first row that cannot be used; empty if all can."""
    miscoded: str
    """The same of the first row whose preference is not in [0, 1]: then that of the others means something else."""


def stage(source: sources.Source, config: IngestConfig, folder: Path) -> Staged:
    """Read a source row by row; memory does not grow with it.

    Parameters
    ----------
    source : sources.Source
    config : IngestConfig
    folder : Path
        Gets the two files.

    Raises
    ------
    DataError
        If the source breaks off.
    """
    formats: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    first_reason = miscoded = ""
    paths = folder / "judgements.parquet", folder / "quarantine.parquet"
    with _Writer(paths[0], JUDGEMENT_SCHEMA) as usable, _Writer(paths[1], QUARANTINE_SCHEMA) as unusable:
        for row in source.rows:
            counts["rows"] += 1
            found = _reading(row, config)
            if isinstance(found, str):
                counts["quarantined"] += 1
                first_reason = first_reason or f"line {row.line}: {found}"
                if _MISCODED.match(found):
                    miscoded = miscoded or f"line {row.line}: {found}"
                unusable.add(_quarantined(source, row, found))
                continue
            formats[found.format.name] += 1
            left_out.update(map(storable, found.left_out))
            for judgement in found.judgements:
                counts["judgements"] += 1
                usable.add(_as_row(judgement, source, row.line))
    return Staged(
        *paths,
        num_rows=counts["rows"],
        num_judgements=counts["judgements"],
        num_quarantined=counts["quarantined"],
        formats=dict(sorted(formats.items())),
        left_out=dict(sorted(left_out.items())),
        first_reason=first_reason,
        miscoded=miscoded,
    )


def check_share(source: sources.Source, staged: Staged, config: IngestConfig, quarantine: Path | Url) -> None:
    """Refuse a source of which too many rows cannot be used, or whose preferences are coded in another way.

    Raises
    ------
    DataError
        With the first reason.
    """
    if staged.miscoded:
        raise DataError(
            f"{source.name}: nothing of this source was stored, since its preferences are coded in another way than 1 "
            f"for the first, 0 for the second and 0.5 for none; {staged.miscoded}"
        )
    if staged.num_quarantined > config.max_quarantined_share * staged.num_rows:
        raise DataError(
            f"{source.name}: {staged.num_quarantined} of {staged.num_rows} rows are unusable, more than the share of "
            f"{config.max_quarantined_share} that ingest.max_quarantined_share allows; nothing of this source was "
            f"stored, and its unusable rows are in {quarantine}. The first, {staged.first_reason}"
        )


_MISCODED = re.compile(r"preference .* is not in \[0, 1\]")


class _Writer:
    """Writes rows to a Parquet file, a chunk at a time."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._file = pq.ParquetWriter(path, schema, compression="zstd")
        self._schema = schema
        self._rows: list[Sequence[Any]] = []
        self._size = 0

    def add(self, row: Sequence[Any]) -> None:
        """Add a row, its values in the order of the schema."""
        self._rows.append(row)
        self._size += sum(map(_size, row))
        if len(self._rows) == _CHUNK or self._size > _LARGEST_CHUNK:
            self._flush()

    def _flush(self) -> None:
        columns = zip(*self._rows, strict=True) if self._rows else ([] for _ in self._schema)
        arrays = [pa.array(list(column), field.type) for column, field in zip(columns, self._schema, strict=True)]
        self._file.write_batch(pa.record_batch(arrays, schema=self._schema))
        self._rows, self._size = [], 0

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *error: object) -> None:
        self._flush()
        self._file.close()


def _size(value: Any) -> int:
    """Characters of a text or of a prompt's messages."""
    if isinstance(value, str):
        return len(value)
    return sum(len(turn["content"]) for turn in value if isinstance(turn, dict)) if isinstance(value, list) else 0


def _reading(row: sources.Row, config: IngestConfig) -> Reading | str:
    """What was read of a row, or the reason why the row is unusable."""
    try:
        return read_row(row.parsed(), config.fields, config.ignore, config.format)
    except RowError as error:
        return storable(str(error))


def _as_row(judgement: Judgement, source: sources.Source, line: int) -> Sequence[Any]:
    return (
        judgement.judgement_id,
        [{"role": role, "content": content} for role, content in judgement.prompt],
        judgement.first,
        judgement.second,
        judgement.preference,
        judgement.target_margin,
        judgement.weight,
        judgement.sampling_probability,
        list(judgement.attributes_first.items()) or None,
        list(judgement.attributes_second.items()) or None,
        judgement.annotator,
        judgement.created_at,
        judgement.domain,
        source.name,
        source.digest,
        line,
    )


def _quarantined(source: sources.Source, row: sources.Row, reason: str) -> Sequence[Any]:
    raw = storable(row.raw)
    return sha256_text(f"{source.name}\0{row.line}\0{raw}"), source.name, row.line, reason, raw


def storable(text: str) -> str:
    """The text with half surrogate pairs as escapes, since UTF-8 cannot encode them."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
