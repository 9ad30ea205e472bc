"""What would be read of a source, without storing anything."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from rm.data import sources
from rm.data.config import IngestConfig
from rm.data.formats.catalog import read_row
from rm.data.formats.format import METADATA, Format
from rm.data.formats.row import COMMON, RowError
from rm.data.preferences import Judgement
from rm.data.staging import reason_of, storable

NUM_SHOWN = 3
"""Rows that are shown."""


class Explanation(NamedTuple):
    """What would be read of a source."""

    source: str
    num_rows: int
    formats: Counter[str]
    """Name of a format to the number of rows that it reads."""
    columns: dict[str, str]
    """Each column of the rows that can be read, to what becomes of it; the first format that has it says so."""
    left_out: Counter[str]
    """Unknown column to the number of rows where it holds something that can be left out."""
    problems: Counter[str]
    """Reason why a row cannot be used, without what came, to the number of rows."""
    first_problem: str
    """Line and reason of the first such row; empty if there is none."""
    first_rows: tuple[tuple[Judgement, ...], ...]
    """The judgements of the first rows that can be read, by row."""


def explain(source: sources.Source, config: IngestConfig) -> Explanation:
    """Read a source whole, and keep what became of its columns and its first rows.

    Raises
    ------
    DataError
        If the source breaks off.
    """
    formats: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    problems: Counter[str] = Counter()
    columns: dict[str, str] = {}
    shown: list[tuple[Judgement, ...]] = []
    first_problem, num_rows = "", 0
    for row in source.rows:
        num_rows += 1
        try:
            found = read_row(row.parsed(), config.fields, config.ignore, config.format)
        except RowError as error:
            reason = reason_of(error)
            problems[reason.partition(", got ")[0]] += 1
            first_problem = first_problem or f"line {row.line}: {reason}"
            continue
        formats[found.format.name] += 1
        left_out.update(map(storable, found.left_out))
        for name in row.value:
            columns.setdefault(storable(name), _use(name, found.format, config))
        if len(shown) < NUM_SHOWN:
            shown.append(found.judgements)
    return Explanation(source.name, num_rows, formats, columns, left_out, problems, first_problem, tuple(shown))


def _use(name: str, format_: Format, config: IngestConfig) -> str:
    """What becomes of a column."""
    if name in config.ignore:
        return "left out: ingest.ignore"
    named = [field for field, path in config.fields.items() if path.split(".")[0] == name]
    if named:
        return ", ".join({**COMMON, **format_.columns}.get(field, field) for field in named)
    known = {**COMMON, **format_.columns}
    if name in known:
        return known[name]
    return "metadata" if name in format_.metadata | METADATA else "left out: not known"
