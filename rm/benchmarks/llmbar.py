"""LLMBar: pairs in which one response follows the instruction and the other, which often looks better, does not.

Zeng et al. (2023), Evaluating Large Language Models at Evaluating Instruction Following. arXiv 2310.07641.
"""

from __future__ import annotations

from typing import Any

from rm.benchmarks.entry import Entry, accuracies, by_label
from rm.data.formats import benchmarks

NAME = "llmbar"
KEYS = "input, output_1, output_2, label (1 or 2)"

results = accuracies


def matches(row: dict[str, Any]) -> bool:
    """Whether the row has an input and two numbered outputs."""
    return {"input", "output_1", "output_2", "label"} <= row.keys()


def read(row: dict[str, Any], stem: str) -> Entry:
    """The file's name is the subset, such as natural or manual."""
    return by_label(benchmarks.llmbar(row), stem)
