"""Reading a source into two files of rows, usable and not, before any of them is added to a table."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rm.data import arrays, sources
from rm.data.columns import ATTRIBUTES, MESSAGES
from rm.data.config import IngestConfig
from rm.data.formats.catalog import read_row
from rm.data.formats.row import RowError
from rm.data.plain_rows import PlainRows, Texts
from rm.data.preferences import Message
from rm.data.source_row import Row
from rm.data.template import Template
from rm.errors import DataError, printable
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
_CHUNK, _LARGEST_CHUNK = 2048, 1 << 25
"""Rows, and characters, that are held in memory before they are written."""


class Staged(NamedTuple):
    """The rows of a source in files, and how many there were."""

    judgements: Path
    """Arrow file with `JUDGEMENT_SCHEMA`; equal judgements are still there as often as they were read."""
    quarantine: Path
    """Arrow file with `QUARANTINE_SCHEMA`."""
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
    num_rows = num_judgements = num_quarantined = 0
    first_reason = miscoded = ""
    paths = folder / "judgements.arrow", folder / "quarantine.arrow"
    plain_rows = PlainRows(config)
    with (
        _Writer(paths[0], JUDGEMENT_SCHEMA, partial(_judgement_columns, source)) as usable,
        _Writer(paths[1], QUARANTINE_SCHEMA, partial(_quarantine_columns, source)) as unusable,
    ):
        for row in source.rows:
            num_rows += 1
            found = _reading(row, config, plain_rows)
            if isinstance(found, str):
                num_quarantined += 1
                first_reason = first_reason or f"line {row.line}: {found}"
                if _MISCODED.match(found):
                    miscoded = miscoded or f"line {row.line}: {found}"
                raw = storable(row.raw)
                unusable.add((row.line, found, raw), len(raw))
                continue
            formats[found.format] += 1
            if found.left_out:
                left_out.update(map(storable, found.left_out))
            for template, texts in found.judgements:
                num_judgements += 1
                usable.add((template, *texts, row.line), sum(map(len, texts)))
    return Staged(
        *paths,
        num_rows=num_rows,
        num_judgements=num_judgements,
        num_quarantined=num_quarantined,
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
    """Writes rows to an Arrow file, a batch at a time."""

    def __init__(self, path: Path, schema: pa.Schema, columns: Callable[[list[Any]], list[pa.Array]]) -> None:
        self._file = pa.ipc.new_file(str(path), schema)
        self._schema = schema
        self._columns = columns
        self._rows: list[Any] = []
        self._size = 0

    def add(self, row: Any, size: int) -> None:
        """Add a row with a number of characters."""
        self._rows.append(row)
        self._size += size
        if len(self._rows) == _CHUNK or self._size > _LARGEST_CHUNK:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._file.write_batch(pa.RecordBatch.from_arrays(self._columns(self._rows), schema=self._schema))
        self._rows, self._size = [], 0

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        if kind is None:
            self._flush()
            self._file.close()


class _Found(NamedTuple):
    """What was read of a row."""

    format: str
    judgements: Sequence[tuple[Template, Texts]]
    """The judgements, each with its own texts."""
    left_out: Sequence[str]


def _reading(row: Row, config: IngestConfig, plain_rows: PlainRows) -> _Found | str:
    """What was read of a row, or the reason why the row is unusable."""
    if found := plain_rows.find(row.value):
        plain, texts = found
        return _Found(plain.format.name, ((plain.template, texts),), plain.left_out)
    try:
        reading = read_row(row.parsed(), config.fields, config.ignore, config.format)
    except RowError as error:
        return reason_of(error)
    judgements = [(Template(each), (each.prompt[-1].content, each.first, each.second)) for each in reading.judgements]
    return _Found(reading.format.name, judgements, reading.left_out)


def reason_of(error: RowError) -> str:
    """The reason why a row is unusable, as it is stored and shown."""
    text = printable(str(error))
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}..."


_LONGEST_REASON = 1000


def _judgement_columns(source: sources.Source, rows: Sequence[tuple[Template, str, str, str, int]]) -> list[pa.Array]:
    """The columns of `JUDGEMENT_SCHEMA`, of a template, prompt, first and second response, and line for each row."""
    templates, asked, first, second, lines = zip(*rows, strict=True)
    ids = [template.judgement_id(a, b, c) for template, a, b, c, _ in rows]
    # Most rows share a few templates: what is the same in these is looked up once.
    place_of = {template: place for place, template in enumerate(dict.fromkeys(templates))}
    places = np.array([place_of[template] for template in templates], dtype=np.intp)
    judgements = [template.judgement for template in place_of]
    return [
        arrays.texts(ids),
        _prompts([template.prompt for template in place_of], places, asked),
        arrays.texts(first),
        arrays.texts(second),
        *(arrays.floats([getattr(judgement, name) for judgement in judgements], places) for name in _NUMBERS),
        *(_attributes([getattr(judgement, name) for judgement in judgements], places) for name in ATTRIBUTE_COLUMNS),
        *(_names([getattr(judgement, name) for judgement in judgements], places) for name in _NAMES),
        *(arrays.repeated(text, len(rows)) for text in (source.name, source.digest)),
        arrays.integers(lines),
    ]


_NUMBERS = ("preference", "target_margin", "weight", "sampling_probability")
_NAMES = ("annotator", "created_at", "domain")


def _prompts(templates: Sequence[Sequence[Message]], places: NDArray[np.intp], asked: Sequence[str]) -> pa.Array:
    """The prompts of the templates at some places, shape (N,), with their own last messages."""
    roles = [[message.role for message in prompt] for prompt in templates]
    before = [[message.content for message in prompt[:-1]] for prompt in templates]
    own = [roles[place] for place in places.tolist()]
    contents = asked
    if any(before):
        pairs = zip(places.tolist(), asked, strict=True)
        contents = [text for place, last in pairs for text in (*before[place], last)]
    every_role = list(itertools.chain.from_iterable(own))
    messages = arrays.structs(MESSAGES.value_type, [arrays.texts(every_role), arrays.texts(contents)])
    return arrays.lists([len(each) for each in own], messages)


def _names(values: Sequence[str | None], places: NDArray[np.intp]) -> pa.Array:
    if not any(value is not None for value in values):
        return pa.nulls(len(places), pa.string())
    return arrays.texts([values[place] for place in places.tolist()])


def _attributes(values: Sequence[Mapping[str, float]], places: NDArray[np.intp]) -> pa.Array:
    if not any(values):
        return pa.nulls(len(places), ATTRIBUTES)
    return pa.array([list(values[place].items()) or None for place in places.tolist()], ATTRIBUTES)


def _quarantine_columns(source: sources.Source, rows: Sequence[tuple[int, str, str]]) -> list[pa.Array]:
    """The columns of `QUARANTINE_SCHEMA`."""
    lines, reasons, raws = zip(*rows, strict=True)
    ids = [quarantine_id(source.name, line, raw) for line, _, raw in rows]
    return [
        arrays.texts(ids),
        arrays.repeated(source.name, len(rows)),
        arrays.integers(lines),
        *map(arrays.texts, (reasons, raws)),
    ]


def quarantine_id(source: str, line: int, raw: str) -> str:
    """Identifies a row in quarantine."""
    return sha256_text(f"{source}\0{line}\0{raw}")


def storable(text: str) -> str:
    """The text with half surrogate pairs as escapes, since UTF-8 cannot encode them."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")
