"""JudgeBench: two answers of one model to a hard question, of which one is verifiably right.

Tan et al. (2024), JudgeBench: A Benchmark for Evaluating LLM-Based Judges. arXiv 2410.12784. In that benchmark a judge
sees a pair in both orders and must be right more often than wrong, so that a tied reward is wrong.
"""

from __future__ import annotations

from typing import Any

from rm.benchmarks.entry import Entry, accuracies, by_label
from rm.data.formats import benchmarks
from rm.data.formats.row import text

NAME = "judgebench"
KEYS = "question, response_A, response_B, label (A>B or B>A)"

results = accuracies

_KNOWLEDGE = "mmlu-pro"


def matches(row: dict[str, Any]) -> bool:
    """Whether the row has a question and two lettered responses."""
    return {"question", "response_A", "response_B", "label"} <= row.keys()


def read(row: dict[str, Any], stem: str) -> Entry:
    """The subset is the source; as in the benchmark, all subjects of MMLU-Pro are one subset."""
    source = text(row, "source") if row.get("source") is not None else stem
    subset = _KNOWLEDGE if source.startswith(_KNOWLEDGE) else source
    return by_label(benchmarks.judgebench(row), subset, source)
