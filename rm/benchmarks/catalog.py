"""The benchmarks that are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, cast

from rm.benchmarks import judgebench, llmbar, reward_bench, reward_bench_2, rm_bench
from rm.benchmarks.entry import Answer, Entry, Result


class Benchmark(Protocol):
    """What a benchmark's module offers."""

    NAME: str
    KEYS: str

    def matches(self, row: dict[str, Any]) -> bool:
        """Whether the row is of this benchmark."""
        ...

    def read(self, row: dict[str, Any], stem: str) -> Entry:
        """The row's entry; stem is the file's name without its endings. RowError says what is wrong with the row."""
        ...

    def results(self, answers: Sequence[Answer], num_clusters: int) -> list[Result]:
        """The benchmark's numbers; the one named score is the main one."""
        ...


# RewardBench 2 before RM-Bench: both have lists of responses, and its count of correct ones tells it apart.
BENCHMARKS = tuple(cast(Benchmark, module) for module in (reward_bench, reward_bench_2, rm_bench, llmbar, judgebench))


def benchmark_of(row: Any) -> Benchmark | None:
    """The benchmark that a row is of, None if it is of none."""
    if not isinstance(row, dict):
        return None
    return next((benchmark for benchmark in BENCHMARKS if benchmark.matches(row)), None)
