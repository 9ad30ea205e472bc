"""Entries of a benchmark, the rewards of their responses, and the parts of scoring formulas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rm.data.preferences import Judgement, Message
from rm.stats import clustered
from rm.stats.clustered import Floats, Statistic


class Entry(NamedTuple):
    """One row of a benchmark."""

    prompt: tuple[Message, ...]
    chosen: tuple[str, ...]
    rejected: tuple[str, ...]
    subset: str
    source: str | None = None
    key: str = ""
    """Identifies an entry within its subset, if the subset's formula needs it."""


def by_label(judgement: Judgement, subset: str, source: str | None = None) -> Entry:
    """The entry of two responses of which one is right."""
    right = judgement.preference == 1
    chosen, rejected = (judgement.first, judgement.second) if right else (judgement.second, judgement.first)
    return Entry(judgement.prompt, (chosen,), (rejected,), subset, source)


class Answer(NamedTuple):
    """The rewards of an entry's responses."""

    entry: Entry
    cluster: int
    """Number of the cluster of its prompt."""
    chosen: Floats
    rejected: Floats

    @property
    def is_right(self) -> bool:
        """Whether the first chosen response has a strictly higher reward than the first rejected one."""
        return bool(self.chosen[0] > self.rejected[0])


class Result(NamedTuple):
    """One score of a benchmark."""

    name: str
    statistic: Statistic
    num_entries: int
    method: str


def mean(values: Sequence[float] | NDArray[Any], answers: Sequence[Answer], num_clusters: int) -> Statistic:
    """Mean of one value per answer."""
    clusters = np.array([answer.cluster for answer in answers], dtype=np.int64)
    return clustered.mean(np.asarray(values, dtype=np.float64), clusters, num_clusters)


def weighted(statistics: Sequence[Statistic], weights: Sequence[float]) -> Statistic:
    """Weighted sum of statistics."""
    return clustered.combined(lambda *values: np.asarray(weights) @ np.stack(values), *statistics)


def average(statistics: Sequence[Statistic]) -> Statistic:
    """Unweighted mean of statistics."""
    return weighted(statistics, [1 / len(statistics)] * len(statistics))


def by_subset(answers: Sequence[Answer]) -> dict[str, list[Answer]]:
    """Answers by subset, in order of the subsets' names."""
    names = sorted({answer.entry.subset for answer in answers})
    return {name: [answer for answer in answers if answer.entry.subset == name] for name in names}


def accuracies(answers: Sequence[Answer], num_clusters: int) -> list[Result]:
    """Share of right answers, of each subset and of all answers."""
    method = "chosen has the strictly higher reward, a tie is wrong"
    return [
        Result(name, mean([answer.is_right for answer in some], some, num_clusters), len(some), method)
        for name, some in {**by_subset(answers), "score": list(answers)}.items()
    ]
