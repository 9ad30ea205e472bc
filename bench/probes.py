"""What the probes' edits cost beside scoring the responses that are edited.

The small model of `training.py` with random weights scores, in turn, the chosen responses of some held-out prompts of
HH harmless-base, and all edits of them. Tokens are what the model reads: a prompt once for all edits that share it.

Usage: python bench/probes.py [--parents 150] [--repeats 3], with the extra `bench` installed
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import training_sides as sides

from rm import evidence, probes, probing, snapshots, variants
from rm.cases import Parent
from rm.config import ProbeConfig
from rm.manifests import DatasetManifest
from rm.scorer import Scorer

JOB = {"data": "hh", "preset": "small", "max_tokens": 1024, "max_pairs": 32, "pairs_per_step": 32, "seed": 0}


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost of the probes beside the scoring of their parents.")
    parser.add_argument("--parents", type=int, default=ProbeConfig().num_parents)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        sides.prepare(JOB, work)
        rows = snapshots.read_groups(DatasetManifest.read(work / "dataset"))
        groups = [snapshots.prompt_group(row) for row in rows if row["split"] == "heldout"]
        config = ProbeConfig(num_parents=options.parents)
        parents = variants.choose(evidence.parents(groups), config)
        scorer = CountingScorer(work / "initial")
        show(parents, measured(scorer, parents, variants.variants(parents, probes.PROBES, config), options.repeats))


class CountingScorer(Scorer):
    """Says how many responses and tokens it was given."""

    def score_groups(self, groups: Sequence[Any], *args: Any) -> Any:
        self.num_responses = sum(len(group.response_ids) for group in groups)
        self.num_tokens = self.layout.num_tokens(list(groups))
        return super().score_groups(groups, *args)


def measured(
    scorer: CountingScorer, parents: list[Parent], edits: list[variants.Variant], repeats: int
) -> dict[str, dict[str, float]]:
    """Median seconds, responses and tokens of the parents alone and of all edits, which are scored by turns."""
    items = [(parent.prompt, [parent.response]) for parent in parents]
    works: dict[str, Callable[[], object]] = {
        "parents": lambda: scorer.score_items(items),
        "edits": lambda: probing.score(parents, edits, scorer.score_items),
    }
    seconds: dict[str, list[float]] = {name: [] for name in works}
    table: dict[str, dict[str, float]] = {}
    for repeat in range(repeats):
        for name in list(works)[:: -1 if repeat % 2 else 1]:
            started = time.perf_counter()
            works[name]()
            seconds[name].append(time.perf_counter() - started)
            table[name] = {"responses": scorer.num_responses, "tokens": scorer.num_tokens}
    return {name: {"seconds": statistics.median(seconds[name]), **table[name]} for name in works}


def show(parents: list[Parent], found: dict[str, dict[str, float]]) -> None:
    print(f"{len(parents)} parents")
    print("          seconds  responses    tokens  ms a response")
    for name, row in found.items():
        each = 1000 * row["seconds"] / row["responses"]
        print(f"{name:8s} {row['seconds']:8.2f} {row['responses']:10,d} {row['tokens']:9,d} {each:14.1f}")
    ratios = {key: found["edits"][key] / found["parents"][key] for key in ("seconds", "responses", "tokens")}
    print("edits over parents: " + ", ".join(f"{key} {ratio:.1f}x" for key, ratio in ratios.items()))
    one = ratios["seconds"] / ratios["responses"]
    print(f"an edit costs {one:.2f} of what its parent costs")


if __name__ == "__main__":
    main()
