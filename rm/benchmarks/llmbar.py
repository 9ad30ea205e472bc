"""LLMBar: pairs in which one response follows the instruction and the other, which often looks better, does not.

Zeng et al. (2023), Evaluating Large Language Models at Evaluating Instruction Following. arXiv 2310.07641.
"""

from __future__ import annotations

from typing import Any

from rm.benchmarks.entry import Entry, accuracies
from rm.data.formats.dialogue import messages
from rm.data.formats.row import RowError, text

NAME = "llmbar"
KEYS = "input, output_1, output_2, label (1 or 2)"

results = accuracies


def matches(row: dict[str, Any]) -> bool:
    """Whether the row has an input and two numbered outputs."""
    return {"input", "output_1", "output_2", "label"} <= row.keys()


def read(row: dict[str, Any], stem: str) -> Entry:
    """The file's name is the subset, such as natural or manual."""
    sides = [text(row, "output_1"), text(row, "output_2")]
    if row["label"] not in (1, 2):
        raise RowError(f"label: expected 1 or 2, the better output, got {row['label']!r}")
    if row["label"] == 2:
        sides.reverse()
    return Entry(messages(row["input"], "input"), (sides[0],), (sides[1],), stem)
