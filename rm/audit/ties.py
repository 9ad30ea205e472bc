"""Pairs of exactly equal rewards: a coarse scale, or a model that says nothing."""

from __future__ import annotations

import numpy as np

from rm.audit.heldout import Heldout, ScoredResponses
from rm.stats.clustered import Floats, Interval
from rm.stats.finding import key
from rm.stats.measurements import Measurements

_FEW = 20
"""Levels that are a scale whatever they are."""
_MOST = 101
"""Levels of a scale from 0 to 100."""
_OFF = 0.01
"""Of a step: so far may rounding to float32 move a level."""
_SCALE = "the rewards are a scale of {} levels, on which ties are expected"
_NO_SCALE = "exactly equal rewards, which no coarse scale of rewards explains"


def add(collected: Measurements, heldout: Heldout) -> None:
    """Add ``reward_tie_share``, ``unexplained_tie_share`` and ``reward_levels``.

    Notes
    -----
    With t the share of pairs with exactly equal rewards, the unexplained share is 0 if the rewards are a scale
    (`is_scale`) and some pair does not tie, else t: a constant model, one that reads only the prompt, or fine-grained
    rewards that were clipped. Whether they are a scale is taken as given in the interval.
    """
    pairs, levels = heldout.pairs, len(np.unique(heldout.responses.reward))
    tied = (pairs.margin == 0).astype(np.float64)
    explained = is_scale(heldout.responses) and not tied.all()
    for kind, values, method in (
        ("reward_tie_share", tied, "exactly equal rewards"),
        ("unexplained_tie_share", tied * (not explained), _SCALE.format(levels) if explained else _NO_SCALE),
    ):
        share = pairs.mean(values, collected.num_clusters)
        collected.add(key(kind), share, len(tied), "share of pairs", method)
    count = len(heldout.responses.reward)
    known = Interval(float(levels), float(levels), float(levels))
    collected.add_interval(key("reward_levels"), known, count, "different rewards", "over all responses")


def is_scale(responses: ScoredResponses) -> bool:
    """Whether the rewards are the levels of a coarse scale, such as the integers from 1 to 10.

    Notes
    -----
    With L different rewards they are if ``2 <= L <= 20``, or if all lie on the steps of a ladder between the outer ones
    with at most 100 steps, as ratings from 0 to 100, halves, tenths, and means of three ratings do; and if more than
    half of the different rewards occur in several prompts. So many levels could be there, not were seen: of rewards
    that bfloat16 rounds, a small audit sees few.

    Rewards that are fine-grained but clipped also have few different values if most are clipped; but then each of the
    others occurs in one prompt only. Two levels, as of a classifier, are a scale; a reward that all responses have is
    none.
    """
    levels, level = np.unique(responses.reward, return_inverse=True)
    if len(levels) < 2 or not (len(levels) <= _FEW or _is_ladder(levels)):
        return False
    used = np.unique(np.stack([level, responses.cluster], axis=1), axis=0)[:, 0]
    return bool((np.bincount(used) > 1).mean() > 0.5)


def _is_ladder(levels: Floats) -> bool:
    """Whether levels in ascending order lie on equal steps, at most 100 of them from the lowest to the highest."""
    span = levels[-1] - levels[0]
    num_steps = np.round(span / np.diff(levels).min())
    if num_steps > _MOST - 1:
        return False
    at = (levels - levels[0]) * (num_steps / span)
    return bool((np.abs(at - np.round(at)) <= _OFF).all())
