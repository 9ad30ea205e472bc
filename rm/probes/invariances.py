"""Whether rewards depend on how responses are put together for scoring; they must not."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from rm.probes.context import Parent, Prompt
from rm.probes.manifests import ProbesManifest
from rm.probes.scoring import ScoreItems
from rm.score.rewards import ItemRewards
from rm.stats.clustered import Floats, Interval
from rm.stats.finding import Finding, key
from rm.stats.measurements import finding

_MOST_RESPONSES = 3
"""Of a prompt: each is scored six times, which with many long ones takes longer than the audited scores."""
TOLERANCE = 1e-3
"""Differences of rewards up to this, in standard deviations of the rewards, are rounding."""

_Items = Sequence[tuple[Prompt, Sequence[str]]]


def invariances(
    score_items: ScoreItems, parents: Sequence[Parent], other_scorers: Mapping[str, ScoreItems]
) -> tuple[Finding, ...]:
    """Differences between rewards that should be equal.

    Parameters
    ----------
    score_items : callable
        `rm.score.scorer.Scorer.score_items`.
    parents : sequence of Parent
        A few suffice. Of each, three responses at most are scored.
    other_scorers : mapping
        Scorers of the same model with other settings, such as another ``tokens_per_batch``, by name.

    Returns
    -------
    tuple of Finding
        ``invariance_difference`` is the largest absolute difference of a reward (infinite if only one way of scoring
        gives a reward). ``invariance_flips`` is the number of pairs of responses to a prompt that change order, or
        become or cease to be equal, by more than `TOLERANCE`. The label ``way`` is ``order`` (prompts and responses in
        reverse), ``alone`` (each prompt in a separate call), ``apart`` (each response only with the longest one) or a
        name from `other_scorers`. These are not estimates from a sample: each interval is the number itself.
    """
    items = [(parent.prompt, (parent.response, *parent.others)[:_MOST_RESPONSES]) for parent in parents]
    scored = score_items(items)
    reference = [found.rewards for found in scored]
    ways = {
        "order": [rewards[::-1] for rewards in _rewards(score_items, [(p, r[::-1]) for p, r in items[::-1]])[::-1]],
        "alone": [rewards for item in items for rewards in _rewards(score_items, [item])],
        "apart": _apart(score_items, items, scored),
    } | {name: _rewards(scorer, items) for name, scorer in other_scorers.items()}
    return tuple(found for way, rewards in ways.items() for found in _findings(way, reference, rewards))


def _rewards(score_items: ScoreItems, items: _Items) -> list[Floats]:
    return [found.rewards for found in score_items(items)]


def _apart(score_items: ScoreItems, items: _Items, scored: Sequence[ItemRewards]) -> list[Floats]:
    """Each response scored with the longest one that fits, so that the prompt is cut as it was for all responses."""
    pairs = []
    for (prompt, responses), together in zip(items, scored, strict=True):
        longest = responses[int(np.where(np.isfinite(together.rewards), together.num_tokens, -1).argmax())]
        pairs += [(prompt, (response, longest)) for response in responses]
    rewards = iter(_rewards(score_items, pairs))
    return [np.array([next(rewards)[0] for _ in responses]) for _, responses in items]


def _findings(way: str, one: Sequence[Floats], other: Sequence[Floats]) -> list[Finding]:
    first, second = np.concatenate([*one, []]), np.concatenate([*other, []])
    differences = np.where(np.isnan(first) & np.isnan(second), 0.0, np.abs(first - second))
    largest = float(np.nan_to_num(differences, nan=np.inf).max()) if len(differences) else math.nan
    pairs = [
        (a[i] - a[j], b[i] - b[j]) for a, b in zip(one, other, strict=True) for i, j in combinations(range(len(a)), 2)
    ]
    tolerance = TOLERANCE * float(np.nanstd(first)) if np.isfinite(first).any() else 0.0
    order_changed = f"order changed, beyond {TOLERANCE} deviations"
    flips = sum(_flipped(x, y, tolerance) for x, y in pairs)
    return [
        finding(key(kind, way=way), Interval(value, value, value), count, unit, method)
        for kind, value, count, unit, method in (
            ("invariance_difference", largest, len(first), "reward", "largest absolute difference"),
            ("invariance_flips", float(flips), len(pairs), "pairs of responses", order_changed),
        )
    ]


def _flipped(one: float, other: float, tolerance: float) -> bool:
    """Whether two differences of rewards disagree about which response is better."""
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) != math.isnan(other)
    return bool(np.sign(one) != np.sign(other)) and abs(one - other) > tolerance


def read(probed: ProbesManifest) -> tuple[Finding, ...]:
    """The findings that a stage wrote."""
    text = (probed.path / ProbesManifest.INVARIANCES_NAME).read_text(encoding="utf-8")
    return tuple(Finding.model_validate(row) for row in json.loads(text))
