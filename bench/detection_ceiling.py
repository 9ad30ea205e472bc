"""How often a test that knows the planted feature finds it: ``python bench/detection_ceiling.py [--repeats 20]``.

The draws of `detection.py`. The planted term itself is the only feature that is tested, so that nothing is paid for
looking at others, with the audit's own estimator at one error in twenty. No audit that does not know what was planted
finds more than this, up to the estimator; the share by kind is printed, and the mean over the kinds that at least 5 %
of the pairs have.
"""

from __future__ import annotations

import argparse
import sys
from multiprocessing import get_context
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import detection
from detection import FILES, KINDS, Pool

from rm.stats.sufficiency import Sufficiency

CRITICAL = 1.645
"""Standard normal quantile of 95 %."""

_POOL: Pool


def _start(pool: Pool) -> None:
    global _POOL  # noqa: PLW0603 - a pool's processes get what they share once
    _POOL = pool


def _one(task: tuple[str, float, float, int, int]) -> bool:
    drawn = detection.draw(_POOL, *task)
    planted = drawn.sign * _POOL.terms[task[0]][drawn.taken]
    [account], _ = Sufficiency(drawn.pairs).accounts(planted[:, None], [False])
    return account.measurable and account.bound(CRITICAL) > 0


def main() -> None:
    """Print the shares."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", choices=FILES, default="hh")
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--accuracy", type=float, default=0.75)
    args = parser.parse_args()
    pool = detection.read_pool(args.data)
    found: dict[float, list[float]] = {1.0: [], 2.0: []}
    with get_context("spawn").Pool(2, _start, (pool,)) as workers:
        for _, kind in KINDS:
            if (pool.terms[kind.name] != 0).mean() < 0.05:
                continue
            for strength, rates in found.items():
                tasks = [(kind.name, strength, args.accuracy, args.pairs, 1000 + seed) for seed in range(args.repeats)]
                rates.append(float(np.mean(workers.map(_one, tasks))))
            print(f"{kind.name:24}", *(f"{rates[-1]:>6.0%}" for rates in found.values()), flush=True)
    for strength, rates in found.items():
        told = f"a test that knows the feature finds {np.mean(rates):.0%}"
        print(f"{args.data}, {strength:g} sd, {len(rates)} kinds: {told}")


if __name__ == "__main__":
    main()
