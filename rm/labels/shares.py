"""Shares of votes, with intervals that few prompts do not make too narrow."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from rm.labels.records import Estimate
from rm.stats.clustered import Floats, Interval, Ints, wilson_interval
from rm.stats.sufficiency import MIN_CLUSTERS


def share(values: Floats, clusters: Ints, where: NDArray[np.bool_] | None = None) -> Interval:
    """Mean of some values in [0, 1] with its 95 % interval; no interval for fewer than 15 clusters.

    Parameters
    ----------
    values : array of shape (N,)
    clusters : array of shape (N,)
        Cluster of each value.
    where : array of bool, shape (N,), optional
        Values to look at. Default: all.

    Notes
    -----
    Wilson's interval for ``(sum m)^2 / sum m^2`` trials, with m the number of values of each cluster: so many clusters
    of one size say as much as these if the values of a cluster are all the same (Kish 1965, Survey Sampling). Where
    they are not it is too wide. A bootstrap's is too narrow for few clusters, and has no width at a share of 0 or 1.
    """
    chosen = np.arange(len(values)) if where is None else np.flatnonzero(where)
    if not len(chosen):
        return Interval(math.nan, math.nan, math.nan)
    sizes = np.unique(clusters[chosen], return_counts=True)[1].astype(np.float64)
    mean = float(values[chosen].mean())
    if len(sizes) < MIN_CLUSTERS:
        return Interval(mean, math.nan, math.nan)
    trials = float(sizes.sum() ** 2 / (sizes**2).sum())
    bounds = wilson_interval(mean * trials, trials)
    return Interval(mean, bounds.low, bounds.high)


def of_known(values: Floats, clusters: Ints) -> Estimate:
    """`share` of the values that are not NaN."""
    found = share(values, clusters, ~np.isnan(values))
    return Estimate(value=found.estimate, low=found.low, high=found.high)
