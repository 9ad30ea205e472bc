"""The annotations table: every judgement once, however often it was read; unusable rows are in quarantine.

The table is Delta Lake on Parquet. Judgements are added with an insert-only merge on their id, so that nothing is added
twice, whether a file is read twice or two processes write at once. A source is added as a whole in one commit, or not
at all. A table that was written before responses had attributes, or pairs a sampling probability, gets the columns with
the next judgement; until then it has none.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, TableNotFoundError
from pyarrow import fs
from pydantic import BaseModel, ConfigDict

from rm.data import sources
from rm.data.config import IngestConfig
from rm.data.formats.catalog import read_judgement
from rm.data.formats.row import RowError
from rm.data.preferences import Judgement, Message
from rm.data.prompt_groups import ATTRIBUTES, MESSAGES
from rm.errors import DataError
from rm.files import sha256_json, sha256_text

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
_ATTRIBUTE_COLUMNS = ["attributes_first", "attributes_second"]
_NUM_ATTEMPTS = 8


class SourceCounts(BaseModel):
    """How many rows of a source were stored: num_rows = num_stored + num_duplicates + num_quarantined."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    digest: str
    num_rows: int
    num_stored: int
    num_duplicates: int
    num_quarantined: int


class IngestReport(BaseModel):
    """Counts of the rows read, by source, and the table afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: tuple[SourceCounts, ...]
    table: TableVersion
    ingested_at: str
    """UTC, ISO 8601."""

    @property
    def num_stored(self) -> int:
        """Number of new judgements in the table."""
        return sum(counts.num_stored for counts in self.sources)


class TableVersion(BaseModel):
    """The annotations table at one version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    version: int
    digest: str
    """SHA-256 over the sorted judgements: equal digests mean equal annotations, also between versions."""
    num_judgements: int


IngestReport.model_rebuild()


def append(names: Sequence[str], folder: Path, config: IngestConfig) -> IngestReport:
    """Read sources into the annotations table and the quarantine beside it.

    Parameters
    ----------
    names : sequence of str
        Files, globs or hub names, as in `IngestConfig.sources`.
    folder : Path
        Holds the tables ``annotations`` and ``quarantine``; created if it does not exist.
    config : IngestConfig

    Raises
    ------
    DataError
        If a source cannot be read, or too many of its rows are unusable; nothing of that source is stored then.
    """
    counts = [_append_source(source, folder, config) for source in sources.open_all(tuple(names))]
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    return IngestReport(sources=tuple(counts), table=current(folder), ingested_at=now)


def _append_source(source: sources.Source, folder: Path, config: IngestConfig) -> SourceCounts:
    judgements: dict[str, dict[str, Any]] = {}
    quarantined: dict[str, dict[str, Any]] = {}
    num_rows = 0
    for row in source.rows:
        num_rows += 1
        found = _judgement(row)
        if isinstance(found, str):
            key = sha256_text(f"{source.name}\0{row.line}\0{_storable(row.raw)}")
            values = (key, source.name, row.line, found, _storable(row.raw))
            quarantined[key] = dict(zip(QUARANTINE_SCHEMA.names, values, strict=True))
        else:
            judgements.setdefault(found.judgement_id, _as_row(found, source, row.line))
    _merge(folder / "quarantine", "quarantine_id", QUARANTINE_SCHEMA, list(quarantined.values()))
    if len(quarantined) > config.max_quarantined_share * num_rows:
        first = next(iter(quarantined.values()))
        raise DataError(
            f"{source.name}: {len(quarantined)} of {num_rows} rows are unusable, more than the share of "
            f"{config.max_quarantined_share} that ingest.max_quarantined_share allows; nothing of this source was "
            f"stored, and its unusable rows are in {folder / 'quarantine'}. The first, line {first['line']}: "
            f"{first['reason']}"
        )
    num_stored = _merge(folder / "annotations", "judgement_id", JUDGEMENT_SCHEMA, list(judgements.values()))
    return SourceCounts(
        source=source.name,
        digest=source.digest,
        num_rows=num_rows,
        num_stored=num_stored,
        num_duplicates=num_rows - num_stored - len(quarantined),
        num_quarantined=len(quarantined),
    )


def _judgement(row: sources.Row) -> Judgement | str:
    """The row's judgement, or the reason why the row is unusable."""
    try:
        return read_judgement(row.parsed())
    except RowError as error:
        return _storable(str(error))


def _as_row(judgement: Judgement, source: sources.Source, line: int) -> dict[str, Any]:
    prompt = [message._asdict() for message in judgement.prompt]
    fields = {name: getattr(judgement, name) for name in JUDGEMENT_SCHEMA.names if hasattr(judgement, name)}
    given = {name: fields[name] or None for name in _ATTRIBUTE_COLUMNS}
    return {**fields, **given, "prompt": prompt, "source": source.name, "source_digest": source.digest, "line": line}


def _storable(text: str) -> str:
    """The text with half surrogate pairs as escapes, since UTF-8 cannot encode them."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _merge(path: Path, key: str, schema: pa.Schema, rows: list[dict[str, Any]]) -> int:
    """Insert the rows whose key the table does not have; return their number. Safe with concurrent writers."""
    data = pa.Table.from_pylist(rows, schema=schema)
    for attempt in range(_NUM_ATTEMPTS):
        try:
            table = DeltaTable.create(str(path), schema=schema, mode="ignore")
            if not rows:
                return 0
            metrics = (
                table.merge(
                    data,
                    predicate=f"target.{key} = source.{key}",
                    source_alias="source",
                    target_alias="target",
                    merge_schema=True,  # without it, values of columns that an older table lacks are silently dropped
                )
                .when_not_matched_insert_all()
                .execute()
            )
            return int(metrics["num_target_rows_inserted"])
        except CommitFailedError:
            if attempt == _NUM_ATTEMPTS - 1:
                raise
            # Another writer was first, perhaps with the same rows, so read the table again before merging.
            time.sleep(random.uniform(0, 0.2 * 2**attempt))
    raise AssertionError("the last attempt returns or raises")


def current(folder: Path) -> TableVersion:
    """The current version of the annotations table in a folder.

    Raises
    ------
    DataError
        If the folder has no table.
    """
    path = folder / "annotations"
    try:
        table = DeltaTable(str(path))
    except TableNotFoundError:
        raise DataError(f"{path}: no annotations yet; set ingest.sources or run `rmflow ingest`") from None
    # Weight, probability, domain and attributes are not part of the id, but they are part of the snapshot.
    rows = _read(table, path, ["judgement_id", "weight", "domain", "sampling_probability"]).to_pylist()
    attributes = _attributes_by_id(table, path)
    content = sorted((*_plain_content(row), *attributes.get(row["judgement_id"], ())) for row in rows)
    return TableVersion(path=path, version=table.version(), digest=sha256_json(content), num_judgements=len(rows))


def _plain_content(row: dict[str, Any]) -> tuple[Any, ...]:
    """What is digested of a judgement beside its attributes; without a probability, the same as in older tables."""
    probability = row.get("sampling_probability")
    return row["judgement_id"], row["weight"], row["domain"] or "", *(() if probability is None else (probability,))


def _attributes_by_id(table: DeltaTable, path: Path) -> dict[str, list[dict[str, float] | None]]:
    """Id of each judgement with attributes to the attributes of both responses, in the order of the texts."""
    if not set(_ATTRIBUTE_COLUMNS) <= _columns(table):
        return {}
    first, second = (pc.field(name).is_valid() for name in _ATTRIBUTE_COLUMNS)
    rows = _read(table, path, ["judgement_id", "first", "second", *_ATTRIBUTE_COLUMNS], first | second)
    return {
        row["judgement_id"]: [row[f"attributes_{side}"] for side in sorted(["first", "second"], key=row.__getitem__)]
        for row in rows.to_pylist(maps_as_pydicts="strict")
    }


def quarantine(folder: Path) -> list[dict[str, Any]]:
    """The quarantined rows (`QUARANTINE_SCHEMA`), in order of source and line."""
    path = folder / "quarantine"
    rows: list[dict[str, Any]] = _read(DeltaTable(str(path)), path).to_pylist()
    return sorted(rows, key=lambda row: (row["source"], row["line"]))


def judgements(table: TableVersion) -> Iterator[Judgement]:
    """The judgements in a version of the table, in no particular order."""
    columns = [name for name in JUDGEMENT_SCHEMA.names if name in Judgement.__dataclass_fields__]
    for row in _read_version(table, columns).to_pylist(maps_as_pydicts="strict"):
        row["prompt"] = tuple(Message(turn["role"], turn["content"]) for turn in row["prompt"])
        yield Judgement(**row | {name: row.get(name) or {} for name in _ATTRIBUTE_COLUMNS})


def source_digests(table: TableVersion) -> dict[str, str]:
    """Source that judgements were read from, to the digest of its content.

    A source that changed between two readings has one entry per content, with the digest in its name.
    """
    columns = ["source", "source_digest"]
    rows = _read_version(table, columns).group_by(columns).aggregate([]).to_pylist()
    read = sorted((row["source"], row["source_digest"]) for row in rows)
    times = Counter(source for source, _ in read)
    return {source if times[source] == 1 else f"{source} @ {digest[:12]}": digest for source, digest in read}


def _read_version(table: TableVersion, columns: list[str]) -> pa.Table:
    return _read(DeltaTable(str(table.path), version=table.version), table.path, columns)


def _columns(table: DeltaTable) -> set[str]:
    return {column.name for column in table.schema().fields}


def _read(table: DeltaTable, path: Path, columns: Sequence[str] = (), where: pc.Expression | None = None) -> pa.Table:
    """Rows for which the condition holds, with the columns that this version has; without columns: all of them."""
    # Through Arrow's own file system: Arrow's threads call deltalake's, which is Python code, and may abort the process
    # if they do so while it ends (delta-rs issue 2184).
    local = fs.SubTreeFileSystem(str(path.resolve()), fs.LocalFileSystem())
    known = _columns(table)
    names = [name for name in columns if name in known] or None
    return table.to_pyarrow_table(columns=names, filesystem=local, filters=where)
