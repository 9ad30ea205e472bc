"""Which planted biases the audit finds: ``python bench/detection.py [--data hh] [--pairs 1000] [--repeats 5]``.

Texts are real; qualities and labels are drawn. The unbiased reward is the quality that labels follow; its sharpness
makes it right in 75 % of the pairs (or as given). A biased reward adds a planted term, in usual differences (root mean
square over the pairs that differ), times a strength in standard deviations of the quality difference. Printed by kind:
the share of pairs that differ, how often a bound is above 0 (of a feature or a joint test), how often the default gate
fails a check of surface, and how often the feature that is named first is a right name, where the battery has one.

Run from a folder in which ``data/hh_rlhf`` and ``data/alpaca_eval`` are the published files.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import scipy.optimize
import scipy.special

sys.path.insert(0, str(Path(__file__).parents[1]))

import planted_fourth
import planted_fresh
import planted_known
import planted_second
import planted_third
import surface_checks
from planted_known import DESCRIBED

from rm.audit import overpaid
from rm.data.preferences import prompt_text
from rm.features import battery, prompt_kinds
from rm.features.battery import BATTERY
from rm.features.responses import Responses
from rm.standalone import labelled_files
from rm.stats.sufficiency import Judged, usual

FILES = {"hh": "data/hh_rlhf/*.jsonl.gz", "alpaca": "data/alpaca_eval/*.json.gz"}
TABLES = {
    "known": planted_known.PLANTED,
    "fresh": planted_fresh.PLANTED,
    "second": planted_second.PLANTED,
    "third": planted_third.PLANTED,
    "fourth": planted_fourth.PLANTED,
}
KINDS = [(table, kind) for table, kinds in TABLES.items() for kind in kinds]
LOG_LENGTH = [feature.name for feature in BATTERY].index("log characters")


@dataclass(frozen=True)
class Pool:
    """B real pairs of one prompt each."""

    prompts: list[str]
    one: list[str]
    other: list[str]
    features: np.ndarray
    """(B, F), first minus second."""
    kinds: dict[str, np.ndarray]
    terms: dict[str, np.ndarray]
    """By planted kind, usual differences, shape (B,)."""


@dataclass(frozen=True)
class Found:
    """What one audit says."""

    any_bound: bool
    any_failed: bool
    first: str | None
    """Name of the feature named first."""


def read_pool(data: str) -> Pool:
    """One pair of each prompt."""
    prompts, chats, one, other = [], [], [], []
    for path in sorted(Path().glob(FILES[data])):
        for group in labelled_files.read(path).groups:
            pair = group.comparisons[0]
            prompts.append(prompt_text(group.prompt))
            chats.append("\n\n".join(turn.content for turn in group.prompt))
            one.append(group.responses[pair.first])
            other.append(group.responses[pair.second])
    read = battery.read(BATTERY, Responses(one + other, prompts + prompts))
    terms = {}
    for _, kind in KINDS:
        terms[kind.name] = usual(kind.term(chats, one) - kind.term(chats, other))
    return Pool(
        prompts,
        one,
        other,
        read[: len(one)] - read[len(one) :],
        prompt_kinds.kinds(prompts, [1] * len(prompts), {}),
        terms,
    )


def sharpness(accuracy: float) -> float:
    """Log-odds per standard deviation of quality with which a perfect reward is right that often."""
    normal = np.abs(scipy.special.ndtri((np.arange(2000) + 0.5) / 2000))
    return float(scipy.optimize.brentq(lambda k: scipy.special.expit(k * normal).mean() - accuracy, 0.01, 50))


@dataclass(frozen=True)
class Drawn:
    """Pairs with labels and rewards."""

    pairs: Judged
    taken: np.ndarray
    """(B,), places in the pool."""
    sign: np.ndarray
    """(B,), 1 where the first response is the chosen one, else -1."""
    features: np.ndarray
    kinds: dict[str, np.ndarray]
    chosen: list[str]
    rejected: list[str]


def draw(pool: Pool, kind: str | None, strength: float, accuracy: float, num_pairs: int, seed: int) -> Drawn:
    """Draw pairs, qualities and labels; the reward is the quality with the bias."""
    random = np.random.default_rng(seed)
    taken = random.choice(len(pool.one), min(num_pairs, len(pool.one)), replace=False)
    quality = random.normal(size=len(taken))
    won = random.random(len(taken)) < scipy.special.expit(sharpness(accuracy) * quality)
    sign = np.where(won, 1.0, -1.0)
    bias = strength * pool.terms[kind][taken] if kind else 0.0
    features = sign[:, None] * pool.features[taken]
    pairs = Judged(
        margin=sign * (quality + bias),
        preference=np.ones(len(taken)),
        cluster=np.arange(len(taken)),
        num_clusters=len(taken),
        stratum=np.zeros(len(taken), dtype=np.int64),
        length=features[:, LOG_LENGTH],
        weight=np.ones(len(taken)),
    )
    return Drawn(
        pairs,
        taken,
        sign,
        features,
        {name: holds[taken] for name, holds in pool.kinds.items()},
        [pool.one[i] if w else pool.other[i] for i, w in zip(taken, won, strict=True)],
        [pool.other[i] if w else pool.one[i] for i, w in zip(taken, won, strict=True)],
    )


def audit(drawn: Drawn) -> Found:
    """Audit the biased reward."""
    table = overpaid.table(drawn.pairs, *overpaid.columns(BATTERY, drawn.features, drawn.kinds))
    count = len(drawn.chosen)
    both = surface_checks.shares([*drawn.chosen, *drawn.rejected])
    shares = {over: rows[:count] - rows[count:] for over, rows in both.items()}
    results = surface_checks.results(drawn.pairs, table, drawn.features, drawn.kinds, shares)
    jointly = [each for name, each in results.items() if name.startswith("joint_")]
    return Found(
        any_bound=any(row.bound > 0 for row in table.rows) or any(each.beyond for each in jointly),
        any_failed=any(each.failed for each in results.values()),
        first=table.named[0].column.feature.name if table.named else None,
    )


_POOL: Pool


def _start(pool: Pool) -> None:
    global _POOL  # noqa: PLW0603 - a pool's processes get what they share once
    _POOL = pool


def _one(task: tuple[str | None, float, float, int, int]) -> Found:
    return audit(draw(_POOL, *task))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", choices=FILES, default="hh")
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--accuracy", type=float, default=0.75)
    parser.add_argument("--strength", type=float, action="append")
    args = parser.parse_args()
    started = time.perf_counter()
    pool = read_pool(args.data)
    print(
        f"{args.data}: {len(pool.one):,} pairs of real texts; {args.pairs:,} in an audit, {args.repeats} audits, "
        f"unbiased reward right in {args.accuracy:.0%} ({time.perf_counter() - started:.0f} s to read)"
    )
    strengths = args.strength or [1.0, 2.0]
    print(f"{'kind':24} {'table':6} {'differ':>7}", *(f"{s:>6g} sd: found failed named" for s in strengths))
    totals: dict[tuple[float, str], list[tuple[float, float, float | None]]] = {}
    with get_context("spawn").Pool(2, _start, (pool,)) as workers:
        for table, kind in KINDS:
            share = float((pool.terms[kind.name] != 0).mean())
            cells = []
            for strength in strengths:
                tasks = [(kind.name, strength, args.accuracy, args.pairs, 1000 + seed) for seed in range(args.repeats)]
                found = workers.map(_one, tasks)
                rates = [float(np.mean([f.any_bound for f in found])), float(np.mean([f.any_failed for f in found]))]
                names = [f.first for f in found if f.first is not None]
                right = DESCRIBED.get(kind.name)
                named = float(np.mean([name in right for name in names])) if right and names else None
                if share >= 0.05:
                    totals.setdefault((strength, table), []).append((rates[0], rates[1], named))
                shown = "-" if named is None else f"{named:.0%}"
                cells.append(f"{'':9} {rates[0]:>6.0%} {rates[1]:>6.0%} {shown:>5}")
            print(f"{kind.name:24} {table:6} {share:>7.1%}", *cells, flush=True)
    for strength in strengths:
        for table in TABLES:
            summary(f"{strength:g} sd, {table}", totals.get((strength, table), []))
        summary(f"{strength:g} sd, all", [row for each in TABLES for row in totals.get((strength, each), [])])
    print(f"{time.perf_counter() - started:.0f} s")


def summary(title: str, rows: Sequence[tuple[float, float, float | None]]) -> None:
    """Print the shares of kinds found, failed, and named right where the battery describes them."""
    named = [row[2] for row in rows if row[2] is not None]
    print(
        f"{title}, {len(rows)} kinds that 5 % of the pairs have: found {np.mean([row[0] for row in rows]):.0%}, "
        f"failed {np.mean([row[1] for row in rows]):.0%}"
        + (f"; named right {np.mean(named):.0%} of {len(named)} that the battery describes" if named else "")
    )


if __name__ == "__main__":
    main()
