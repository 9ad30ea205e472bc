"""What changed: training pairs that came since the last snapshot beside those that it had."""

from __future__ import annotations

import math

import numpy as np

from rm.labels.contrasts import Sums
from rm.labels.marks import MARKS
from rm.labels.pairs import LabelledPairs
from rm.labels.records import DriftRow, Estimate
from rm.stats.clustered import Floats, Ints
from rm.stats.sufficiency import MIN_CLUSTERS, critical_value

MOST_READ = 5_000
"""Pairs of each side that are read."""


def measure(pairs: LabelledPairs, first: Floats, second: Floats, num_draws: int, seed: int) -> tuple[DriftRow, ...]:
    """Differences of the newer pairs from the older ones, the surest first; empty if there are too few of either.

    Parameters
    ----------
    pairs : LabelledPairs
        Of `rm.labels.pairs.read_old_and_new`.
    first, second : arrays of shape (B, F)
        `rm.labels.marks.MARKS` of both sides.
    num_draws, seed : int
        Of the multiplier bootstrap.

    Notes
    -----
    Both sides are pairs of the present snapshot and have the labels that they have now; they share no pair, though they
    may share prompts, so errors are by cluster of both together. Each row is a mean over pairs: of the votes for the
    longer response, of ties, and of the mean of both responses in each mark. Changes are in standard deviations of the
    older pairs, or of all pairs where the older ones are all the same, and their intervals hold together, as those of
    `rm.labels.marks.measure` do.

    With s the standard deviation of these k pairs, and e the error of their mean by cluster, no error is below
    ``max(s, e sqrt(k)) sqrt(1 / n + 1 / m)`` for n older and m newer pairs: as if these were as different from each
    other, and as alike within a prompt. Few newer pairs may all lack a mark; their own spread would be 0 then.
    """
    new = pairs.is_new == 1
    sizes = [len(np.unique(pairs.cluster[side])) for side in (new, ~new)]
    if min(sizes) < MIN_CLUSTERS:
        return ()
    length = pairs.log_length
    longer = np.where(length > 0, pairs.preference, np.where(length < 0, 1 - pairs.preference, np.nan))
    values = {
        "votes for the longer response": longer,
        "ties": (pairs.preference == 0.5).astype(np.float64),
        **{mark.name: (first[:, at] + second[:, at]) / 2 for at, mark in enumerate(MARKS)},
    }
    compared = [(name, *_compared(each, new, pairs.cluster, pairs.num_clusters)) for name, each in values.items()]
    known = [one for one in compared if one[5] > 0]
    if not known:
        return ()
    scores = np.stack([score for *_, score, _ in known], axis=1).astype(np.float32)
    critical = critical_value(np.hstack([scores, -scores]), num_draws, seed)
    if math.isnan(critical):
        return ()
    rows = []
    for name, before, after, unit, _, error in known:
        change, half = (after - before) / unit, critical * error / unit
        estimate = Estimate(value=change, low=change - half, high=change + half)
        rows.append(DriftRow(name=name, old=before, new=after, change=estimate))
    return tuple(sorted(rows, key=lambda row: (-max(row.change.low, -row.change.high), row.name)))


def _compared(
    values: Floats, new: np.typing.NDArray[np.bool_], cluster: Ints, num_clusters: int
) -> tuple[float, float, float, Floats, float]:
    """Mean of the older and of the newer ones, spread, standardised scores by cluster, and the error.

    The error is 0 where nothing can be compared: one side has no value, or all are the same.
    """
    before, after = (Sums.of(np.where(side, values, np.nan), cluster, num_clusters) for side in (~new, new))
    counts = [float(sums.count.sum()) for sums in (before, after)]
    influence = after.influence - before.influence
    known = ~np.isnan(values)
    if not min(counts) or not np.ptp(values[known]):
        return before.mean, after.mean, 0.0, np.zeros(num_clusters), 0.0
    # The deviation of equal numbers may be a rounding error in place of 0, so their range decides.
    alike = known if not np.ptp(values[known & ~new]) else known & ~new
    reference = Sums.of(np.where(alike, values, np.nan), cluster, num_clusters).influence
    unit = float(values[alike].std())
    variance = max(unit**2, float(reference @ reference) * int(alike.sum()))
    observed, least = math.sqrt(float(influence @ influence)), math.sqrt(variance * sum(1 / count for count in counts))
    scores = influence / observed if observed else np.zeros(num_clusters)
    return before.mean, after.mean, unit, scores, max(observed, least)
