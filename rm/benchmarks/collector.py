"""Data files of published benchmarks, and their own formulas over the rewards of a model.

A benchmark is a module with ``NAME``, ``KEYS`` (what a row must hold, for error messages), ``matches(row)``,
``read(row, stem)`` and ``results(answers, num_clusters)``; to add one, write the module and name it in `BENCHMARKS`.
The numbers are for comparison with published ones: nothing here decides whether a model is good.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rm.benchmarks.catalog import Benchmark
from rm.benchmarks.entry import Answer, Entry
from rm.data import near_duplicates
from rm.data.formats.row import RowError
from rm.data.preferences import PromptGroup, conversation_problem
from rm.data.prompt_builder import PromptBuilders
from rm.errors import AuditError
from rm.stats.clustered import Floats
from rm.stats.config import BootstrapConfig
from rm.stats.finding import Finding, key
from rm.stats.measurements import Measurements


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkData:
    """A benchmark's entries, and the prompts and responses to score for them."""

    benchmark: Benchmark
    entries: tuple[Entry, ...]
    groups: tuple[PromptGroup, ...]
    """What is to be scored: each prompt once, with its distinct responses."""
    places: tuple[tuple[int, tuple[int, ...], tuple[int, ...]], ...]
    """Of each entry: its group, and the places of its chosen and rejected responses there."""
    num_duplicates: int
    """Pairs of a chosen and a rejected response that were said before, or are of one text."""


class Collector:
    """Reads a benchmark's rows one by one.

    Parameters
    ----------
    benchmark : Benchmark
    stem : str
        The file's name without its endings, which names a subset where the rows do not.
    """

    def __init__(self, benchmark: Benchmark, stem: str) -> None:
        self.benchmark, self.stem = benchmark, stem
        self._drafts = PromptBuilders()
        self._entries: list[Entry] = []
        self._places: list[tuple[int, tuple[int, ...], tuple[int, ...]]] = []
        self._num_duplicates = 0

    def add(self, row: Any) -> None:
        """Add one row.

        Raises
        ------
        RowError
            If the row is not of the benchmark, or something is wrong with it.
        """
        if not isinstance(row, dict) or not self.benchmark.matches(row):
            raise RowError(f"expected a row of {self.benchmark.NAME} as before, with {self.benchmark.KEYS}")
        entry = self.benchmark.read(row, self.stem)
        named = {"chosen response": entry.chosen, "rejected response": entry.rejected}
        responses = {f"{name} {place}": one for name, side in named.items() for place, one in enumerate(side) if one}
        if reason := conversation_problem(entry.prompt, responses):
            raise RowError(reason)
        draft = self._drafts.find_or_add(entry.prompt, domain=entry.subset, source=entry.source)
        chosen, rejected = (tuple(draft.add_response(one) for one in side) for side in (entry.chosen, entry.rejected))
        for better in chosen:
            for worse in rejected:
                if better == worse or not draft.choose(better, worse):
                    self._num_duplicates += 1
        self._entries.append(entry)
        self._places.append((draft.index, chosen, rejected))

    def data(self) -> BenchmarkData:
        """All that was added."""
        return BenchmarkData(
            benchmark=self.benchmark,
            entries=tuple(self._entries),
            groups=self._drafts.groups(),
            places=tuple(self._places),
            num_duplicates=self._num_duplicates,
        )


def formulas(data: BenchmarkData, rewards: Sequence[Floats], config: BootstrapConfig) -> tuple[Finding, ...]:
    """The benchmark's own numbers, named ``BENCHMARK/PART``; ``BENCHMARK/score`` is the main one.

    Parameters
    ----------
    data : BenchmarkData
    rewards : sequence of arrays of shape (K,)
        Of each group's responses, NaN where the model has no room. An entry with such a response is left out; how many
        entries are in a number is its ``num_pairs``.
    config : BootstrapConfig

    Raises
    ------
    AuditError
        If no entry has all its rewards.
    """
    clusters = near_duplicates.clusters([group.prompt for group in data.groups]).tolist()
    answers = []
    for entry, (group, chosen, rejected) in zip(data.entries, data.places, strict=True):
        answer = Answer(entry, clusters[group], rewards[group][list(chosen)], rewards[group][list(rejected)])
        if np.isfinite(np.concatenate([answer.chosen, answer.rejected])).all():
            answers.append(answer)
    name = data.benchmark.NAME
    if not answers:
        raise AuditError(f"{name}: none of {len(data.entries)} entries has the rewards of all its responses")
    num_clusters = max(clusters) + 1
    collected = Measurements(num_clusters, config)
    for result in data.benchmark.results(answers, num_clusters):
        unit = "share of entries, as the benchmark scores them"
        part = key("benchmark", benchmark=name, part=result.name)
        collected.add(part, result.statistic, result.num_entries, unit, result.method)
    return tuple(collected.findings().values())
