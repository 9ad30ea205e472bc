"""The known benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, cast

from rm.benchmarks import judgebench, llmbar, reward_bench, reward_bench_2, rm_bench
from rm.benchmarks.entry import Answer, Entry, Result


class Benchmark(Protocol):
    """The names that a benchmark's module must define."""

    NAME: str
    KEYS: str

    def matches(self, row: dict[str, Any]) -> bool:
        """Whether the row belongs to this benchmark."""
        ...

    def read(self, row: dict[str, Any], stem: str) -> Entry:
        """The row's entry; stem is the file's name without its endings. Raises RowError if the row is wrong."""
        ...

    def results(self, answers: Sequence[Answer], num_clusters: int) -> list[Result]:
        """The benchmark's scores; the main one is named ``score``."""
        ...


# RewardBench 2 before RM-Bench: both have lists of responses, but only RewardBench 2 has the number of correct ones.
BENCHMARKS = tuple(cast(Benchmark, module) for module in (reward_bench, reward_bench_2, rm_bench, llmbar, judgebench))


def benchmark_of(row: Any) -> Benchmark | None:
    """The benchmark that a row belongs to, or None."""
    if not isinstance(row, dict):
        return None
    return next((benchmark for benchmark in BENCHMARKS if benchmark.matches(row)), None)
