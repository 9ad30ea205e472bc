"""Logistic regressions without intercept and penalty: one, and many that have one more column than a first one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.special
from numpy.typing import NDArray

from rm.stats.clustered import Floats

DEPENDENT = 1e-7
"""Share of its square that a column must keep beside the others."""
_MAX_STEPS = 50
_TOLERANCE = 1e-8
_NUMBERS_AT_ONCE = 20_000
"""As many as stay in a core's cache."""
_NOTHING = np.zeros(())


@dataclass(frozen=True, slots=True)
class Fit:
    """A logistic regression at its maximum, B rows and K columns."""

    base: Floats
    """(B, K)."""
    target: Floats
    """(B,), in [0, 1]."""
    weight: Floats
    """(B,)."""
    coefficients: Floats
    likelihood: float
    curvature: Floats
    """(B,), w p (1 - p)."""
    residual: Floats
    """(B,), w (y - p)."""


def independent(columns: Sequence[Floats]) -> Floats:
    """The columns side by side, without those that depend on earlier ones."""
    base = np.column_stack(columns)
    scale = np.sqrt((base**2).sum(axis=0))
    gram = base.T @ base / np.outer(scale, scale).clip(min=np.finfo(float).tiny)
    kept: list[int] = []
    for at in np.flatnonzero(scale).tolist():
        along = gram[kept, at]
        if not kept or 1 - along @ scipy.linalg.solve(gram[np.ix_(kept, kept)], along, assume_a="pos") > DEPENDENT:
            kept.append(at)
    return base[:, kept]


def are_independent(base: Floats, columns: Floats) -> NDArray[np.bool_]:
    """Which columns, each alone, do not depend on those of the base, which do not on each other.

    Parameters
    ----------
    base : array of shape (B, K)
    columns : array of shape (A, B)

    Returns
    -------
    array of bool, shape (A,)
    """
    scale, sizes = np.sqrt((base**2).sum(axis=0)), np.sqrt((columns**2).sum(axis=1))
    along = columns @ base / scale / np.where(sizes > 0, sizes, 1.0)[:, None]
    explained = along * np.linalg.solve(base.T @ base / np.outer(scale, scale), along.T).T
    free: NDArray[np.bool_] = (sizes > 0) & (1 - explained.sum(axis=1) > DEPENDENT)
    return free


def maximise(base: Floats, target: Floats, weight: Floats) -> Fit | None:
    """The logistic regression of the target on the base, by Newton's method; None where it has no maximum.

    Parameters
    ----------
    base : array of shape (B, K)
    target : array of shape (B,)
        In [0, 1].
    weight : array of shape (B,)
    """
    coefficients = np.zeros(base.shape[1])
    reached = -math.inf
    step = np.zeros_like(coefficients)
    for _ in range(_MAX_STEPS):
        odds = base @ (coefficients + step)
        likelihood = float(weight @ (target * odds - np.logaddexp(0, odds)))
        if likelihood < reached - _TOLERANCE:  # too far: a whole step may jump over the maximum
            step = step / 2
            continue
        coefficients, reached = coefficients + step, likelihood
        side = _side(target, odds)
        if side.min() >= 0 and side.max() > 0:
            return None
        fitted = scipy.special.expit(odds)
        curvature, residual = weight * fitted * (1 - fitted), weight * (target - fitted)
        gradient = base.T @ residual
        step = np.linalg.lstsq(base.T @ (base * curvature[:, None]), gradient, rcond=None)[0]
        if gradient @ step < _TOLERANCE:
            return Fit(base, target, weight, coefficients, reached, curvature, residual)
    return None


class Remainders:
    """What a weighted projection on the base of a fit leaves of columns.

    Parameters
    ----------
    fit : Fit
    """

    def __init__(self, fit: Fit) -> None:
        self._fit = fit
        self._inverse = _inverse(fit.base.T @ (fit.base * fit.curvature[:, None]))
        self.found = np.ones(1, dtype=bool)
        self.curvature, self.residual = fit.curvature[None], fit.residual[None]

    def of(self, columns: Floats) -> Floats:
        """What is left of columns, both of shape (A, B)."""
        along = (columns * self._fit.curvature) @ self._fit.base
        rest: Floats = columns - (along @ self._inverse) @ self._fit.base.T
        return rest


class Added:
    """Fits on the base of another one and one more column, each with its own.

    Parameters
    ----------
    fit : Fit
    extra : array of shape (A, B)
        The columns that are added, each independent of the base.

    Notes
    -----
    Newton's method from the first fit, for all columns at a time: most of the work are products with the base, which
    they share. Rows are taken some at a time, so that what is computed of them stays in the cache.
    """

    found: NDArray[np.bool_]
    """(A,), whether there is a maximum."""
    curvature: Floats
    """(A, B)."""
    residual: Floats
    """(A, B)."""

    def __init__(self, fit: Fit, extra: Floats) -> None:
        self._fit, self._extra = fit, extra
        self._upper = np.triu_indices(fit.base.shape[1])
        self._coefficients = np.concatenate([np.tile(fit.coefficients, (len(extra), 1)), np.zeros((len(extra), 1))], 1)
        self.found = self._maximise()
        self.curvature, self.residual = np.empty_like(extra), np.empty_like(extra)
        for rows in self._rows(len(extra)):
            at = _Point(self._odds(self._coefficients, extra, rows), fit, rows)
            self.curvature[:, rows], self.residual[:, rows] = at.curvature, at.residual
        self._inverse = _inverse(self._whole_hessian(self.curvature, extra))

    def of(self, columns: Floats) -> Floats:
        """What a weighted projection on the base and the added column leaves of columns, both of shape (A, B)."""
        weighted = columns * self.curvature
        along = np.column_stack([weighted @ self._fit.base, (weighted * self._extra).sum(axis=1)])
        projected = np.einsum("ak,akl->al", along, self._inverse)
        rest: Floats = columns - projected[:, :-1] @ self._fit.base.T
        rest -= projected[:, -1:] * self._extra
        return rest

    def _maximise(self) -> NDArray[np.bool_]:
        """Move the coefficients to the maximum; says for which there is one."""
        fit, extra = self._fit, self._extra
        gradient = np.column_stack([np.tile(fit.residual @ fit.base, (len(extra), 1)), extra @ fit.residual])
        step = _solved(self._whole_hessian(np.broadcast_to(fit.curvature, extra.shape), extra), gradient)
        reached = np.full(len(extra), fit.likelihood)
        found: NDArray[np.bool_] = (gradient * step).sum(axis=1) < _TOLERANCE
        active = np.flatnonzero(~found)
        for _ in range(_MAX_STEPS - 1):
            if not len(active):
                break
            likelihood, separated, gradient, hessian = self._evaluated(
                self._coefficients[active] + step[active], extra[active]
            )
            worse = likelihood < reached[active] - _TOLERANCE  # too far: a whole step may jump over the maximum
            step[active[worse]] /= 2
            taken = active[~worse]
            self._coefficients[taken] += step[taken]
            reached[taken] = likelihood[~worse]
            step[taken] = _solved(hessian[~worse], gradient[~worse])
            separated &= ~worse
            at_top = ~worse & ~separated & ((gradient * step[active]).sum(axis=1) < _TOLERANCE)
            found[active[at_top]] = True
            active = active[~separated & ~at_top]
        return found

    def _evaluated(self, coefficients: Floats, extra: Floats) -> tuple[Floats, NDArray[np.bool_], Floats, Floats]:
        """Likelihood, whether no row is on its wrong side, gradient and negative Hessian, by added column."""
        count, size = coefficients.shape
        likelihood, least, most = np.zeros(count), np.full(count, np.inf), np.full(count, -np.inf)
        gradient, hessian = np.zeros((count, size)), np.zeros((count, size, size))
        for rows in self._rows(count):
            odds, added, base = self._odds(coefficients, extra, rows), extra[:, rows], self._fit.base[rows]
            at = _Point(odds, self._fit, rows)
            likelihood += at.likelihood
            side = _side(self._fit.target[rows], odds)
            np.minimum(least, side.min(axis=1), out=least)
            np.maximum(most, side.max(axis=1), out=most)
            gradient[:, :-1] += at.residual @ base
            gradient[:, -1] += (at.residual * added).sum(axis=1)
            hessian += self._hessian(at.curvature, added, base)
        return likelihood, (least >= 0) & (most > 0), gradient, hessian

    def _whole_hessian(self, curvature: Floats, extra: Floats) -> Floats:
        base, parts = self._fit.base, self._rows(len(extra))
        return sum((self._hessian(curvature[:, rows], extra[:, rows], base[rows]) for rows in parts), start=_NOTHING)

    def _hessian(self, curvature: Floats, extra: Floats, base: Floats) -> Floats:
        """Sums over rows of the curvature times products of columns, shape (A, K + 1, K + 1)."""
        size = base.shape[1]
        found = np.empty((len(extra), size + 1, size + 1))
        one, other = self._upper
        lines = np.ascontiguousarray(base.T)  # whole columns are copied faster than parts of rows
        found[:, one, other] = found[:, other, one] = curvature @ (lines[one] * lines[other]).T
        weighted = curvature * extra
        found[:, :-1, -1] = found[:, -1, :-1] = weighted @ base
        found[:, -1, -1] = (weighted * extra).sum(axis=1)
        return found

    def _odds(self, coefficients: Floats, extra: Floats, rows: slice) -> Floats:
        odds: Floats = coefficients[:, :-1] @ self._fit.base[rows].T
        odds += coefficients[:, -1:] * extra[:, rows]
        return odds

    def _rows(self, num_added: int) -> Iterator[slice]:
        size = max(_NUMBERS_AT_ONCE // num_added, 1)
        return (slice(start, start + size) for start in range(0, len(self._fit.base), size))


class _Point:
    """What the likelihood is made of at given log-odds of some rows, by regression."""

    def __init__(self, odds: Floats, fit: Fit, rows: slice) -> None:
        target, weight = fit.target[rows], fit.weight[rows]
        small = np.exp(-np.abs(odds))
        total = 1 + small
        probability = np.where(odds > 0, 1.0, small) / total
        self.likelihood: Floats = (target * odds - np.maximum(odds, 0) - np.log(total)) @ weight
        self.curvature: Floats = weight * small / total**2
        self.residual: Floats = weight * (target - probability)


def _side(target: Floats, odds: Floats) -> Floats:
    """Log-odds for the target of each row; where none is below 0, the coefficients can grow for ever.

    A target between 0 and 1 keeps them finite, so it stands below 0.
    """
    side: Floats = np.where(target == 1, odds, np.where(target == 0, -odds, -1.0))
    return side


def _inverse(matrices: Floats) -> Floats:
    """Of symmetric matrices, which may be singular, as `numpy.linalg.lstsq` has it."""
    limit = np.finfo(float).eps * matrices.shape[-1]
    return np.asarray(np.linalg.pinv(matrices, rcond=limit, hermitian=True), dtype=np.float64)


def _solved(matrices: Floats, values: Floats) -> Floats:
    return np.asarray(np.einsum("akl,al->ak", _inverse(matrices), values), dtype=np.float64)
