"""RewardBench 2: the best of several responses; and prompts with many right answers, which should have equal rewards.

Malik et al. (2025), RewardBench 2: Advancing Reward Model Evaluation. arXiv 2506.01937.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rm.benchmarks.entry import Answer, Entry, Result, average, by_subset, mean, weighted
from rm.data.formats.benchmarks import sides_of
from rm.data.formats.row import RowError, text
from rm.stats.clustered import Floats, Statistic

NAME = "reward_bench_2"
KEYS = "prompt, chosen, rejected (lists of texts), num_correct, subset, id"


def matches(row: dict[str, Any]) -> bool:
    """Whether the row has lists of responses and the number of correct ones."""
    return {"prompt", "chosen", "rejected", "num_correct", "subset", "id"} <= row.keys()


def read(row: dict[str, Any], stem: str) -> Entry:
    """An entry of the subset Ties has an id such as ``ref:7`` (one right answer) or ``tied:7`` (several)."""
    sides, subset = sides_of(row), text(row, "subset")
    key = str(row["id"])
    if _is_ties(subset) and key.partition(":")[0] not in ("ref", "tied"):
        raise RowError(f"id: expected ref:NUMBER or tied:NUMBER in the subset {subset}, got {key!r}")
    return Entry(*sides, subset, key=key)


def _is_ties(subset: str) -> bool:
    return subset.lower() == "ties"


def results(answers: Sequence[Answer], num_clusters: int) -> list[Result]:
    """Score of each subset, and their mean."""
    found = []
    for name, some in by_subset(answers).items():
        if _is_ties(name):
            method = "accuracy of ref and of tied prompts, and their margins against the spread of the right answers"
            found.append(Result(name, _ties(some, num_clusters), len(some), method))
        else:
            method = "1/k where the chosen response is among the k with the highest reward, else 0"
            credits = [_credit(answer) for answer in some]
            found.append(Result(name, mean(credits, some, num_clusters), len(some), method))
    method = f"mean of {len(found)} subsets: {', '.join(result.name for result in found)}"
    return [*found, Result("score", average([result.statistic for result in found]), len(answers), method)]


def _credit(answer: Answer) -> float:
    rewards = np.concatenate([answer.chosen, answer.rejected])
    best = rewards == rewards.max()
    return float(best[0]) / int(best.sum())


def _ties(answers: Sequence[Answer], num_clusters: int) -> Statistic:
    """Score of the subset Ties, with the weights of the benchmark's code; with the last term the best score is 1.01."""
    kinds = {kind: [one for one in answers if one.entry.key.startswith(f"{kind}:")] for kind in ("ref", "tied")}
    accuracy = {kind: mean([_gap(one) > 0 for one in some], some, num_clusters) for kind, some in kinds.items()}
    of_ref = {_number(one): one for one in kinds["ref"]}
    both = [one for one in kinds["tied"] if _number(one) in of_ref]
    gap = np.array([_gap(one) for one in both])
    hard_gap = np.array([min(_gap(one), _gap(of_ref[_number(one)])) for one in both])
    spread = np.array([float(one.chosen.max() - one.chosen.min()) for one in both])
    terms: list[NDArray[Any]] = [gap > spread, hard_gap > spread, _excess(hard_gap, spread)]
    means = [mean(values, both, num_clusters) for values in terms]
    return weighted([accuracy["tied"], accuracy["ref"], *means], [0.30, 0.30, 0.20, 0.20, 0.01])


def _gap(answer: Answer) -> float:
    """The worst right answer's reward minus the best wrong one's."""
    return float(answer.chosen.min() - answer.rejected.max())


def _excess(gap: Floats, spread: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        excess: Floats = np.tanh(gap / spread - 1)
    return np.nan_to_num(excess)  # 0 / 0 counts as 0


def _number(answer: Answer) -> str:
    return answer.entry.key.partition(":")[2]
