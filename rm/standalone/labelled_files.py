"""Labelled responses to be scored, read from one file: a benchmark's file, or annotations in any known format."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rm.audit.config import AuditConfig
from rm.audit.heldout import Heldout, build_heldout
from rm.benchmarks import collector as benchmarks_collector
from rm.benchmarks.catalog import benchmark_of
from rm.benchmarks.collector import BenchmarkData
from rm.data import preferences, sources
from rm.data.config import MAX_UNUSABLE_SHARE
from rm.data.formats.catalog import read_judgement
from rm.data.formats.row import RowError
from rm.data.preferences import Judgement, Message, PromptGroup
from rm.errors import DataError
from rm.stats.clustered import Floats, Ints
from rm.stats.finding import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """A file of labelled responses."""

    path: Path
    digest: str
    """SHA-256 of the file."""
    num_rows: int
    num_duplicates: int
    """Repeated rows (annotations) or repeated pairs (benchmark)."""
    problems: tuple[str, ...]
    """For each row of annotations that cannot be used and was left out: the row and the reason."""
    groups: tuple[PromptGroup, ...]
    benchmark: BenchmarkData | None
    """None for annotations."""

    @property
    def items(self) -> list[tuple[tuple[Message, ...], tuple[str, ...]]]:
        """Prompts and responses for `rm.score.scorer.Scorer.score_items`."""
        return [(group.prompt, group.responses) for group in self.groups]

    def heldout(self, rewards: Sequence[Floats], num_tokens: Sequence[Ints] | None) -> Heldout:
        """Join the rewards and lengths of the items with their labels; see `rm.audit.heldout.build_heldout`."""
        return build_heldout(self.groups, rewards, num_tokens, str(self.path))

    def formulas(self, rewards: Sequence[Floats], config: AuditConfig) -> tuple[Finding, ...]:
        """The benchmark's scores (`rm.benchmarks.collector.formulas`); none for annotations."""
        return benchmarks_collector.formulas(self.benchmark, rewards, config) if self.benchmark else ()


def read(path: Path) -> DataFile:
    """Read a file of labelled responses; its first row decides whether it belongs to a benchmark.

    Raises
    ------
    DataError
        If the file cannot be read or has no rows, a row of a benchmark is wrong, or more than 5 % of the annotations
        (`rm.data.config.MAX_UNUSABLE_SHARE`) are unusable.
    """
    source = sources.open_file(path)
    rows = list(source.rows)
    if not rows:
        raise DataError(f"{path}: expected rows with labelled responses, got none")
    benchmark = benchmark_of(rows[0].value)
    if benchmark is None:
        return _annotations(path, source.digest, rows)
    collector = benchmarks_collector.Collector(benchmark, path.name.partition(".")[0])
    for row in rows:
        try:
            collector.add(row.parsed())
        except RowError as error:
            raise DataError(f"{path}: row {row.line}: {error}") from None
    data = collector.data()
    return DataFile(
        path=path,
        digest=source.digest,
        num_rows=len(rows),
        num_duplicates=data.num_duplicates,
        problems=(),
        groups=data.groups,
        benchmark=data,
    )


def _annotations(path: Path, digest: str, rows: Sequence[sources.Row]) -> DataFile:
    judgements, problems = _judgements(rows)
    if len(problems) > MAX_UNUSABLE_SHARE * len(rows):
        raise DataError(
            f"{path}: {len(problems)} of {len(rows)} rows are unusable, expected at most a share of "
            f"{MAX_UNUSABLE_SHARE}; the first, {problems[0]}"
        )
    distinct = {judgement.judgement_id: judgement for judgement in reversed(judgements)}  # the first of each is kept
    return DataFile(
        path=path,
        digest=digest,
        num_rows=len(rows),
        num_duplicates=len(judgements) - len(distinct),
        problems=tuple(problems),
        groups=tuple(preferences.group(distinct.values())),
        benchmark=None,
    )


def _judgements(rows: Iterable[sources.Row]) -> tuple[list[Judgement], list[str]]:
    judgements, problems = [], []
    for row in rows:
        try:
            judgements.append(read_judgement(row.parsed()))
        except RowError as error:
            problems.append(f"row {row.line}: {error}")
    return judgements, problems
