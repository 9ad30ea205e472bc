"""What a feature still tells about the label once the reward is known.

A model that uses a feature exactly as annotators do leaves nothing of it in the labels, given its rewards. Two numbers
are measured: what the labels still ask of the feature, and what the model pays for it. A sound model, however noisy,
asks and pays with the same sign; an indifferent one pays nothing; one that follows the annotators leaves nothing to ask
for. Only a model that pays in the direction against which the labels still ask is biased, by the smaller of the two.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypedDict

import numpy as np
import scipy.special
from numpy.typing import NDArray

from rm.stats.clustered import Floats, Ints
from rm.stats.regressions import DEPENDENT, Added, Fit, Remainders, are_independent, independent, maximise
from rm.stats.threads import in_parallel

MIN_STRATUM = 40
"""A stratum with fewer pairs has no slope of its own."""
MIN_DIFFERING = 100
"""Pairs in which a feature must differ to have an interaction with the reward of its own."""
MIN_CLUSTERS = 15
"""Below so many prompts with a difference, a score test says nothing."""
POWER = 0.84
"""Standard normal quantile of 80 %."""
_LARGEST = 3.0
"""Size, in usual differences, above which an interaction does not grow."""
_DRAWS_AT_ONCE = 100
_NUMBERS_AT_ONCE = 2_000_000
_MOST_AT_ONCE = 64
_MOST_THREADS = 4  # each holds several arrays of as many numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """B pairs, chosen minus rejected."""

    margin: Floats
    """(B,), reward of the chosen response minus that of the rejected one; only ranks and signs are used."""
    preference: Floats
    """(B,), share of votes for the chosen response."""
    cluster: Ints
    """(B,), number of the prompt, in [0, num_clusters)."""
    num_clusters: int
    stratum: Ints
    """(B,), number of the kind of pair, such as its domain: labels may be blunter in one than in another."""
    length: Floats
    """(B,), difference of log length."""
    weight: Floats
    """(B,), one over the probability that the pair was sampled, up to a factor; all 1 where that is not known."""

    def only(self, places: Ints) -> Judged:
        """Some of these pairs, in the given order."""
        taken = {
            name: getattr(self, name)[places]
            for name in ("margin", "preference", "cluster", "stratum", "length", "weight")
        }
        return replace(self, **taken)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What the labels still ask of a feature and what the model pays for it.

    In points of win probability (0.01 is one point) per usual difference of the feature, which is its root mean square
    over the pairs that differ in it.
    """

    num_pairs: int
    """Pairs that differ in the feature."""
    num_clusters: int
    """Prompts with such a pair."""
    asked: float = math.nan
    asked_error: float = math.nan
    """Standard error, by cluster."""
    paid: float = math.nan
    paid_error: float = math.nan

    @property
    def measurable(self) -> bool:
        """Whether the feature differs in prompts enough, and rewards follow labels."""
        return math.isfinite(self.asked)

    @property
    def excess(self) -> float:
        """Overpaid (above 0) or over-punished (below 0): the smaller of the two numbers, with the sign of what is paid.

        0 where both numbers have one sign; NaN where it cannot be measured.
        """
        if not self.measurable:
            return math.nan
        return math.copysign(min(abs(self.asked), abs(self.paid)), self.paid) if self.asked * self.paid < 0 else 0.0

    def bound(self, critical: float) -> float:
        """Simultaneous lower bound of the size of the excess; below 0 where none is shown."""
        if not self.measurable:
            return math.nan
        sign = math.copysign(1.0, self.paid)
        return min(-sign * self.asked - critical * self.asked_error, abs(self.paid) - critical * self.paid_error)

    @property
    def certainty(self) -> float:
        """Standard errors between the excess and none, of the less certain of both numbers; below 0 where none is."""
        if not self.measurable:
            return math.nan
        sign = math.copysign(1.0, self.paid)
        return min(-sign * self.asked / self.asked_error, abs(self.paid) / self.paid_error)

    def visible(self, critical: float, power: float = POWER) -> float:
        """Size of excess that 80 of 100 audits with these errors show; infinite where none does.

        It must show in what is asked and in what is paid, so the larger of the two errors counts. ``power`` is the
        standard normal quantile of another share than 80 of 100. A reward with a bias has larger errors than one
        without: `rm.audit.visible` measures how much.
        """
        return (critical + power) * max(self.asked_error, self.paid_error) if self.measurable else math.inf


def ranked(margin: Floats, weight: Floats | None = None) -> Floats:
    """Normal scores of the margins with their signs kept: ``sign(m) Phi^-1(1/2 + rank|m| / (2 (n + 1)))``.

    Any increasing odd transformation of the rewards' differences gives the same scores, so that squashed and
    heavy-tailed rewards lose nothing. Margins that are 0 give 0; equal margins give equal scores. A margin of weight w
    (default: 1) counts as w equal margins, in the ranks and in n.
    """
    weight = np.ones(len(margin)) if weight is None else weight
    index = np.unique(np.abs(margin), return_inverse=True)[1]
    counts = np.bincount(index, weight)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[index]
    found: Floats = np.sign(margin) * scipy.special.ndtri(0.5 + rank / (2 * (weight.sum() + 1)))
    return found


def usual(differences: Floats, axis: int = 0, weight: Floats | None = None) -> Floats:
    """Differences in units of their root mean square over the pairs that differ, which are along an axis.

    ``weight`` has the weight of each pair, shape (B,); default: 1.
    """
    each = np.ones(differences.shape[axis]) if weight is None else weight
    each = each[:, None] if axis == 0 and differences.ndim == 2 else each
    count = (each * (differences != 0)).sum(axis=axis, keepdims=True)
    scale = np.sqrt((each * differences**2).sum(axis=axis, keepdims=True) / np.where(count > 0, count, 1.0))
    units: Floats = differences / np.where(scale > 0, scale, 1.0)
    return units


class _Numbers(TypedDict, total=False):
    asked: float
    asked_error: float
    paid: float
    paid_error: float


class Sufficiency:
    """Tests features of one set of pairs.

    Parameters
    ----------
    pairs : Judged
    named : sequence of arrays of shape (B,)
        Differences in features that are already accounted for: what goes with one of them is not seen again.
    interacting : bool
        Whether the slope of the reward may differ with stratum, length and feature. Without, a model looks biased where
        labels are only blunter.

    Notes
    -----
    The fit is ``P(chosen wins) = sigmoid(B b)`` without intercept and without penalty, in which B has the ranked margin
    r, its products with each stratum, with ``min(|L|, 3)``, with ``|L|`` above its median and with ``min(|d|, 3)``, and
    L unless the feature is one of length. With p fitted, ``W = w p (1 - p)`` and d' what a W-weighted projection on B
    leaves of the feature's difference d, the score of a cluster is ``u = sum w d' (y - p)``, the information is
    ``I = sum W d'^2`` and ``V = max(sum u^2, sum w W d'^2)``, where the last term is the variance of the score of
    independent pairs. Asked is ``mean(W) sum(u) / I`` with standard error ``mean(W) sqrt(V) / I``. Ranks, the usual
    difference and the median are weighted too.

    Paid is ``t k mean(W)``, with t the slope of ``sigmoid(t r)`` alone and k the slope of r on d, both freed of L
    unless the feature is one of length.

    A score test by clusters keeps its size where few pairs differ; a Wald test with the same variance does not.

    References
    ----------
    Hebert-Johnson et al. (2018), Multicalibration, ICML: a predictor that is calibrated within every group.
    """

    def __init__(self, pairs: Judged, named: Sequence[Floats] = (), *, interacting: bool = True) -> None:
        self._pairs = pairs
        self._weight = pairs.weight / pairs.weight.mean()
        self.reward = ranked(pairs.margin, self._weight)
        """(B,), the ranked margin."""
        self._length = usual(pairs.length, weight=self._weight)
        self._interacting = interacting
        shared = [self.reward, *(usual(one, weight=self._weight) for one in named)]
        if interacting:
            size = np.abs(self._length)
            strata = [self.reward * (pairs.stratum == value) for value in _large_strata(pairs.stratum)]
            shared += [*strata, self.reward * np.minimum(size, _LARGEST), self.reward * (size > self._median(size))]
        alone = self._fit(self.reward[:, None]) if self.reward.any() else None
        self.slope, self.slope_error = math.nan, math.nan
        if alone is not None:
            error = math.sqrt(self._spread(alone.residual * self.reward)) / float(alone.curvature @ self.reward**2)
            self.slope, self.slope_error = float(alone.coefficients[0]), error
        self._shared = {True: self._fit(independent(shared)), False: self._fit(independent([*shared, self._length]))}

    @property
    def fit(self) -> Fit | None:
        """What the reward and length tell about the labels; None where that has no maximum."""
        return self._shared[False]

    @property
    def follows_labels(self) -> bool:
        """Whether rewards and labels go together beyond chance; if not, nothing else can be measured."""
        return math.isfinite(self.slope) and self.slope - 1.96 * self.slope_error > 0

    def accounts(self, differences: Floats, is_length: Sequence[bool]) -> tuple[list[Account], NDArray[np.float32]]:
        """Test F features.

        Parameters
        ----------
        differences : array of shape (B, F)
            Features, chosen minus rejected, in any unit.
        is_length : sequence of F bools
            Whether the feature is one of length.

        Returns
        -------
        list of Account, F of them
        scores : array of float32, shape (C, F)
            Each cluster's score over the root of V, for `critical_value`; zeros where nothing could be measured.
        """
        scores = np.zeros((differences.shape[1], self._pairs.num_clusters), dtype=np.float32)
        found = {at: Account(num_pairs=0, num_clusters=0) for at in range(len(is_length))}
        differing = np.flatnonzero(differences.any(axis=0)).tolist()  # within kinds of prompts, half of them never do

        def test(block: tuple[bool, list[int]]) -> None:
            flag, columns = block
            d = usual(np.ascontiguousarray(differences.T[columns]), axis=1, weight=self._weight)
            found.update(zip(columns, self._counted(d), strict=True))
            if not self.follows_labels or self._shared[flag] is None:
                return
            enough = [row for row, column in enumerate(columns) if found[column].num_clusters >= MIN_CLUSTERS]
            for rows, fit in self._fits(d, enough, flag):
                measured = self._measured(d[rows], fit, flag)
                for row, (numbers, score) in zip(rows, measured, strict=True):
                    found[columns[row]] = replace(found[columns[row]], **numbers)
                    scores[columns[row]] = score

        in_parallel(test, self._blocks(is_length, differing), _MOST_THREADS)
        return list(found.values()), scores.T

    def _blocks(self, is_length: Sequence[bool], tested: Sequence[int]) -> list[tuple[bool, list[int]]]:
        """Columns to be tested at a time, which are of length or are not."""
        size = min(max(_NUMBERS_AT_ONCE // max(len(self.reward), 1), 1), _MOST_AT_ONCE)
        several = {flag: [at for at in tested if is_length[at] == flag] for flag in (True, False)}
        return [
            (flag, columns[start : start + size])
            for flag, columns in several.items()
            for start in range(0, len(columns), size)
        ]

    def _counted(self, d: Floats) -> list[Account]:
        accounts = []
        for differing in d != 0:
            seen = np.zeros(self._pairs.num_clusters, dtype=bool)
            seen[self._pairs.cluster[differing]] = True
            accounts.append(Account(num_pairs=int(differing.sum()), num_clusters=int(seen.sum())))
        return accounts

    def _fits(self, d: Floats, rows: list[int], is_length: bool) -> Iterator[tuple[list[int], Remainders | Added]]:
        """Rows of d with their fits.

        In the fit of one that differs in pairs enough, the slope of the reward may also differ with the size of the
        difference.
        """
        shared = self._shared[is_length]
        assert shared is not None
        often = [row for row in rows if self._interacting and np.count_nonzero(d[row]) >= MIN_DIFFERING]
        extra = self.reward * np.minimum(np.abs(d[often]), _LARGEST)
        free = are_independent(shared.base, extra)
        own = [row for row, each in zip(often, free.tolist(), strict=True) if each]
        if own:
            yield own, Added(shared, extra[free])
        if others := [row for row in rows if row not in own]:
            yield others, Remainders(shared)

    def _measured(
        self, d: Floats, fit: Remainders | Added, is_length: bool
    ) -> Iterator[tuple[_Numbers, Floats | float]]:
        """For each row of d, what is asked and paid, empty where it cannot be measured, and each cluster's score."""
        rest = fit.of(d)
        information, whole = ((fit.curvature * each**2).sum(axis=1) for each in (rest, d))
        least = (self._weight * fit.curvature * rest**2).sum(axis=1)
        found = fit.found & (information > DEPENDENT * whole)  # else the rest says all of this feature
        rest *= fit.residual
        points = np.broadcast_to(fit.curvature.mean(axis=1), len(d))
        for row, values in enumerate(rest):
            if not found[row]:
                yield {}, 0.0
                continue
            score, own = self._by_cluster(values), float(information[row])
            spread = math.sqrt(max(float(score @ score), float(least[row])))
            paid, paid_error = self._paid(d[row], is_length)
            scale = float(points[row])
            numbers = _Numbers(
                asked=scale * float(score.sum()) / own,
                asked_error=scale * spread / own,
                paid=scale * paid,
                paid_error=scale * paid_error,
            )
            yield numbers, score / spread

    def _paid(self, d: Floats, is_length: bool) -> tuple[float, float]:
        """Log-odds per usual difference, and the standard error."""
        r = self.reward
        if not is_length:
            d, r = self._beside_length(d), self._reward_beside_length
        weighted = self._weight * d
        square = float(weighted @ d)
        k = float(weighted @ r) / square
        return self.slope * k, self.slope * math.sqrt(self._spread(weighted * (r - k * d))) / square

    def _beside_length(self, values: Floats) -> Floats:
        """What a weighted projection on length leaves."""
        weighted = self._weight * self._length
        square = float(weighted @ self._length)
        return values - (float(weighted @ values) / square if square else 0.0) * self._length

    @cached_property
    def _reward_beside_length(self) -> Floats:
        return self._beside_length(self.reward)

    def _median(self, values: Floats) -> float:
        return float(np.quantile(values, 0.5, weights=self._weight, method="inverted_cdf"))

    def _fit(self, base: Floats) -> Fit | None:
        return maximise(base, self._pairs.preference, self._weight)

    def _by_cluster(self, values: Floats) -> Floats:
        return np.asarray(np.bincount(self._pairs.cluster, values, self._pairs.num_clusters), dtype=np.float64)

    def _spread(self, values: Floats) -> float:
        return float((self._by_cluster(values) ** 2).sum())


def critical_value(scores: NDArray[Any], num_draws: int, seed: int) -> float:
    """95 % quantile of the largest standardised score, for labels that ask for no feature.

    Parameters
    ----------
    scores : array of shape (C, F)
        From `Sufficiency.accounts`.
    num_draws : int
    seed : int

    Returns
    -------
    float
        NaN where no feature was measured.

    Notes
    -----
    Each draw gives every cluster a random sign, so that correlated features cost less than as many independent ones.
    One side counts: what a model pays for a feature says on which side it can be overpaid.

    References
    ----------
    Chernozhukov, Chetverikov and Kato (2013), Annals of Statistics 41, 2786-2819: multiplier bootstrap of a maximum.
    """
    measured = scores[:, scores.any(axis=0)].astype(np.float32, copy=False)
    if not measured.shape[1]:
        return math.nan
    generator = np.random.default_rng(seed)
    largest = np.empty(num_draws)
    for start in range(0, num_draws, _DRAWS_AT_ONCE):
        count = min(_DRAWS_AT_ONCE, num_draws - start)
        signs = 2 * generator.integers(0, 2, (count, len(measured)), dtype=np.int8) - 1
        largest[start : start + count] = (signs.astype(np.float32) @ measured).max(axis=1)
    return float(np.quantile(largest, 0.95))


def _large_strata(stratum: Ints) -> list[int]:
    """Those with pairs enough, but for the largest, which is the reference."""
    values, counts = np.unique(stratum, return_counts=True)
    reference = int(values[counts.argmax()])
    return [int(value) for value in values[counts >= MIN_STRATUM] if value != reference]
