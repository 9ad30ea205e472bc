"""Differences of means over clustered rows, with standard errors from a formula.

Where many of them are tested together, a bootstrap of each would take long.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from rm.stats.clustered import Floats, Ints


@dataclass(frozen=True, slots=True)
class Sums:
    """Of some rows, by cluster."""

    total: Floats
    """(C,)"""
    count: Floats
    """(C,)"""

    @classmethod
    def of(cls, values: Floats, clusters: Ints, num_clusters: int) -> Sums:
        """Of values of shape (N,), without those that are NaN."""
        known = ~np.isnan(values)
        total = np.bincount(clusters[known], values[known], num_clusters).astype(np.float64)
        return cls(total, np.bincount(clusters[known], minlength=num_clusters).astype(np.float64))

    def minus(self, other: Sums) -> Sums:
        """The sums without those of rows that are among them."""
        return Sums(self.total - other.total, self.count - other.count)

    def gathered(self, seen: Ints) -> Sums:
        """The sums of some clusters, and of all others as one, which is the last."""
        return Sums(*(np.append(each[seen], each.sum() - each[seen].sum()) for each in (self.total, self.count)))

    @property
    def mean(self) -> float:
        """NaN without rows."""
        count = float(self.count.sum())
        return float(self.total.sum()) / count if count else math.nan

    @property
    def num_clusters(self) -> int:
        """Clusters with a row."""
        return int((self.count > 0).sum())

    @property
    def influence(self) -> Floats:
        """What each cluster adds to the error of the mean, shape (C,); sums to 0."""
        count = float(self.count.sum())
        return (self.total - self.mean * self.count) / count if count else np.zeros_like(self.total)


def _error(influence: Floats, num_clusters: int) -> float:
    """``sqrt(C / (C - 1) sum e^2)`` for the influences e of C clusters (Liang and Zeger 1986, Biometrika 73, 13-22)."""
    return math.sqrt(num_clusters / (num_clusters - 1) * float(influence @ influence))


def p_value(own: Sums, others: Sums, margin: float, side: int) -> float:
    """How likely such a difference of shares is by chance if the true one is within a margin.

    Parameters
    ----------
    own, others : Sums
        Of values in [0, 1], which may share clusters.
    margin : float
    side : int
        -1: only a lower share of ``own`` counts; 0: a lower or a higher one.

    Returns
    -------
    float
        NaN if one of them has fewer than two clusters.

    Notes
    -----
    A t statistic with one degree of freedom fewer than the fewer clusters. The standard error is not below that of
    independent votes with the share of the others: where an annotator agrees always, the robust one would be 0.
    """
    fewest = min(own.num_clusters, others.num_clusters)
    if fewest < 2:
        return math.nan
    difference = own.mean - others.mean
    if side < 0 and difference > 0:
        return 1.0
    binomial = others.mean * (1 - others.mean) * (1 / own.count.sum() + 1 / others.count.sum())
    error = max(_error(own.influence - others.influence, fewest), math.sqrt(max(binomial, 0.0)))
    beyond = abs(difference) - margin
    if not error:
        return float(beyond <= 0)
    tail = float(scipy.stats.t.sf(beyond / error, fewest - 1))
    return min(1.0, tail if side else 2 * tail)


def holm(p_values: Floats, level: float = 0.05) -> NDArray[np.bool_]:
    """Which hypotheses are rejected, shape (N,), so that the chance of any false rejection is at most the level.

    NaN is never rejected and does not count as a test.

    References
    ----------
    Holm (1979), Scandinavian Journal of Statistics 6, 65-70.
    """
    rejected = np.zeros(len(p_values), dtype=bool)
    tested = np.flatnonzero(~np.isnan(p_values))
    for place, at in enumerate(tested[np.argsort(p_values[tested], kind="stable")].tolist()):
        if p_values[at] > level / (len(tested) - place):
            break
        rejected[at] = True
    return rejected
