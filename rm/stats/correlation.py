"""Correlations, as statistics of cluster weights."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from rm.stats.clustered import Floats, Ints, Statistic

_MAX_RANKED_AGAIN = 2000
_FEW = 100
_NO_VARIANCE = 1e-12


def pearson(x: Floats, y: Floats, clusters: Ints, num_clusters: int, weight: Floats | None = None) -> Statistic:
    """Pearson's correlation; NaN where x or y does not vary.

    Parameters
    ----------
    x, y : array of shape (B,)
    clusters : array of shape (B,)
        Cluster of each value, in [0, num_clusters).
    num_clusters : int
    weight : array of shape (B,), optional
        Of each pair of values, above 0; default: 1.

    Notes
    -----
    Computed from the weighted cluster sums of 1, x, y, x^2, y^2 and xy. x and y are centred before, since large offsets
    would lose precision.
    """
    x, y, w = x - x.mean(), y - y.mean(), np.ones_like(x) if weight is None else weight
    moments = [w, w * x, w * y, w * x * x, w * y * y, w * x * y]
    columns = [np.bincount(clusters, moment, num_clusters).astype(np.float64) for moment in moments]
    return Statistic(lambda sums, _: _correlation(*sums.T), np.stack(columns, axis=1))


def spearman(x: Floats, y: Floats, clusters: Ints, num_clusters: int) -> Statistic:
    """Spearman's rank correlation; tied values get their mean rank.

    Parameters
    ----------
    x, y : array of shape (B,)
    clusters : array of shape (B,)
        Cluster of each value, in [0, num_clusters).
    num_clusters : int

    Notes
    -----
    With at most 2,000 clusters, or where nearly all values of x or of y are equal, each resample is ranked again. With
    more clusters that is slow, and `_ranked_once` approximates it: its error falls with the number of clusters n, the
    width of an interval only with sqrt(n).
    """
    dense_x, dense_y = (np.unique(values, return_inverse=True)[1] for values in (x, y))
    num_other = min(len(x) - np.bincount(dense, minlength=1).max() for dense in (dense_x, dense_y))
    if len(np.unique(clusters)) > _MAX_RANKED_AGAIN and num_other > _FEW:
        return _ranked_once(dense_x, dense_y, clusters, num_clusters)

    def one(weights: Floats) -> float:
        w = weights[clusters]
        if not w.any():
            return math.nan  # a resample of clusters without data
        rank_x, rank_y = _mid_ranks(dense_x, w), _mid_ranks(dense_y, w)
        total = w.sum()
        rank_x, rank_y = rank_x - w @ rank_x / total, rank_y - w @ rank_y / total
        wx, wy = w * rank_x, w * rank_y
        return float(_correlation(total, wx.sum(), wy.sum(), wx @ rank_x, wy @ rank_y, wx @ rank_y))

    return Statistic(lambda _, weights: np.array([one(row) for row in weights]), np.empty((num_clusters, 0)))


def _mid_ranks(dense: Ints, weights: Floats) -> Floats:
    """Mean rank of each value in a sample that holds it ``weights`` times; ``dense`` are dense ranks from 0."""
    totals = np.bincount(dense, weights)
    ranks: Floats = (np.cumsum(totals) - totals + (totals + 1) / 2)[dense]
    return ranks


def _ranked_once(dense_x: Ints, dense_y: Ints, clusters: Ints, num_clusters: int) -> Statistic:
    """Spearman's correlation to first order in the weights, exact where all weights are 1.

    Parameters
    ----------
    dense_x, dense_y : array of shape (B,)
        Dense ranks from 0.
    clusters : array of shape (B,)
    num_clusters : int

    Notes
    -----
    Let a and b be the ranks of x and y divided by n, shifted to [-1/2, 1/2]. The covariance of the ranks is
    S = mean(a b). Its derivative with respect to the weight of value k, times n, is

        h_k - 3 S,  h_k = a_k b_k + mean(b [x > x_k]) + mean(a [y > y_k]),  where a tie in [] counts one half.

    The first term is the product of the value's ranks; the two others come from the ranks of all larger values, which
    it moves. The variances are the same with y = x. So S at other weights is about mean(h) - 2 S, with the mean taken
    at these weights.

    References
    ----------
    Davison and Hinkley (1997), Bootstrap Methods and their Application, section 2.7 (nonparametric delta method).
    """
    ranks, above = zip(*(_centred_ranks(dense) for dense in (dense_x, dense_y)), strict=True)
    pairs = ((0, 1), (0, 0), (1, 1))
    moves = [ranks[i] * ranks[j] + above[i](ranks[j]) + above[j](ranks[i]) for i, j in pairs]
    now = np.array([float((ranks[i] * ranks[j]).mean()) for i, j in pairs])
    columns = [np.bincount(clusters, column, num_clusters) for column in (np.ones(len(clusters)), *moves)]

    def value(sums: Floats, _: Floats) -> Floats:
        total = np.where(sums[:, 0] > 0, sums[:, 0], np.nan)
        covariance, variance_x, variance_y = (sums[:, 1:] / total[:, None] - 2 * now).T
        varies = (variance_x > _NO_VARIANCE) & (variance_y > _NO_VARIANCE)
        spread = np.sqrt(np.where(varies, variance_x * variance_y, np.nan))
        return np.asarray(np.clip(covariance / spread, -1, 1), dtype=np.float64)

    return Statistic(value, np.stack(columns, axis=1))


def _centred_ranks(dense: Ints) -> tuple[Floats, Callable[[Floats], Floats]]:
    """Ranks from -1/2 to 1/2, and a function: for each value k, the mean of ``others`` over the values above k."""
    count = len(dense)

    def above(others: Floats) -> Floats:
        totals = np.bincount(dense, others)
        found: Floats = (totals.sum() - np.cumsum(totals) + totals / 2)[dense] / count
        return found

    return (_mid_ranks(dense, np.ones(count)) - 0.5) / count - 0.5, above


def _correlation(n: Floats, sx: Floats, sy: Floats, sxx: Floats, syy: Floats, sxy: Floats) -> Floats:
    variance_x, variance_y = n * sxx - sx * sx, n * syy - sy * sy
    # Rounding gives constant values a variance of about 1e-16 times their squares; that counts as none.
    varies = (variance_x > 1e-12 * n * sxx) & (variance_y > 1e-12 * n * syy)
    spread = np.sqrt(np.where(varies, variance_x * variance_y, np.nan))
    correlation: Floats = np.clip((n * sxy - sx * sy) / spread, -1, 1)
    return correlation
