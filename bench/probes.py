"""What the probes cost beside scoring the responses that they edit.

The small model of `training.py` with random weights scores, in turn, the chosen responses that are shared out among the
probes, and the same responses with all their edits. Tokens are what the model reads: of a prompt's
responses only what is not shared.

Usage: python bench/probes.py [--data hh] [--budget 3] [--repeats 5], with the extra `bench` installed
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import training_sides as sides

from rm.data import prompt_groups
from rm.data.manifests import DatasetManifest
from rm.probes import catalog, context, scoring
from rm.probes.allocation import Allocation, allocate
from rm.probes.config import ProbeConfig
from rm.score.scorer import Scorer

JOB = {"preset": "small", "max_tokens": 1024, "max_pairs": 32, "pairs_per_step": 32, "seed": 0}


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost of the probes beside the scoring of their parents.")
    parser.add_argument("--data", choices=sides.SOURCES, default="hh")
    parser.add_argument("--budget", type=float, default=ProbeConfig().budget)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        sides.prepare(JOB | {"data": options.data}, work)
        groups = prompt_groups.read_groups(DatasetManifest.read(work / "dataset"), "heldout")
        started = time.perf_counter()
        shared_out = allocate(context.parents(groups), catalog.PROBES, ProbeConfig(budget=options.budget))
        print(f"made the edits and shared them out in {time.perf_counter() - started:.2f} s")
        show(shared_out, measured(CountingScorer(work / "initial"), shared_out, options.repeats))


class CountingScorer(Scorer):
    """Counts the responses and tokens that it was given."""

    num_responses = num_tokens = 0

    def score_groups(self, groups: Sequence[Any], *args: Any) -> Any:
        self.num_responses += sum(len(group.response_ids) for group in groups)
        self.num_tokens += self.layout.num_tokens(list(groups))
        return super().score_groups(groups, *args)


def measured(scorer: CountingScorer, shared_out: Allocation, repeats: int) -> dict[str, dict[str, float]]:
    """Median seconds, responses and tokens of the parents, and of them with all edits, which are scored by turns."""
    parents, edits = shared_out.parents, shared_out.variants
    items = [(parent.prompt, [parent.response]) for parent in parents]
    works: dict[str, Callable[[], object]] = {
        "parents": lambda: scorer.score_items(items),
        "parents and edits": lambda: scoring.score(parents, edits, scorer.score_items),
    }
    seconds: dict[str, list[float]] = {name: [] for name in works}
    table: dict[str, dict[str, float]] = {}
    for repeat in range(repeats):
        for name in list(works)[:: -1 if repeat % 2 else 1]:
            scorer.num_responses = scorer.num_tokens = 0
            started = time.perf_counter()
            works[name]()
            seconds[name].append(time.perf_counter() - started)
            table[name] = {"responses": scorer.num_responses, "tokens": scorer.num_tokens}
    return {name: {"seconds": statistics.median(seconds[name]), **table[name]} for name in works}


def show(shared_out: Allocation, found: dict[str, dict[str, float]]) -> None:
    edited: dict[str, set[int]] = {variant.probe: set() for variant in shared_out.variants}
    for variant in shared_out.variants:
        if variant.response is not None:
            edited[variant.probe].add(variant.parent)
    print(f"{len(shared_out.parents)} parents, of which each probe edits:")
    print(", ".join(f"{probe} {len(parents)}" for probe, parents in edited.items()))
    print("                   seconds  responses    tokens")
    for name, row in found.items():
        print(f"{name:17s} {row['seconds']:8.2f} {row['responses']:10,d} {row['tokens']:9,d}")
    alone, both = found.values()
    ratios = {key: both[key] / alone[key] for key in ("seconds", "tokens")}
    print(f"with edits over parents alone: seconds {ratios['seconds']:.2f}x, tokens {ratios['tokens']:.2f}x")
    print(f"characters as shared out: {shared_out.cost:.2f}x")


if __name__ == "__main__":
    main()
