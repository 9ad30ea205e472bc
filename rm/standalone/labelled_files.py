"""Labelled responses to be scored, read from one file: a benchmark's file, or annotations in any known format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from rm.audit.config import AuditConfig
from rm.audit.heldout import Heldout, build_heldout
from rm.benchmarks import collector as benchmarks_collector
from rm.benchmarks.catalog import benchmark_of
from rm.benchmarks.collector import BenchmarkData
from rm.data import preferences, sources
from rm.data.config import IngestConfig
from rm.data.formats.catalog import read_row
from rm.data.formats.chosen_rejected import ContradictionError
from rm.data.formats.row import RowError, name_of
from rm.data.preferences import Judgement, Message, PromptGroup, prompt_id, prompt_text, response_id
from rm.data.source_row import Row
from rm.errors import DataError
from rm.standalone.score_formats import DOMAIN, SOURCE
from rm.stats.clustered import Floats, Ints
from rm.stats.finding import Finding

AS_IT_IS = IngestConfig()
"""Reads the columns under their own names."""
_FIRST = ("output_1", "response_A")
"""Keys of the first response in benchmarks whose label says which one is chosen; in others the chosen one is first."""


class _Read(NamedTuple):
    """A row of annotations, and what was read of it; nothing if it cannot be used."""

    row: Row
    judgements: tuple[Judgement, ...] = ()
    domain: str | None = None
    source: str | None = None


class LabelledPair(NamedTuple):
    """Two responses to a prompt, in the order of their row."""

    prompt: tuple[Message, ...]
    first: str
    second: str
    """Of ``chosen`` and ``rejected`` the chosen one is the first, however the keys are ordered."""
    preference: float
    """For the first response, in [0, 1]; the mean if the row has several votes."""


class LabelledRow(NamedTuple):
    """A row with its pair."""

    line: int
    value: Mapping[str, Any]
    """The row as the file has it; empty if it is no object."""
    pair: LabelledPair | None
    """None if the row does not compare two responses."""
    num_responses: int
    """Number of distinct responses; 0 if the row cannot be used."""


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
    rows: tuple[LabelledRow, ...]
    """Every row of the file; empty if the benchmark's rows have more than two responses."""
    mixed: tuple[str, ...]
    """`mixed_prompts`."""

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


def read(path: Path, settings: IngestConfig = AS_IT_IS) -> DataFile:
    """Read a file of labelled responses; its first row decides whether it belongs to a benchmark.

    Parameters
    ----------
    path : Path
    settings : IngestConfig
        Its ``fields``, ``ignore`` and ``format`` say how annotations are read, and ``max_quarantined_share`` how many
        of them may be unusable. With the first three set to anything, no row is a benchmark's.

    Raises
    ------
    DataError
        If the file cannot be read or has no rows, a row of a benchmark is wrong, too many annotations are unusable, or
        ratings contradict a label: where the ratings are those of the model that is audited, leaving such a row out
        would leave out its errors.
    """
    source = sources.open_file(path)
    rows = list(source.rows)
    if not rows:
        raise DataError(f"{path}: expected rows with labelled responses, got none")
    as_annotations = settings.fields or settings.ignore or settings.format
    benchmark = None if as_annotations else benchmark_of(rows[0].value)
    if benchmark is None:
        return _annotations(path, source.digest, rows, settings)
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
        rows=_benchmark_rows(rows, data),
        mixed=mixed_prompts(data.groups, ((prompt_id(entry.prompt), entry.subset) for entry in data.entries)),
    )


def mixed_prompts(groups: Sequence[PromptGroup], domains: Iterable[tuple[str, str | None]]) -> tuple[str, ...]:
    """The prompts whose rows name different domains: since a prompt has one, their pairs all count in the same.

    Parameters
    ----------
    groups : sequence of PromptGroup
    domains : iterable of pairs
        The prompt's id and the domain of each row.

    Returns
    -------
    tuple of str
        Their texts.
    """
    first: dict[str, str] = {}
    mixed = {key for key, domain in domains if domain is not None and first.setdefault(key, domain) != domain}
    return tuple(prompt_text(group.prompt) for group in groups if group.prompt_id in mixed)


def _annotations(path: Path, digest: str, rows: Sequence[Row], settings: IngestConfig) -> DataFile:
    labelled, problems = _labelled(path, rows, settings)
    if len(problems) > settings.max_quarantined_share * len(rows):
        raise DataError(
            f"{path}: {len(problems)} of {len(rows)} rows are unusable, expected at most a share of "
            f"{settings.max_quarantined_share}; the first, {problems[0]}"
        )
    judgements = [judgement for each in labelled for judgement in each.judgements]
    distinct = {judgement.judgement_id: judgement for judgement in reversed(judgements)}  # the first of each is kept
    groups = _with_origins(preferences.group(distinct.values()), labelled)
    return DataFile(
        path=path,
        digest=digest,
        num_rows=len(rows),
        num_duplicates=len(judgements) - len(distinct),
        problems=tuple(problems),
        groups=groups,
        benchmark=None,
        rows=tuple(_labelled_row(each.row, each.judgements) for each in labelled),
        mixed=mixed_prompts(
            groups,
            ((first.prompt_id, first.domain or each.domain) for each in labelled for first in each.judgements[:1]),
        ),
    )


def _labelled(path: Path, rows: Sequence[Row], settings: IngestConfig) -> tuple[list[_Read], list[str]]:
    """Each row with its judgements, and a problem for each row that has none."""
    labelled: list[_Read] = []
    problems = []
    for row in rows:
        try:
            judgements = read_row(row.parsed(), settings.fields, settings.ignore, settings.format).judgements
            labelled.append(_Read(row, judgements, name_of(row.value, DOMAIN), name_of(row.value, SOURCE)))
        except ContradictionError as error:
            raise DataError(
                f"{path}: row {row.line}: {error}; if the ratings are a model's, leave them out with "
                f"--set 'ingest.ignore=[{', '.join(error.columns)}]'"
            ) from None
        except RowError as error:
            labelled.append(_Read(row))
            problems.append(f"row {row.line}: {error}")
    return labelled, problems


def _labelled_row(row: Row, found: tuple[Judgement, ...]) -> LabelledRow:
    value = row.value if isinstance(row.value, dict) else {}
    num_responses = len({response_id(text) for vote in found for text in (vote.first, vote.second)})
    if num_responses != 2:
        return LabelledRow(row.line, value, None, num_responses)
    prompt, first, second = found[0].prompt, found[0].first, found[0].second
    is_turned = [response_id(vote.first) != response_id(first) for vote in found]
    votes = [1 - vote.preference if turned else vote.preference for vote, turned in zip(found, is_turned, strict=True)]
    return LabelledRow(row.line, value, LabelledPair(prompt, first, second, sum(votes) / len(votes)), num_responses)


def _with_origins(groups: Sequence[PromptGroup], labelled: Sequence[_Read]) -> tuple[PromptGroup, ...]:
    """The groups with ``domain`` or ``subset``, and ``source``, of the first row of their prompt that has them."""
    domains: dict[str, str] = {}
    found: dict[str, str] = {}
    for each in labelled:
        for judgement in each.judgements[:1]:  # all have the same prompt
            if each.domain is not None:
                domains.setdefault(judgement.prompt_id, each.domain)
            if each.source is not None:
                found.setdefault(judgement.prompt_id, each.source)
    return tuple(
        replace(
            group,
            domain=group.domain or domains.get(group.prompt_id),
            source=group.source or found.get(group.prompt_id),
        )
        for group in groups
    )


def _benchmark_rows(rows: Sequence[Row], data: BenchmarkData) -> tuple[LabelledRow, ...]:
    """The rows with their pairs; none if a row has more than one chosen or rejected response."""
    if any(len(entry.chosen) != 1 or len(entry.rejected) != 1 for entry in data.entries):
        return ()
    labelled = []
    for row, entry in zip(rows, data.entries, strict=True):
        sides = {1.0: entry.chosen[0], 0.0: entry.rejected[0]}
        first = None if "chosen" in row.value else next((key for key in _FIRST if key in row.value), None)
        preference = 1.0 if first is None or row.value[first] == entry.chosen[0] else 0.0
        pair = LabelledPair(entry.prompt, sides[preference], sides[1 - preference], preference)
        labelled.append(LabelledRow(row.line, row.value, pair, len(sides)))
    return tuple(labelled)
