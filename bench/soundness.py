"""How often the audit accuses a sound model: ``python bench/soundness.py [--audits 400] [--joint]``.

Texts are real (HH harmless-base, or any files given), qualities and labels are drawn. A sound model's reward is the
quality that labels follow, with noise, in any unit; nothing in it pays for a feature beyond what quality has of it.
Each case prints in how many audits some feature has a bound above 0, and above the gate's limits, with the exact 95 %
interval of that share. With --joint, which takes ten times as long, also in how many the joint tests over surface,
words and letters are above 0, and in how many the gate fails the joint tests, what is gained without length or without
surface, or the accuracy without surface. --case NAME and --size NAME choose rows.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import scipy.special
import scipy.stats

sys.path.insert(0, str(Path(__file__).parents[1]))

import surface_checks
from surface_checks import Result

from rm.data.preferences import prompt_text
from rm.features import battery, prompt_kinds
from rm.features.battery import BATTERY
from rm.features.responses import Responses
from rm.standalone import labelled_files
from rm.stats.cross_fit import Matrix
from rm.stats.sufficiency import Judged, Sufficiency, critical_value, usual

LIMIT = {"length": 0.04, "structure": 0.04}
OTHER_LIMIT = 0.08
IS_LENGTH = [feature.family == "length" for feature in BATTERY]
LIMITS = np.array([LIMIT.get(feature.family, OTHER_LIMIT) for feature in BATTERY])
LOG_LENGTH = [feature.name for feature in BATTERY].index("log characters")


@dataclass(frozen=True)
class Texts:
    """Both responses of every pair, one after the other."""

    features: np.ndarray
    """(2 B, F)."""
    shares: dict[str, Matrix]
    """`surface_checks.shares`, 2 B rows each."""
    kinds: dict[str, np.ndarray]
    """By kind of prompt, whether the text answers one of it, (2 B,)."""


@dataclass(frozen=True)
class Audited:
    """What an audit says of a sound model."""

    alarm: bool
    """Some feature has a bound above 0."""
    failed: bool
    """One is beyond its limit."""
    worst: str
    jointly: dict[str, Result]
    """By check over everything."""


@dataclass(frozen=True)
class World:
    """Pairs of responses with their features; quality and labels are still to be drawn."""

    one: np.ndarray
    """(B, F), features of the first response of each pair."""
    other: np.ndarray
    shares: dict[str, Matrix]
    """(B, P), first minus second."""
    kinds: dict[str, np.ndarray]
    """(B,), of the first response's prompt."""
    cluster: np.ndarray
    random: np.random.Generator

    @property
    def length(self) -> np.ndarray:
        """Usual difference of log length, first minus second."""
        return usual(self.one[:, LOG_LENGTH] - self.other[:, LOG_LENGTH])


@dataclass(frozen=True)
class Drawn:
    """What a case draws for each pair, first minus second."""

    rewards: tuple[np.ndarray, np.ndarray]
    odds: np.ndarray
    """Log-odds that the label prefers the first response; NaN: a tie."""
    stratum: np.ndarray | None = None


def quality(world: World, per_length: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Qualities of both responses; their difference has a standard deviation of 1, or more where length matters."""
    shape = len(world.cluster)
    one, other = world.random.normal(scale=2**-0.5, size=(2, shape))
    return one + per_length * world.length / 2, other - per_length * world.length / 2


def noisy(world: World, qualities: tuple[np.ndarray, np.ndarray], scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Qualities seen with noise."""
    one, other = (each + world.random.normal(scale=scale / 2**0.5, size=len(each)) for each in qualities)
    return one, other


SHARP = 2.0
"""Log-odds per standard deviation of quality: a perfect reward is then right in about 75 % of the pairs."""


def plain(noise: float) -> Callable[[World], Drawn]:
    def draw(world: World) -> Drawn:
        qualities = quality(world)
        return Drawn(noisy(world, qualities, noise), SHARP * (qualities[0] - qualities[1]))

    return draw


def by_length(share: float, follows: bool) -> Callable[[World], Drawn]:
    """Labels take the longer response in this share of the pairs, by length itself; the model knows it, or does not."""

    def draw(world: World) -> Drawn:
        qualities = quality(world)
        pull = _pull(share, world.length)
        odds = SHARP * (qualities[0] - qualities[1]) + pull * np.sign(world.length)
        if follows:
            return Drawn((odds / 2, -odds / 2), odds)
        return Drawn(noisy(world, qualities, 0.5), odds)

    return draw


def longer_better(share: float, noise: float) -> Callable[[World], Drawn]:
    """Longer responses are truly better, so that labels take them in about this share of the pairs."""

    def draw(world: World) -> Drawn:
        qualities = quality(world, _per_length(share))
        return Drawn(noisy(world, qualities, noise), SHARP * (qualities[0] - qualities[1]))

    return draw


def _pull(share: float, length: np.ndarray) -> float:
    points = np.linspace(0, 12, 241)
    normal = scipy.special.ndtri((np.arange(200) + 0.5) / 200)
    shares = [scipy.special.expit(SHARP * normal + point).mean() for point in points]
    return float(np.interp(share, shares, points))


def _per_length(share: float) -> float:
    """Quality per usual difference of length; lengths are about normal."""
    normal = scipy.special.ndtri((np.arange(100) + 0.5) / 100)
    points = np.linspace(0, 8, 161)
    longer = np.abs(normal)[None, :, None]
    shares = scipy.special.expit(SHARP * (normal[None, None, :] + points[:, None, None] * longer)).mean(axis=(1, 2))
    return float(np.interp(share, shares, points))


def blunter_in_a_domain(world: World) -> Drawn:
    """Half of the prompts are of a domain with blunt labels; the reward is the quality."""
    qualities = quality(world, 0.5)
    stratum = world.cluster % 2
    return Drawn(qualities, np.where(stratum, 0.5, 3.0) * (qualities[0] - qualities[1]), stratum)


def blunter_where_lengths_differ(world: World) -> Drawn:
    """Labels are blunt where one response is much longer; the reward is the quality."""
    qualities = quality(world, 0.5)
    sharp = np.where(np.abs(world.length) > np.median(np.abs(world.length)), 0.7, 3.0)
    return Drawn(qualities, sharp * (qualities[0] - qualities[1]))


def changed(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[World], Drawn]:
    """The rewards of a plain sound model in another unit."""

    def draw(world: World) -> Drawn:
        drawn = plain(0.7)(world)
        return Drawn((change(drawn.rewards[0]), change(drawn.rewards[1])), drawn.odds)

    return draw


def tied(world: World) -> Drawn:
    """A fifth of the labels are ties, where qualities are close, and rewards are rounded."""
    drawn = plain(0.7)(world)
    close = np.abs(drawn.odds) < np.quantile(np.abs(drawn.odds), 0.2)
    one, other = (np.round(each, 1) for each in drawn.rewards)
    return Drawn((one, other), np.where(close, np.nan, drawn.odds))


CASES: dict[str, Callable[[World], Drawn]] = {
    "noise 0: perfect": plain(0.0),
    "noise 0.7": plain(0.7),
    "noise 2": plain(2.0),
    **{f"labels by length {share}, indifferent": by_length(share, False) for share in (0.5, 0.7, 0.9)},
    **{f"labels by length {share}, following": by_length(share, True) for share in (0.7, 0.9)},
    **{f"longer better {share}, perfect": longer_better(share, 0.0) for share in (0.6, 0.75, 0.9)},
    **{f"longer better {share}, noisy": longer_better(share, 1.0) for share in (0.6, 0.75, 0.9)},
    "blunter in a domain": blunter_in_a_domain,
    "blunter where lengths differ": blunter_where_lengths_differ,
    "ties": tied,
    "heavy tails": changed(lambda reward: np.sinh(3 * reward)),
    "squashed": changed(lambda reward: scipy.special.expit(4 * reward)),
    "times 1e6": changed(lambda reward: 1e6 * reward),
    "plus 1e9": changed(lambda reward: 1e9 + reward),
    "integers 1 to 5": changed(lambda reward: np.clip(np.round(3 + 1.5 * reward), 1, 5)),
    "integers 1 to 10": changed(lambda reward: np.clip(np.round(5.5 + 3 * reward), 1, 10)),
}
SIZES = {
    "50 prompts": (50, 1),
    "300 prompts": (300, 1),
    "3,000 prompts": (3000, 1),
    "4 responses": (150, 4),
    "9 responses": (28, 9),
}
"""Prompts, and responses per prompt (1: one pair); each with a plain and a length-loving quality."""


def world_of(texts: Texts, num_prompts: int, per_prompt: int, random: np.random.Generator) -> World:
    """Real pairs, or all pairs of several responses that are put together as if to one prompt."""
    pairs = len(texts.features) // 2
    if per_prompt == 1:
        taken = random.choice(pairs, min(num_prompts, pairs), replace=False)
        one, other, cluster = 2 * taken, 2 * taken + 1, np.arange(len(taken))
    else:
        rows = random.choice(len(texts.features), (num_prompts, per_prompt))
        left, right = np.triu_indices(per_prompt, 1)
        one, other, cluster = (
            rows[:, left].ravel(),
            rows[:, right].ravel(),
            np.repeat(np.arange(num_prompts), len(left)),
        )
    return World(
        texts.features[one],
        texts.features[other],
        {over: rows[one] - rows[other] for over, rows in texts.shares.items()},
        {name: holds[one] for name, holds in texts.kinds.items()},
        cluster,
        random,
    )


@dataclass(frozen=True)
class Seen:
    """Pairs with labels drawn, chosen minus rejected."""

    pairs: Judged
    differences: np.ndarray
    kinds: dict[str, np.ndarray]
    shares: dict[str, Matrix]


def judged(world: World, drawn: Drawn) -> Seen:
    """Draw the labels."""
    with np.errstate(invalid="ignore"):
        won = world.random.random(len(drawn.odds)) < scipy.special.expit(drawn.odds)
    kept = np.isfinite(drawn.odds)
    sign = np.where(won, 1.0, -1.0)[kept]
    differences = sign[:, None] * (world.one - world.other)[kept]
    stratum = np.zeros(len(won), dtype=np.int64) if drawn.stratum is None else drawn.stratum
    pairs = Judged(
        margin=sign * (drawn.rewards[0] - drawn.rewards[1])[kept],
        preference=np.ones(kept.sum()),
        cluster=world.cluster[kept],
        num_clusters=int(world.cluster.max()) + 1,
        stratum=stratum[kept],
        length=differences[:, LOG_LENGTH],
        weight=np.ones(kept.sum()),
    )
    return Seen(
        pairs,
        differences,
        {name: holds[kept] for name, holds in world.kinds.items()},
        {over: rows[kept].multiply(sign[:, None]).tocsr() for over, rows in world.shares.items()},
    )


def audit(world: World, draw: Callable[[World], Drawn], *, jointly: bool) -> Audited:
    """The test of every feature, and the joint tests if asked."""
    seen = judged(world, draw(world))
    accounts, scores = Sufficiency(seen.pairs).accounts(seen.differences, IS_LENGTH)
    critical = critical_value(scores, 500, int(world.random.integers(2**31)))
    bounds = np.nan_to_num([each.bound(critical) for each in accounts], nan=-1.0)
    return Audited(
        alarm=bool((bounds > 0).any()),
        failed=bool((bounds > LIMITS).any()),
        worst=BATTERY[int(bounds.argmax())].name,
        jointly=surface_checks.results(seen.pairs, None, seen.differences, seen.kinds, seen.shares) if jointly else {},
    )


_TEXTS: Texts


def _start(texts: Texts) -> None:
    global _TEXTS  # noqa: PLW0603 - a pool's processes get what they share once
    _TEXTS = texts


def _one(task: tuple[str, str, int, bool]) -> Audited:
    case, size, seed, jointly = task
    random = np.random.default_rng(seed)
    num_prompts, per_prompt = SIZES.get(size, (1000, 1))
    return audit(world_of(_TEXTS, num_prompts, per_prompt, random), CASES[case], jointly=jointly)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("files", nargs="*", default=["data/hh_rlhf/*.jsonl.gz"])
    parser.add_argument("--audits", type=int, default=400)
    parser.add_argument("--joint", action="store_true")
    parser.add_argument("--case", action="append")
    parser.add_argument("--size", action="append")
    args = parser.parse_args()
    texts = read_texts(args.files)
    tasks = [(case, "1,000 prompts") for case in CASES]
    tasks += [(case, size) for size in SIZES for case in ("noise 0.7", "longer better 0.75, noisy")]
    print(f"{len(texts.features) // 2:,} pairs of real texts, {len(BATTERY)} features, {args.audits} audits per row")
    print(f"{'case':42} {'size':15} {'bound > 0':>22} {'above the limit':>22}  worst features")
    every: dict[str, list[Result]] = {}
    with get_context("spawn").Pool(2, _start, (texts,)) as pool:
        for case, size in tasks:
            if case not in (args.case or [case]) or size not in (args.size or [size]):
                continue
            started = time.perf_counter()
            found = pool.map(_one, [(case, size, seed, args.joint) for seed in range(args.audits)], chunksize=5)
            alarms, fails = sum(each.alarm for each in found), sum(each.failed for each in found)
            worst = [each.worst for each in found if each.alarm]
            common = sorted(set(worst), key=worst.count, reverse=True)[:3]
            shown = [f"{count / args.audits:6.1%} {_exact(count, args.audits)}" for count in (alarms, fails)]
            seconds = time.perf_counter() - started
            print(
                f"{case:42} {size:15} {shown[0]:>22} {shown[1]:>22}  {', '.join(common)} ({seconds:.0f} s)", flush=True
            )
            for name in found[0].jointly:
                results = [each.jointly[name] for each in found]
                every.setdefault(name, []).extend(results)
                print(f"    {name:30} {_rates(results)}", flush=True)
    for name, results in every.items():
        print(f"{name}, {len(results):,} audits: {_rates(results)}")


def _rates(results: list[Result]) -> str:
    beyond, failed = sum(each.beyond for each in results), sum(each.failed for each in results)
    total = len(results)
    return (
        f"beyond 0 in {beyond / total:.1%} {_exact(beyond, total)}, failed in {failed / total:.1%} "
        f"{_exact(failed, total)}"
    )


def _exact(count: int, total: int) -> str:
    interval = scipy.stats.binomtest(count, total).proportion_ci(method="exact")
    return f"[{interval.low:.3f}, {interval.high:.3f}]"


def read_texts(patterns: list[str]) -> Texts:
    """Both responses of every pair, one after the other."""
    texts, prompts = [], []
    for path in sorted(path for pattern in patterns for path in Path().glob(pattern)):
        for group in labelled_files.read(path).groups:
            for pair in group.comparisons:
                texts += [group.responses[pair.first], group.responses[pair.second]]
                prompts += [prompt_text(group.prompt)] * 2
    found = prompt_kinds.kinds(prompts, [1] * len(prompts), {})
    return Texts(battery.read(BATTERY, Responses(texts, prompts)), surface_checks.shares(texts), found)


if __name__ == "__main__":
    main()
