"""Length bias beyond what a sound model can show; the gate judges this.

Annotators may choose longer responses because they are better, or because they are longer; the data do not tell which.
In the first case a sound model prefers the longer response as often as the annotators do, and given the label its
rewards do not depend on length. In the second case a sound model is indifferent to length. A longer chosen response was
then often chosen for its length and is less clearly better, so the model's margin, chosen minus rejected, *falls* with
length, although the model has no bias. Any mixture of the two cases lies between them. A statistic's overshoot is how
far it lies outside this span: 0 within it, positive towards long responses, negative towards short ones.
"""

from __future__ import annotations

import numpy as np

from rm.audit.heldout import ScoredPairs
from rm.stats import clustered
from rm.stats.clustered import Floats, Statistic
from rm.stats.correlation import pearson


def overshoots(pairs: ScoredPairs, num_clusters: int) -> dict[str, Statistic]:
    """The overshoots of three statistics of length, by name of the statistic.

    Notes
    -----
    Let m be the margin and d the length difference, both chosen minus rejected. Let a be the accuracy, p the share of
    pairs in which annotators prefer the longer response, and q the share in which the model does, all three over pairs
    of unequal length. Each statistic has a span:

    * ``preference``: q, between p (longer is better) and 1/2 (chosen for length alone).
    * ``label_controlled``: the correlation of m and d, between 0 and ``-mean(m) mean(d) / (sd(m) sd(d))``. At that
      value the sum of all ``m d`` is 0, and swapping the responses of a pair does not change the sum.
    * ``split_gap``: accuracy where the chosen response is longer minus accuracy where it is shorter, between 0 and
      ``(a - 1/2) / 2 (1 / p - 1 / (1 - p))``, the gap of a model with accuracy a and q = 1/2.
    """
    longer, shorter = pairs.length_difference > 0, pairs.length_difference < 0
    differs = longer | shorter

    def mean(values: Floats, where: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Statistic:
        return clustered.mean(values, pairs.cluster, num_clusters, where)

    label = mean(longer.astype(np.float64), differs)
    model = mean(np.where(longer, pairs.correct, 1 - pairs.correct), differs)
    accuracy = mean(pairs.correct, differs)
    gap = clustered.difference(mean(pairs.correct, longer), mean(pairs.correct, shorter))

    indifferent_gap = clustered.combined(_indifferent_gap, label, accuracy)
    return {
        "preference": _beyond(model, label, 0.5),
        "label_controlled": _beyond(*_controlled(pairs, num_clusters), 0.0),
        "split_gap": _beyond(gap, indifferent_gap, 0.0),
    }


def _indifferent_gap(label: Floats, accuracy: Floats) -> Floats:
    share = np.where((label > 0) & (label < 1), label, np.nan)
    return (accuracy - 0.5) / 2 * (1 / share - 1 / (1 - share))


def _beyond(statistic: Statistic, end: Statistic, other_end: float) -> Statistic:
    """How far a statistic lies outside the span between another statistic and a number."""

    def value(found: Floats, ends: Floats) -> Floats:
        return found - np.clip(found, np.minimum(ends, other_end), np.maximum(ends, other_end))

    return clustered.combined(value, statistic, end)


def _controlled(pairs: ScoredPairs, num_clusters: int) -> tuple[Statistic, Statistic]:
    """The label-controlled correlation, and its value for a model that is indifferent to length."""
    correlation = pearson(pairs.margin, pairs.length_difference, pairs.cluster, num_clusters)
    margin, difference = pairs.margin, pairs.length_difference
    means = [clustered.mean(values, pairs.cluster, num_clusters) for values in (margin, difference)]
    squares = [clustered.mean(values**2, pairs.cluster, num_clusters) for values in (margin, difference)]

    return correlation, clustered.combined(_indifferent_correlation, *means, *squares)


def _indifferent_correlation(margin: Floats, difference: Floats, margin_squared: Floats, squared: Floats) -> Floats:
    spread = [margin_squared - margin**2, squared - difference**2]
    product = np.where((spread[0] > 0) & (spread[1] > 0), spread[0] * spread[1], np.nan)
    return -margin * difference / np.sqrt(product)
