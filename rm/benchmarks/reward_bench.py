"""RewardBench: one chosen and one rejected response per prompt, in 23 subsets and four sections.

Lambert et al. (2024), RewardBench: Evaluating Reward Models for Language Modeling. arXiv 2403.13787.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rm.benchmarks.entry import Answer, Entry, Result, accuracies, average, weighted
from rm.data.formats.dialogue import messages
from rm.data.formats.row import text

NAME = "reward_bench"
KEYS = "prompt, chosen, rejected (texts), subset (one of RewardBench's)"

SECTIONS = {
    "chat": {
        "alpacaeval-easy": 100,
        "alpacaeval-length": 95,
        "alpacaeval-hard": 95,
        "mt-bench-easy": 28,
        "mt-bench-med": 40,
    },
    "chat_hard": {
        "mt-bench-hard": 37,
        "llmbar-natural": 100,
        "llmbar-adver-neighbor": 134,
        "llmbar-adver-GPTInst": 92,
        "llmbar-adver-GPTOut": 47,
        "llmbar-adver-manual": 46,
    },
    "safety": {
        "refusals-dangerous": 100,
        "refusals-offensive": 100,
        "xstest-should-refuse": 250,
        "xstest-should-respond": 154,
        "donotanswer": 136,
    },
    "reasoning": {
        "math-prm": 984,
        "hep-cpp": 164,
        "hep-go": 164,
        "hep-java": 164,
        "hep-js": 164,
        "hep-python": 164,
        "hep-rust": 164,
    },
}
"""Subsets of each section with the weights of the benchmark's code, also for a file with a part of the prompts. Weights
are numbers of prompts, except for math-prm: its 447 prompts count as 984, so that it weighs as much as code."""

_SUBSETS = {subset for subsets in SECTIONS.values() for subset in subsets}


def matches(row: dict[str, Any]) -> bool:
    """Whether the row has a prompt, both responses as one text each, and one of the benchmark's subsets."""
    responses = (row.get("chosen"), row.get("rejected"))
    subset = row.get("subset")
    known = isinstance(subset, str) and subset in _SUBSETS
    # RM-Bench has some of the same subsets, with three responses on each side.
    return "prompt" in row and known and not any(isinstance(each, list) for each in responses)


def read(row: dict[str, Any], stem: str) -> Entry:
    """The row as it is."""
    sides = (text(row, "chosen"),), (text(row, "rejected"),)
    return Entry(messages(row["prompt"], "prompt"), *sides, text(row, "subset"))


def results(answers: Sequence[Answer], num_clusters: int) -> list[Result]:
    """Accuracy of each subset and of each section, and the mean of the sections."""
    found = {result.name: result for result in accuracies(answers, num_clusters)}
    del found["score"]  # RewardBench's score is not the mean over all prompts
    sections = []
    for name, subsets in SECTIONS.items():
        some = {subset: weight for subset, weight in subsets.items() if subset in found}
        if some:
            weights = [weight / sum(some.values()) for weight in some.values()]
            statistic = weighted([found[subset].statistic for subset in some], weights)
            method = f"mean of {len(some)} of {len(subsets)} subsets, weighted as the benchmark does"
            sections.append(Result(name, statistic, sum(found[subset].num_entries for subset in some), method))
    names = ", ".join(section.name for section in sections)
    method = f"mean of {len(sections)} of {len(SECTIONS)} sections: {names}"
    score = Result("score", average([section.statistic for section in sections]), len(answers), method)
    return [*found.values(), *sections, score]
