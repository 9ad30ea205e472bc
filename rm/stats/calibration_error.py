"""The calibration error by bins, without the part that chance alone adds."""

from __future__ import annotations

import math

import numpy as np

from rm.stats.clustered import Floats, Interval, Ints

_NORMAL_QUANTILE = 1.959963984540054


def root_mean_square(gap: Floats, bins: Ints, clusters: Ints, weight: Floats | None = None) -> Interval:
    """The signed root of the debiased mean square of the bins' mean gaps, with its 95 % interval.

    Parameters
    ----------
    gap : array of shape (B,)
        Outcome minus the probability that was claimed for it.
    bins : array of shape (B,)
        Number of the bin of each pair, 0 or more.
    clusters : array of shape (B,)
        Cluster of each pair, 0 or more.
    weight : array of shape (B,), optional
        Of each pair, above 0; default: 1. A pair of weight w counts w times in every sum and number.

    Returns
    -------
    Interval
        ``sign(x) sqrt(|x|)`` of the square and its bounds. Below 0 the bins' gaps are smaller than those that chance
        leaves on average. NaN if no bin has pairs of two clusters.

    Notes
    -----
    With S_c the sum of the gaps of a bin's pairs of cluster c, n_c their number and w the bin's share of the pairs, the
    square is the sum over bins of::

        w * ((sum_c S_c)^2 - sum_c S_c^2) / ((sum_c n_c)^2 - sum_c n_c^2)

    the mean product of two gaps from different clusters: without bias, since a gap is never multiplied with itself. A
    bin with pairs of only one cluster has no such product; it is left out, and the others' shares add up to 1.

    For the interval let m be the vector of the bins' ``sqrt(a) sum_c S_c`` with a the factor of the bin's products
    above, and V the covariance of m by cluster: the sum over clusters of products of ``sqrt(a) (S_c - n_c mean gap)``,
    times k / (k - 1) for a bin of k clusters. The square ``q = m'm - tr V`` varies by ``4 mu'V mu + 2 tr V^2``, with mu
    the mean of m. The first term grows with the true square, as ``4 v mu'mu`` with ``v = m'V m / m'm``; so the
    interval has all t with ``(q - t)^2 <= 1.96^2 (4 v t + 2 tr V^2)``, as Wilson's has for a share, and q itself. With
    the variance at q instead it covers 88 % where errors are small but not 0. In a calibrated model only the second
    term is left, which a usual bootstrap does not see. The root grows with the square, so its interval covers as often.

    References
    ----------
    Kumar, Liang and Ma (2019), Verified Uncertainty Calibration, NeurIPS. arXiv:1909.10155 (the debiased square).
    Broecker (2012), Estimating reliability and resolution of probability forecasts through decomposition of the
    empirical score, Climate Dynamics 39, 655-667. doi:10.1007/s00382-011-1191-1 (the bias).
    Sun, Chaudhari, Barnett and Dobriban (2024), A Confidence Interval for the l2 Expected Calibration Error.
    arXiv:2408.08998 (the normal limits, in calibrated models and in others).
    """
    sums, counts = _by_bin(gap, bins, clusters, np.ones(len(gap)) if weight is None else weight)
    num_clusters = (counts > 0).sum(axis=0)
    kept = num_clusters > 1
    if not kept.any():
        return Interval(math.nan, math.nan, math.nan)
    sums, counts, num_clusters = sums[:, kept], counts[:, kept], num_clusters[kept]
    total = counts.sum(axis=0)
    factor = np.sqrt(total / total.sum() / (total**2 - (counts**2).sum(axis=0)))
    scaled = sums * factor
    mean = scaled.sum(axis=0)
    square = float((mean**2 - (scaled**2).sum(axis=0)).sum())
    rest = (sums - counts * (sums.sum(axis=0) / total)) * factor * np.sqrt(num_clusters / (num_clusters - 1))
    covariance = rest.T @ rest
    squared = float((covariance**2).sum())
    along = float(mean @ covariance @ mean) / float(mean @ mean) if mean.any() else 0.0
    centre = square + 2 * _NORMAL_QUANTILE**2 * along
    half = math.sqrt(max(centre**2 - square**2, 0.0) + 2 * _NORMAL_QUANTILE**2 * squared)
    return Interval(*map(_signed_root, (square, min(square, centre - half), centre + half)))


def _by_bin(gap: Floats, bins: Ints, clusters: Ints, weight: Floats) -> tuple[Floats, Floats]:
    """Sum of gaps and number of pairs of each cluster in each bin, both weighted, shape (C, K) each."""
    cluster = np.unique(clusters, return_inverse=True)[1]
    shape = int(cluster.max(initial=-1)) + 1, int(bins.max(initial=-1)) + 1
    cell = cluster * shape[1] + bins
    size = shape[0] * shape[1]
    # Of no pairs, bincount gives whole numbers.
    counts = np.bincount(cell, weight, size).astype(np.float64)
    sums = np.bincount(cell, weight * gap, size).astype(np.float64)
    return sums.reshape(shape), counts.reshape(shape)


def _signed_root(square: float) -> float:
    return math.copysign(math.sqrt(abs(square)), square)
