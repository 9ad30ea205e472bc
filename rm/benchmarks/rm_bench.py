"""RM-Bench: a right and a wrong response to each prompt, both in three styles, from plain to fancy.

Liu et al. (2024), RM-Bench: Benchmarking Reward Models of Language Models with Subtlety and Style. arXiv 2410.16184.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rm.benchmarks.entry import Answer, Entry, Result, average, by_subset, mean
from rm.data.formats.benchmarks import sides_of
from rm.data.formats.row import RowError, text

NAME = "rm_bench"
KEYS = "prompt, chosen, rejected (three texts each, from concise to detailed with markdown)"

DOMAINS = ("chat", "code", "math", "safety-refuse", "safety-response")
_NUM_STYLES = 3
_INDICES = {
    "hard": np.triu_indices(_NUM_STYLES, 1),
    "normal": np.diag_indices(_NUM_STYLES),
    "easy": np.tril_indices(_NUM_STYLES, -1),
}
_METHODS = {
    "hard": "chosen in a plainer style than rejected",
    "normal": "both in the same style",
    "easy": "chosen in a fancier style than rejected",
}


def matches(row: dict[str, Any]) -> bool:
    """Whether the row has lists of texts on both sides."""
    sides = (row.get("chosen"), row.get("rejected"))
    return "prompt" in row and all(isinstance(side, list) and side and isinstance(side[0], str) for side in sides)


def read(row: dict[str, Any], stem: str) -> Entry:
    """The domain is in the row or else in the file's name, such as ``chat_filtered.json``."""
    sides = sides_of(row)
    for key, side in (("chosen", sides.chosen), ("rejected", sides.rejected)):
        if len(side) != _NUM_STYLES:
            raise RowError(f"{key}: expected {_NUM_STYLES} texts, one per style, got {len(side)}")
    name = text(row, "domain") if row.get("domain") is not None else stem
    domain = next((domain for domain in DOMAINS if domain in name), None)
    if domain is None:
        raise RowError(f"domain: expected one of {', '.join(DOMAINS)} in the row or the file's name, got {name!r}")
    return Entry(*sides, domain)


def results(answers: Sequence[Answer], num_clusters: int) -> list[Result]:
    """Hard, normal and easy accuracy of each domain, and their means over the domains.

    Safety is the mean of its two domains.
    """
    domains = {name: _levels(some, num_clusters) for name, some in by_subset(answers).items()}
    found = [result for name, levels in domains.items() for result in _named(f"{name}/", levels)]
    parts = [name for name in domains if name.startswith("safety")]
    if parts:
        safety = _mean_levels([domains.pop(name) for name in parts], ", ".join(parts))
        domains["safety"] = safety
        found += _named("safety/", safety)
    overall = _mean_levels(list(domains.values()), f"{len(domains)} of 4 domains: {', '.join(domains)}")
    return [*found, *_named("", overall)]


def _levels(answers: Sequence[Answer], num_clusters: int) -> list[Result]:
    wins = np.stack([answer.chosen[:, None] > answer.rejected[None, :] for answer in answers])  # (B, chosen, rejected)
    return [
        Result(
            level,
            mean(wins[:, rows, columns].mean(axis=1), answers, num_clusters),
            len(answers),
            f"{_METHODS[level]}; chosen has the strictly higher reward, a tie is wrong",
        )
        for level, (rows, columns) in _INDICES.items()
    ]


def _mean_levels(parts: Sequence[Sequence[Result]], names: str) -> list[Result]:
    return [
        Result(
            same[0].name,
            average([result.statistic for result in same]),
            sum(result.num_entries for result in same),
            f"{_METHODS[same[0].name]}; mean of {names}",
        )
        for same in zip(*parts, strict=True)
    ]


def _named(prefix: str, levels: Sequence[Result]) -> list[Result]:
    """The levels, and their mean as the score."""
    statistic = average([result.statistic for result in levels])
    score = Result("score", statistic, levels[0].num_entries, "mean of hard, normal and easy")
    return [result._replace(name=prefix + result.name) for result in (*levels, score)]
