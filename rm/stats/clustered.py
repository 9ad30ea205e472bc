"""Statistics of clustered data with bootstrap intervals.

A statistic is a function of cluster weights. With all weights 1 it gives the estimate; with the counts of a resample it
gives the value of that resample. So the estimate and its interval come from one definition. Clusters are prompts, and
near-duplicate prompts are one: responses and pairs of one prompt are not independent, and resampling them one by one
gives intervals that are too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Name = TypeVar("Name", bound=Hashable)

_RESAMPLES_AT_ONCE = 64
_MIN_FINITE_SHARE = 0.95
_SAME = 1e-12


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and its 95 % interval; NaN where they are undefined."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class Statistic:
    """One number, or F numbers, as a function of the weights of the clusters.

    Most statistics need only sums over the clusters of a resample. In this form, hundreds of statistics take a single
    matrix product for all resamples.
    """

    value: Callable[..., Floats]
    """Computes the statistic. With ``parts`` it gets their values; without parts it gets the weighted sums of
    ``columns``, shape (R, M), and the weights, shape (R, C)."""
    columns: Floats | None = None
    """The values of each cluster that are summed, shape (C, M); only without parts."""
    parts: tuple[Statistic, ...] = ()
    """Other statistics that this one is computed from."""

    def __call__(self, weights: Floats) -> Floats:
        """Compute the statistic for R resamples.

        Parameters
        ----------
        weights : array of shape (R, C)
            One row per resample, one column per cluster.

        Returns
        -------
        array of shape (R,) or (R, F)
        """
        (values,) = _Plan([self])(weights)
        return values


def combined(function: Callable[..., Floats], *parts: Statistic) -> Statistic:
    """A statistic that is a function of other statistics, computed on the same resamples.

    Parameters
    ----------
    function : callable
        Gets the values of each part, shape (R,) or (R, F), and gives an array of such a shape.
    *parts : Statistic

    Raises
    ------
    ValueError
        If there are no parts.
    """
    if not parts:
        raise ValueError("combined: expected at least one statistic")
    return Statistic(function, parts=parts)


def mean(
    values: Floats,
    clusters: Ints,
    num_clusters: int,
    where: NDArray[np.bool_] | None = None,
    weight: Floats | None = None,
) -> Statistic:
    """Mean of the values, or of the values where ``where`` is true.

    Parameters
    ----------
    values : array of shape (B,)
    clusters : array of shape (B,)
        Cluster of each value, in [0, num_clusters).
    num_clusters : int
    where : array of bool, shape (B,), optional
    weight : array of shape (B,), optional
        Of each value, above 0; default: 1.

    Notes
    -----
    A ratio of sums over clusters, never a mean of cluster means. NaN where no value is selected.
    """
    counted = np.ones(len(values)) if weight is None else weight
    counted = counted if where is None else counted * where
    sums = np.bincount(clusters, values * counted, num_clusters)
    counts = np.bincount(clusters, counted, num_clusters)
    return Statistic(lambda totals, _: _ratio(totals[:, 0], totals[:, 1]), np.stack([sums, counts], axis=1))


def standard_deviation(values: Floats, clusters: Ints, num_clusters: int) -> Statistic:
    """Population standard deviation of the values; NaN if there are none or all are equal.

    Parameters
    ----------
    values : array of shape (B,)
    clusters : array of shape (B,)
        Cluster of each value, in [0, num_clusters).
    num_clusters : int
    """
    offsets = values - values[0] if len(values) else values  # equal values are then exactly 0
    moments = (np.ones_like(offsets), offsets, offsets * offsets)
    columns = [np.bincount(clusters, moment, num_clusters).astype(np.float64) for moment in moments]

    def value(sums: Floats, _: Floats) -> Floats:
        count, total, squares = sums.T
        variance = squares - total * total / np.where(count > 0, count, np.nan)
        return np.sqrt(np.where(variance > _SAME * squares, variance / np.where(count > 0, count, np.nan), np.nan))

    return Statistic(value, np.stack(columns, axis=1))


def difference(one: Statistic, other: Statistic) -> Statistic:
    """One statistic minus another, on the same resamples."""
    return combined(np.subtract, one, other)


def win_indicator(differences: Floats) -> Floats:
    """1 where a difference is above 0, 0 where it is below 0, 0.5 where it is 0; NaN stays NaN."""
    won: Floats = (np.sign(differences) + 1) / 2
    return won


def demean(values: Floats, clusters: Ints, num_clusters: int) -> Floats:
    """Values minus the mean of their cluster, which removes the differences between prompts.

    Values that differ by rounding alone, such as 1 - 1/3 and 2/3 - 0, come out equal, so that ties stay ties and the
    order of a cluster's values changes nothing.
    """
    anchors, size, spread = np.full(num_clusters, np.inf), np.zeros(num_clusters), np.zeros(num_clusters)
    np.minimum.at(anchors, clusters, values)
    # Differences to one value of the cluster: equal values then give exactly 0.
    offsets = values - anchors[clusters]
    counts = np.maximum(np.bincount(clusters, minlength=num_clusters), 1)
    means = np.bincount(clusters, offsets, num_clusters) / counts
    np.maximum.at(size, clusters, np.abs(values))
    np.maximum.at(spread, clusters, offsets)
    return _tied(offsets - means[clusters], (_SAME * spread + 4 * np.finfo(np.float64).eps * size)[clusters])


def _tied(values: Floats, rounding: Floats) -> Floats:
    """The values, each run of those that differ by their rounding alone as one: the number in it that is nearest to 0.

    Parameters
    ----------
    values, rounding : array of shape (N,)
        Each value with the largest difference that rounding may make.
    """
    if not len(values):
        return values
    order = np.argsort(values, kind="stable")
    ordered, allowed = values[order], rounding[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-np.inf) > np.maximum(allowed, np.roll(allowed, 1)))
    ends = np.append(starts[1:], len(ordered)) - 1
    tied = np.empty_like(values)
    tied[order] = np.repeat(np.clip(0.0, ordered[starts], ordered[ends]), ends - starts + 1)
    return tied


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    return numerator / np.where(denominator > 0, denominator, np.nan)


class _Plan:
    """Several statistics with their columns side by side, so that one matrix product gives the sums for all.

    Equal columns, such as the counts that many means share, are summed once.
    """

    def __init__(self, statistics: Iterable[Statistic]) -> None:
        self.statistics = list(statistics)
        leaves = {id(leaf): leaf for statistic in self.statistics for leaf in _leaves(statistic)}
        self.leaves = list(leaves.values())
        columns = [leaf.columns for leaf in self.leaves if leaf.columns is not None]
        different, self.places = _different(column for each in columns for column in each.T)
        self.columns = np.stack(different, axis=1) if different else columns[0]
        self.bounds = np.cumsum([0, *(each.shape[1] for each in columns)]).tolist()

    def __call__(self, weights: Floats) -> list[Floats]:
        """Values of each statistic at weights of shape (R, C)."""
        sums = weights @ self.columns
        known = {
            id(leaf): leaf.value(sums[:, self.places[start:end]], weights)
            for leaf, (start, end) in zip(self.leaves, pairwise(self.bounds), strict=True)
        }

        def of(statistic: Statistic) -> Floats:
            if id(statistic) not in known:
                known[id(statistic)] = statistic.value(*map(of, statistic.parts))
            return known[id(statistic)]

        return [of(statistic) for statistic in self.statistics]


def _different(columns: Iterable[Floats]) -> tuple[list[Floats], list[int]]:
    """The different ones among columns, and for each column the place of the one that it equals."""
    different: list[Floats] = []
    places: list[int] = []
    number: dict[bytes, int] = {}
    for column in columns:
        place = number.setdefault(sha256(column.tobytes()).digest(), len(number))
        if place == len(different):
            different.append(column)
        places.append(place)
    return different, places


def _leaves(statistic: Statistic) -> list[Statistic]:
    return [leaf for part in statistic.parts for leaf in _leaves(part)] if statistic.parts else [statistic]


def bootstrap(
    statistics: Mapping[Name | tuple[Name, ...], Statistic], num_clusters: int, num_resamples: int, seed: int
) -> dict[Name, Interval]:
    """Estimates with 95 % percentile intervals, all from the same resamples of the clusters.

    Parameters
    ----------
    statistics : mapping of name, or of a tuple of F names, to Statistic
        A name is anything that can be hashed and is no tuple; a statistic with F values has a tuple of F names.
    num_clusters : int
    num_resamples : int
    seed : int
        Seed of the resamples.

    Returns
    -------
    dict of name to Interval
        The interval is NaN where the statistic is undefined in more than 5 % of the resamples.

    References
    ----------
    Davison and Hinkley (1997), Bootstrap Methods and their Application, section 3.8 (resampling whole clusters).
    """
    every_name = [name for key in statistics for name in names(key)]
    if not every_name or not num_clusters:
        return {name: Interval(math.nan, math.nan, math.nan) for name in every_name}
    plan, draws = _Plan(statistics.values()), _draws(num_clusters, num_resamples, seed)
    (estimates,) = _side_by_side(plan, np.ones((1, num_clusters)))
    resampled = np.concatenate(
        [
            _side_by_side(plan, draws[start : start + _RESAMPLES_AT_ONCE].astype(np.float64))
            for start in range(0, num_resamples, _RESAMPLES_AT_ONCE)
        ]
    )
    return {
        name: _percentile_interval(float(estimates[index]), resampled[:, index])
        for index, name in enumerate(every_name)
    }


def names(key: Name | tuple[Name, ...]) -> tuple[Name, ...]:
    """The names of a statistic's values, from its key in the mapping."""
    return key if isinstance(key, tuple) else (key,)


@lru_cache(maxsize=1)  # an audit resamples the same prompts several times
def _draws(num_clusters: int, num_resamples: int, seed: int) -> NDArray[np.uint8]:
    """How often each resample contains each cluster, shape (R, C); one byte counts up to 255."""
    generator = np.random.default_rng(seed)
    draws = np.empty((num_resamples, num_clusters), dtype=np.uint8)
    for row in draws:
        row[:] = np.bincount(generator.integers(num_clusters, size=num_clusters), minlength=num_clusters)
    return draws


def _side_by_side(plan: _Plan, weights: Floats) -> Floats:
    """All values, shape (R, number of names)."""
    return np.concatenate([values.reshape(len(weights), -1) for values in plan(weights)], axis=1)


def _percentile_interval(estimate: float, values: Floats) -> Interval:
    finite = values[np.isfinite(values)]
    if len(finite) < _MIN_FINITE_SHARE * len(values) or not math.isfinite(estimate):
        return Interval(estimate, math.nan, math.nan)
    low, high = np.quantile(finite, [0.025, 0.975])
    return Interval(estimate, float(low), float(high))


def wilson_interval(num_successes: float, num_trials: float) -> Interval:
    """A proportion with its 95 % score interval; for few trials, where a bootstrap interval collapses at 0 or 1.

    Parameters
    ----------
    num_successes : float
        May be a multiple of one half, where ties count one half.
    num_trials : float
        May be an effective number of clustered trials.

    References
    ----------
    Wilson (1927), JASA 22, 209-212. doi:10.1080/01621459.1927.10502953
    """
    if not num_trials:
        return Interval(math.nan, math.nan, math.nan)
    z = 1.959963984540054
    share = num_successes / num_trials
    centre = (share + z * z / (2 * num_trials)) / (1 + z * z / num_trials)
    spread = share * (1 - share) / num_trials + z * z / (4 * num_trials**2)
    half = z / (1 + z * z / num_trials) * math.sqrt(spread)
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))
