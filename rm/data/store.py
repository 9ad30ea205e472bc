"""Reading sources into the annotations table: every judgement once, however often it was read.

The table is Delta Lake on Parquet. Judgements are added by their id, so that nothing is added twice, whether a file is
read twice or two processes write at once. A source is added as a whole in one commit, or not at all; the commit says
which sources it added, so that the same file is not read again. A table that was written before responses had
attributes, or pairs a sampling probability, gets the columns with the next judgement; until then it has none.
"""

from __future__ import annotations

import shutil
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from deltalake import DeltaTable
from pydantic import BaseModel, ConfigDict

from rm import imports
from rm.data import annotation_table, quarantine, reading, sources, staging, tables
from rm.data.annotation_table import TableVersion
from rm.data.config import IngestConfig
from rm.data.staging import JUDGEMENT_SCHEMA
from rm.engine.engines import LOCAL, Engine
from rm.errors import DataError, writing
from rm.files import sha256_json
from rm.locations import Url


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
        Where the sources are read; a large one may be read in parts.

    Returns
    -------
    IngestReport
        A source that cannot be read, or of which too many rows are unusable, is refused there; the others are stored.

    Raises
    ------
    DataError
        If there is no table, since every source was refused.
    StorageError
        If the tables are at a URL that cannot be read or written, or a disk is full or read-only.
    """
    became: dict[int, SourceCounts | DataError] = {}
    above = folder if work is None else work
    with writing(above), _work_folder(above) as temporary:
        waiting: dict[int, _Read] = {}
        for place, outcome in _readings(names, folder, config, temporary, engine):
            if not isinstance(outcome, _Read):
                became[place] = outcome
                continue
            waiting[place] = outcome
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
        table=annotation_table.current(folder),
        ingested_at=datetime.now(UTC).isoformat(timespec="microseconds"),
    )


def _readings(
    names: Sequence[str],
    folder: Path | Url,
    config: IngestConfig,
    temporary: Path,
    engine: Engine,
) -> Iterator[tuple[int, _Read | SourceCounts | DataError]]:
    """Place of each source with what was read of it, its counts if it is stored already, or why it is refused."""
    table = tables.opened(folder / "annotations")
    found = reading.opened(names, engine)
    places: deque[tuple[int, sources.Source, tuple[str, ...]]] = deque()
    settled: deque[tuple[int, SourceCounts | DataError]] = deque()

    def unknown() -> Iterator[sources.Source]:
        for place, source in enumerate(found):
            if isinstance(source, DataError):
                settled.append((place, source))
                continue
            marks = _marks(source, config)
            if known := _known(table, folder, marks):
                settled.append((place, _counts(source, known, 0)))
                continue
            places.append((place, source, marks))
            yield source

    for staged in reading.staged(unknown(), config, temporary, engine):
        place, source, marks = places.popleft()
        yield place, staged if isinstance(staged, DataError) else _Read(source, staged, marks)
    yield from settled


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
    if unusable := [read.staged.quarantine for read in waiting.values() if read.staged.num_quarantined]:
        quarantine.add(folder, unusable)
    became: dict[int, SourceCounts | DataError] = {}
    kept = {}
    for place, read in waiting.items():
        try:
            staging.check_share(read.source, read.staged, config, folder / "quarantine")
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
        annotation_table.content,
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
