"""The annotations table: every judgement once, however often it was read; unusable rows are in quarantine.

The table is Delta Lake on Parquet. Judgements are added by their id, so that nothing is added twice, whether a file is
read twice or two processes write at once. A source is added as a whole in one commit, or not at all; the commit says
which sources it added, so that the same file is not read again. A table that was written before responses had
attributes, or pairs a sampling probability, gets the columns with the next judgement; until then it has none.
"""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pyarrow as pa
from deltalake import DeltaTable
from pydantic import BaseModel, ConfigDict

from rm import imports
from rm.data import reading, sources, staging, tables
from rm.data.config import IngestConfig
from rm.data.preferences import Judgement, Message
from rm.data.staging import ATTRIBUTE_COLUMNS, JUDGEMENT_SCHEMA, QUARANTINE_SCHEMA
from rm.engine.engines import LOCAL, Engine
from rm.errors import DataError
from rm.files import sha256_json
from rm.locations import Location, Url


class SourceCounts(BaseModel):
    """What became of a source's rows: those that are not quarantined are num_judgements = num_stored + num_duplicates.

    A row has one judgement, or one per pair if it ranks or rates more than two responses.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    digest: str
    num_rows: int
    num_judgements: int
    num_stored: int
    num_duplicates: int
    num_quarantined: int
    formats: dict[str, int]
    """Name of a format to the number of rows that it read; empty if the source was not read again."""
    left_out: dict[str, int]
    """Column that no part of a judgement was made of, and that is not known as metadata, to the number of rows where it
    holds something."""


class IngestReport(BaseModel):
    """Counts of the rows read, by source, and the table afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: tuple[SourceCounts, ...]
    refused: tuple[str, ...] = ()
    """For each source of which nothing was stored: what is wrong with it."""
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

    path: Location
    version: int
    digest: str
    """Equal digests mean equal annotations, also between versions (`rm.data.tables.digest`)."""
    num_judgements: int


IngestReport.model_rebuild()


def append(
    names: Sequence[str], folder: Path | Url, config: IngestConfig, work: Path | None = None, engine: Engine = LOCAL
) -> IngestReport:
    """Read sources into the annotations table and the quarantine beside it.

    Parameters
    ----------
    names : sequence of str
        Files, globs or hub names, as in `IngestConfig.sources`.
    folder : Path or Url
        Holds the tables ``annotations`` and ``quarantine``; created if it does not exist.
    config : IngestConfig
    work : Path, optional
        A folder of this machine for what was read until it is added; needed where the tables are at a URL.
    engine : Engine
        Where the sources are read; each is read by one worker.

    Returns
    -------
    IngestReport
        A source that cannot be read, or of which too many rows are unusable, is refused there; the others are stored.

    Raises
    ------
    DataError
        If there is no table, since every source was refused.
    StorageError
        If the tables are at a URL that cannot be read or written.
    """
    became: dict[int, SourceCounts | DataError] = {}
    with _work_folder(folder if work is None else work) as temporary:
        waiting: dict[int, _Read] = {}
        for place, read in _readings(names, folder, config, temporary, engine, became):
            waiting[place] = read
            if sum(read.staged.num_rows for read in waiting.values()) >= _ROWS_AT_ONCE:
                became |= _add(waiting, folder, config)
                waiting = {}
        became |= _add(waiting, folder, config)
    in_order = [each for _, each in sorted(became.items())]
    refused = tuple(str(each) for each in in_order if isinstance(each, DataError))
    if refused and tables.opened(folder / "annotations") is None:
        raise DataError("; ".join(refused))
    return IngestReport(
        sources=tuple(each for each in in_order if isinstance(each, SourceCounts)),
        refused=refused,
        table=current(folder),
        ingested_at=datetime.now(UTC).isoformat(timespec="microseconds"),
    )


def _readings(
    names: Sequence[str],
    folder: Path | Url,
    config: IngestConfig,
    temporary: Path,
    engine: Engine,
    became: dict[int, SourceCounts | DataError],
) -> Iterator[tuple[int, _Read]]:
    """What was read of the sources that are not stored yet, with their places; the others and refused ones `became`."""
    table = tables.opened(folder / "annotations")
    found = reading.opened(names, engine)
    places: deque[tuple[int, sources.Source, tuple[str, ...]]] = deque()

    def unknown() -> Iterator[sources.Source]:
        for place, source in enumerate(found):
            if isinstance(source, DataError):
                became[place] = source
                continue
            marks = _marks(source, config)
            if known := _known(table, folder, marks):
                became[place] = _counts(source, known, 0)
                continue
            places.append((place, source, marks))
            yield source

    for staged in reading.staged(unknown(), config, temporary, engine):
        place, source, marks = places.popleft()
        if isinstance(staged, DataError):
            became[place] = staged
        else:
            yield place, _Read(source, staged, marks)


@contextmanager
def _work_folder(above: Path | Url) -> Iterator[Path]:
    """An empty folder that is removed at the end, and those that killed processes have left."""
    if isinstance(above, Url):
        raise ValueError(f"{above}: expected a folder of this machine to work in")
    above.mkdir(parents=True, exist_ok=True)
    for killed in above.glob(".reading-*"):
        if time.time() - killed.stat().st_mtime > _A_DAY:
            shutil.rmtree(killed, ignore_errors=True)
    with TemporaryDirectory(dir=above, prefix=".reading-") as temporary:
        yield Path(temporary)


_A_DAY = 86_400
"""Seconds after which a folder of a reading is one that a killed process has left."""
_ROWS_AT_ONCE = 20_000
"""Rows from which on sources are added to the table; fewer wait for the next source, since a commit takes its time."""


class _Read(NamedTuple):
    """A source that was read."""

    source: sources.Source
    staged: staging.Staged
    marks: tuple[str, ...]


def _marks(source: sources.Source, config: IngestConfig) -> tuple[str, ...]:
    """Names that say in a table that this source was read by this code in this way."""
    code = imports.code_digest("rm.data.staging", Path(__file__).parents[2])
    reading = sha256_json([source.digest, code, config.model_dump(mode="json", exclude={"sources", "on_bad_source"})])
    return tuple(f"rmflow:{reading}:{number}" for number in ("rows", "judgements", "quarantined"))


def _add(waiting: Mapping[int, _Read], folder: Path | Url, config: IngestConfig) -> dict[int, SourceCounts | DataError]:
    """Add sources to the tables, all in one commit; place of each one to its counts, or why it is refused."""
    quarantined = folder / "quarantine"
    bad = [read.staged.quarantine for read in waiting.values()]
    tables.add(quarantined, bad, "quarantine_id", QUARANTINE_SCHEMA, _quarantine_content)
    became: dict[int, SourceCounts | DataError] = {}
    kept = {}
    for place, read in waiting.items():
        try:
            staging.check_share(read.source, read.staged, config, quarantined)
            kept[place] = read
        except DataError as error:
            became[place] = error
    if not kept:
        return became
    num_stored = tables.add(
        folder / "annotations",
        [read.staged.judgements for read in kept.values()],
        "judgement_id",
        JUDGEMENT_SCHEMA,
        _content,
        {name: number for read in kept.values() for name, number in zip(read.marks, _numbers(read), strict=True)},
    )
    return became | {
        place: _counts(read.source, _numbers(read), number, read.staged)
        for (place, read), number in zip(kept.items(), num_stored, strict=True)
    }


def _numbers(read: _Read) -> tuple[int, ...]:
    return read.staged.num_rows, read.staged.num_judgements, read.staged.num_quarantined


def _known(table: DeltaTable | None, folder: Path | Url, names: Sequence[str]) -> tuple[int, ...] | None:
    """The numbers of rows that a commit left when it stored the same source, or None."""
    found = tables.marks(table, folder / "annotations", names) if table else None
    return found if found and (not found[-1] or tables.opened(folder / "quarantine") is not None) else None


def _counts(
    source: sources.Source, numbers: tuple[int, ...], num_stored: int, staged: staging.Staged | None = None
) -> SourceCounts:
    num_rows, num_judgements, num_quarantined = numbers
    return SourceCounts(
        source=source.name,
        digest=source.digest,
        num_rows=num_rows,
        num_judgements=num_judgements,
        num_stored=num_stored,
        num_duplicates=num_judgements - num_stored,
        num_quarantined=num_quarantined,
        formats=staged.formats if staged else {},
        left_out=staged.left_out if staged else {},
    )


def _content(batch: pa.RecordBatch) -> list[bytes]:
    """What makes a judgement, as bytes: its id, and what is in the snapshot beside."""
    columns = {name: batch.column(name) for name in batch.schema.names}
    missing = pa.nulls(len(batch))
    names = ("judgement_id", "weight", "domain", "sampling_probability")
    plain = list(zip(*(columns.get(name, missing).to_pylist() for name in names), strict=True))
    attributes = [columns.get(name, missing) for name in ATTRIBUTE_COLUMNS]
    if all(column.null_count == len(batch) for column in attributes):
        return [b'["%s"%s' % (identifier.encode(), _end(*values)) for identifier, *values in plain]
    texts = zip(columns["first"].to_pylist(), columns["second"].to_pylist(), strict=True)
    given = zip(*(column.to_pylist(maps_as_pydicts="strict") for column in attributes), strict=True)
    return [
        # In the order of the texts, since the id does not depend on which response stood first.
        _bytes(*row, *(pair if first < second else pair[::-1])) if any(pair) else _bytes(*row)
        for row, (first, second), pair in zip(plain, texts, given, strict=True)
    ]


def _bytes(identifier: str, weight: float, domain: str | None, probability: float | None, *given: Any) -> bytes:
    """Without a probability the same as in a table that has no column for it."""
    values = (identifier, weight, domain or "", *(() if probability is None else (probability,)), *given)
    return json.dumps(values, ensure_ascii=True, sort_keys=True).encode()


@lru_cache(maxsize=4096)
def _end(weight: float, domain: str | None, probability: float | None) -> bytes:
    """What follows the id in `_bytes` of a judgement without attributes."""
    return _bytes("", weight, domain, probability).removeprefix(b'[""')


def _quarantine_content(batch: pa.RecordBatch) -> list[bytes]:
    return [name.encode() for name in batch.column("quarantine_id").to_pylist()]


def current(folder: Path | Url) -> TableVersion:
    """The current version of the annotations table in a folder or at a URL.

    Raises
    ------
    DataError
        If there is no table.
    """
    path = folder / "annotations"
    if (table := tables.opened(path)) is None:
        raise DataError(f"{path}: no annotations yet; set ingest.sources or run `rmflow ingest`")
    return TableVersion(
        path=path,
        version=table.version(),
        digest=tables.digest(table, path, _content),
        num_judgements=sum(batch.num_rows for batch in tables.batches(table, path, ["line"])),
    )


def quarantine(folder: Path | Url) -> list[dict[str, Any]]:
    """The quarantined rows (`QUARANTINE_SCHEMA`), in order of source and line."""
    path = folder / "quarantine"
    table = tables.opened(path)
    batches = tables.batches(table, path, QUARANTINE_SCHEMA.names) if table is not None else ()
    rows = [row for batch in batches for row in batch.to_pylist()]
    return sorted(rows, key=lambda row: (row["source"], row["line"]))


_FIELDS = [name for name in JUDGEMENT_SCHEMA.names if name in Judgement.__dataclass_fields__]
"""The columns that make a judgement."""


def quarantine_prompts(table: TableVersion, reasons: Mapping[str, str]) -> list[str]:
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
    for batch in _batches(table, [*_FIELDS, "source", "line"]):
        places = zip(batch.column("source").to_pylist(), batch.column("line").to_pylist(), strict=True)
        known = [name for name in _FIELDS if name in batch.schema.names]
        for (source, line), judgement in zip(places, judgements_of(batch.select(known)), strict=True):
            if reason := reasons.get(judgement.prompt_id):
                raw = json.dumps([judgement.prompt, judgement.first, judgement.second], ensure_ascii=False)
                identifier = staging.quarantine_id(source, line, raw)
                rows.append(dict(zip(QUARANTINE_SCHEMA.names, (identifier, source, line, reason, raw), strict=True)))
    rows.sort(key=lambda row: (row["source"], row["line"]))
    with TemporaryDirectory(prefix="rmflow-") as temporary:
        path = Path(temporary, "quarantine.arrow")
        with pa.ipc.new_file(str(path), QUARANTINE_SCHEMA) as file:
            file.write_batch(pa.RecordBatch.from_pylist(rows, schema=QUARANTINE_SCHEMA))
        tables.add(table.path.parent / "quarantine", [path], "quarantine_id", QUARANTINE_SCHEMA, _quarantine_content)
    return [f"{row['source']}: line {row['line']}: {row['reason']}" for row in rows]


def judgements(table: TableVersion) -> Iterator[Judgement]:
    """The judgements in a version of the table, in no particular order."""
    for batch in batches(table):
        yield from judgements_of(batch)


def batches(table: TableVersion) -> Iterator[pa.RecordBatch]:
    """The judgements in a version of the table, as `judgements_of` reads them."""
    return _batches(table, _FIELDS)


def judgements_of(batch: pa.RecordBatch) -> Iterator[Judgement]:
    """The judgements of a batch of rows."""
    for row in batch.to_pylist(maps_as_pydicts="strict"):
        row["prompt"] = tuple(Message(turn["role"], turn["content"]) for turn in row["prompt"])
        yield Judgement(**row | {name: row.get(name) or {} for name in ATTRIBUTE_COLUMNS})


def prompts_of(batch: pa.RecordBatch) -> list[tuple[Message, ...]]:
    """The prompts of a batch of rows."""
    prompts = batch.column("prompt").to_pylist()
    return [tuple(Message(turn["role"], turn["content"]) for turn in prompt) for prompt in prompts]


def source_digests(table: TableVersion) -> dict[str, str]:
    """Source that judgements were read from, to the digest of its content.

    A source that changed between two readings has one entry per content, with the digest in its name.
    """
    columns = ["source", "source_digest"]
    found = {
        (row["source"], row["source_digest"])
        for batch in _batches(table, columns)
        for row in pa.Table.from_batches([batch]).group_by(columns).aggregate([]).to_pylist()
    }
    times = Counter(source for source, _ in found)
    return {source if times[source] == 1 else f"{source} @ {digest[:12]}": digest for source, digest in sorted(found)}


def _batches(table: TableVersion, columns: list[str]) -> Iterator[pa.RecordBatch]:
    if (found := tables.opened(table.path, table.version)) is None:
        raise DataError(f"{table.path}: gone since its version {table.version} was read")
    return tables.batches(found, table.path, columns)
