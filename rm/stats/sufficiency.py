"""What a feature still tells about the label once the reward is known.

A model that uses a feature exactly as annotators do leaves nothing of it in the labels, given its rewards. Two numbers
are measured: what the labels still ask of the feature, and what the model pays for it. A sound model, however noisy,
asks and pays with the same sign; an indifferent one pays nothing; one that follows the annotators leaves nothing to ask
for. Only a model that pays in the direction against which the labels still ask is biased, by the smaller of the two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
import scipy.special

from rm.stats.clustered import Floats, Ints

MIN_STRATUM = 40
"""A stratum with fewer pairs has no slope of its own."""
MIN_DIFFERING = 100
"""Pairs in which a feature must differ to have an interaction with the reward of its own."""
MIN_CLUSTERS = 15
"""Below so many prompts with a difference, a score test says nothing."""
_POWER = 0.84
"""Standard normal quantile of 80 %."""
_LARGEST = 3.0
"""Size, in usual differences, above which an interaction does not grow."""
_DEPENDENT = 1e-7
_MAX_STEPS = 50
_TOLERANCE = 1e-8
_DRAWS_AT_ONCE = 100
_SEPARATED = 30.0
"""Log-odds that only a fit without a maximum reaches."""


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
    """(B,), one over the probability that the pair was sampled, up to a factor."""


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

    def visible(self, critical: float) -> float:
        """Size of excess that 80 of 100 audits of this size would have shown; infinite where none would.

        It must show in what is asked and in what is paid, so the larger of the two errors counts.
        """
        return (critical + _POWER) * max(self.asked_error, self.paid_error) if self.measurable else math.inf


def ranked(margin: Floats) -> Floats:
    """Normal scores of the margins with their signs kept: ``sign(m) Phi^-1(1/2 + rank|m| / (2 (n + 1)))``.

    Any increasing odd transformation of the rewards' differences gives the same scores, so that squashed and
    heavy-tailed rewards lose nothing. Margins that are 0 give 0; equal margins give equal scores.
    """
    size = np.abs(margin)
    _, index, counts = np.unique(size, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    rank = (last - (counts - 1) / 2)[index]
    found: Floats = np.sign(margin) * scipy.special.ndtri(0.5 + rank / (2 * (len(margin) + 1)))
    return found


def usual(differences: Floats) -> Floats:
    """Differences in units of their root mean square over the pairs that differ, along the first axis."""
    count = np.maximum((differences != 0).sum(axis=0), 1)
    scale = np.sqrt((differences**2).sum(axis=0) / count)
    units: Floats = differences / np.where(scale > 0, scale, 1.0)
    return units


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
    ``I = sum W d'^2`` and ``V = max(sum u^2, I)``. Asked is ``mean(W) sum(u) / I`` with standard error
    ``mean(W) sqrt(V) / I``.

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
        self.reward = ranked(pairs.margin)
        """(B,), the ranked margin."""
        self._length = usual(pairs.length)
        self._interacting = interacting
        shared = [self.reward, *map(usual, named)]
        if interacting:
            size = np.abs(self._length)
            strata = [self.reward * (pairs.stratum == value) for value in _large_strata(pairs.stratum)]
            shared += [*strata, self.reward * np.minimum(size, _LARGEST), self.reward * (size > np.median(size))]
        alone = self._fit(self.reward[:, None]) if self.reward.any() else None
        self.slope, self.slope_error = math.nan, math.nan
        if alone is not None:
            error = math.sqrt(self._spread(alone.residual * self.reward)) / float(alone.curvature @ self.reward**2)
            self.slope, self.slope_error = float(alone.coefficients[0]), error
        self._shared = {True: self._fit(_independent(shared)), False: self._fit(_independent([*shared, self._length]))}

    @property
    def fit(self) -> Fit | None:
        """What the reward and length tell about the labels; None where that has no maximum."""
        return self._shared[False]

    @property
    def follows_labels(self) -> bool:
        """Whether rewards and labels go together beyond chance; if not, nothing else can be measured."""
        return math.isfinite(self.slope) and self.slope - 1.96 * self.slope_error > 0

    def accounts(self, differences: Floats, is_length: Sequence[bool]) -> tuple[list[Account], Floats]:
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
        scores : array of shape (C, F)
            Each cluster's score over the root of V, for `critical_value`; zeros where nothing could be measured.
        """
        scores = np.zeros((self._pairs.num_clusters, differences.shape[1]))
        found = []
        for at, (column, flag) in enumerate(zip(usual(differences).T, is_length, strict=True)):
            account, scores[:, at] = self._account(column, flag)
            found.append(account)
        return found, scores

    def _account(self, d: Floats, is_length: bool) -> tuple[Account, Floats | float]:
        differing = d != 0
        account = Account(num_pairs=int(differing.sum()), num_clusters=len(np.unique(self._pairs.cluster[differing])))
        fit = self._fit_with(d, is_length)
        if not self.follows_labels or fit is None or account.num_clusters < MIN_CLUSTERS:
            return account, 0.0
        rest = _remainder(d, fit.base, fit.curvature)
        information = float(fit.curvature @ rest**2)
        if information <= _DEPENDENT * float(fit.curvature @ d**2):
            return account, 0.0  # the reward and what is named say all of this feature
        score = self._by_cluster(fit.residual * rest)
        spread = math.sqrt(max(float(score @ score), information))
        points = float(fit.curvature.mean())
        paid, paid_error = self._paid(d, is_length)
        account = replace(
            account,
            asked=points * float(score.sum()) / information,
            asked_error=points * spread / information,
            paid=points * paid,
            paid_error=points * paid_error,
        )
        return account, score / spread

    def _fit_with(self, d: Floats, is_length: bool) -> Fit | None:
        """The fit in which the slope of the reward may also differ with the size of the feature's difference."""
        shared = self._shared[is_length]
        if shared is None or not self._interacting or (d != 0).sum() < MIN_DIFFERING:
            return shared
        base = _independent([*shared.base.T, self.reward * np.minimum(np.abs(d), _LARGEST)])
        return shared if base.shape == shared.base.shape else self._fit(base, shared.coefficients)

    def _paid(self, d: Floats, is_length: bool) -> tuple[float, float]:
        """Log-odds per usual difference, and the standard error."""
        r = self.reward
        if not is_length:
            d, r = (_remainder(each, self._length[:, None], self._weight) for each in (d, r))
        square = float(self._weight @ d**2)
        k = float(self._weight @ (d * r)) / square
        return self.slope * k, self.slope * math.sqrt(self._spread(self._weight * d * (r - k * d))) / square

    def _fit(self, base: Floats, start: Floats | None = None) -> Fit | None:
        return _maximise(base, self._pairs.preference, self._weight, start)

    def _by_cluster(self, values: Floats) -> Floats:
        return np.asarray(np.bincount(self._pairs.cluster, values, self._pairs.num_clusters), dtype=np.float64)

    def _spread(self, values: Floats) -> float:
        return float((self._by_cluster(values) ** 2).sum())


def critical_value(scores: Floats, num_draws: int, seed: int) -> float:
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
    measured = scores[:, scores.any(axis=0)].astype(np.float32)
    if not measured.shape[1]:
        return math.nan
    generator = np.random.default_rng(seed)
    largest = np.empty(num_draws)
    for start in range(0, num_draws, _DRAWS_AT_ONCE):
        count = min(_DRAWS_AT_ONCE, num_draws - start)
        signs = 2 * generator.integers(0, 2, (count, len(measured)), dtype=np.int8) - 1
        largest[start : start + count] = (signs.astype(np.float32) @ measured).max(axis=1)
    return float(np.quantile(largest, 0.95))


@dataclass(frozen=True, slots=True)
class Fit:
    """A logistic regression at its maximum."""

    base: Floats
    """(B, K)."""
    coefficients: Floats
    curvature: Floats
    """(B,), w p (1 - p)."""
    residual: Floats
    """(B,), w (y - p)."""
    weight: Floats
    """(B,), w."""


def _large_strata(stratum: Ints) -> list[int]:
    """Those with pairs enough, but for the largest, which is the reference."""
    values, counts = np.unique(stratum, return_counts=True)
    reference = int(values[counts.argmax()])
    return [int(value) for value in values[counts >= MIN_STRATUM] if value != reference]


def _independent(columns: Sequence[Floats]) -> Floats:
    """The columns side by side, without those that depend on earlier ones."""
    base = np.column_stack(columns)
    scale = np.sqrt((base**2).sum(axis=0))
    gram = base.T @ base / np.outer(scale, scale).clip(min=np.finfo(float).tiny)
    kept: list[int] = []
    for at in np.flatnonzero(scale).tolist():
        along = gram[kept, at]
        if not kept or 1 - along @ scipy.linalg.solve(gram[np.ix_(kept, kept)], along, assume_a="pos") > _DEPENDENT:
            kept.append(at)
    return base[:, kept]


def _maximise(base: Floats, target: Floats, weight: Floats, start: Floats | None) -> Fit | None:
    """Logistic regression without intercept and penalty, by Newton's method; None where it has no maximum."""
    coefficients = np.zeros(base.shape[1])
    coefficients[: 0 if start is None else len(start)] = 0.0 if start is None else start
    reached = -math.inf
    step = np.zeros_like(coefficients)
    for _ in range(_MAX_STEPS):
        odds = base @ (coefficients + step)
        likelihood = float(weight @ (target * odds - np.logaddexp(0, odds)))
        if likelihood < reached - _TOLERANCE:  # too far: a whole step may jump over the maximum
            step = step / 2
            continue
        coefficients, reached = coefficients + step, likelihood
        if not np.abs(odds).max() < _SEPARATED:
            return None
        fitted = scipy.special.expit(odds)
        curvature, residual = weight * fitted * (1 - fitted), weight * (target - fitted)
        gradient = base.T @ residual
        step = np.linalg.lstsq(base.T @ (base * curvature[:, None]), gradient, rcond=None)[0]
        if gradient @ step < _TOLERANCE:
            return Fit(base, coefficients, curvature, residual, weight)
    return None


def _remainder(values: Floats, base: Floats, weight: Floats) -> Floats:
    """What a weighted projection on the base leaves, shape (B,)."""
    weighted = base * weight[:, None]
    rest: Floats = values - base @ np.linalg.lstsq(weighted.T @ base, weighted.T @ values, rcond=None)[0]
    return rest
