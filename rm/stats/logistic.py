"""Logistic regression: with a penalty as a statistic of cluster weights, and a single slope without one."""

from __future__ import annotations

import math

import numpy as np
import scipy.optimize
import scipy.special

from rm.stats.clustered import Floats, Interval, Ints, Statistic

_MAX_NEWTON_STEPS = 100
_MAX_HALVINGS = 40
_NEWTON_TOLERANCE = 1e-6
_MAX_SINGLE_STEP = 0.25
_NORMAL_QUANTILE = 1.959963984540054
_LARGEST_LOG_ODDS = 256.0  # of the largest margin; beyond it, the wrong margins are 0 in floating point
_LARGEST_EXPONENT = 100.0  # wider than any use, and no bound becomes 0 or infinite


def logistic(
    inputs: Floats, targets: Floats, clusters: Ints, num_clusters: int, weight: Floats | None = None
) -> Statistic:
    """The F coefficients of a logistic regression without intercept, as one statistic.

    Parameters
    ----------
    inputs : array of shape (B, F)
        In comparable units, such as standard deviations: the penalty is the same for all.
    targets : array of shape (B,)
        In [0, 1].
    clusters : array of shape (B,)
        Cluster of each pair, in [0, num_clusters).
    num_clusters : int
    weight : array of shape (B,), optional
        Of each pair, above 0; default: 1.

    Notes
    -----
    The coefficients maximise the log-likelihood minus ``|coefficients|^2 / 2``, by Newton's method. The penalty weighs
    as much as about four pairs; it keeps the coefficients finite where the inputs separate the targets perfectly.
    Without an intercept a pair and its mirror image give the same coefficients. NaN where Newton's method does not
    converge.

    A resample's coefficients are computed by one Newton step from those of all pairs, which needs only sums over
    clusters. Its error is about half the square of the step. Where the step changes the log-odds by more than 0.25 at
    the typical size of an input, which happens with few pairs or an input that is mostly 0, Newton steps go on until
    they are below 1e-6. The typical size of an input x is ``sum |x|^3 / sum x^2``: its mean size, weighted by its share
    of the curvature.

    References
    ----------
    Davidson and MacKinnon (1999), Bootstrap testing in nonlinear models, International Economic Review 40,
    487-508. doi:10.1111/1468-2354.00026
    """
    num_inputs = inputs.shape[1]
    own = np.ones(len(inputs)) if weight is None else weight
    start = _maximum(inputs, targets, own[None], np.zeros((1, num_inputs)))
    if np.isnan(start).any():
        return Statistic(lambda sums, _: np.full((len(sums), num_inputs), np.nan), np.empty((num_clusters, 0)))
    probability = _probabilities(start, inputs)[0]
    upper = np.triu_indices(num_inputs)
    gradients = inputs * (own * (targets - probability))[:, None]
    hessians = inputs[:, upper[0]] * inputs[:, upper[1]] * (own * probability * (1 - probability))[:, None]
    moments = np.concatenate([gradients, hessians], axis=1)
    squares = (inputs**2).sum(axis=0)
    size = (np.abs(inputs) ** 3).sum(axis=0) / np.where(squares > 0, squares, 1.0)
    columns = np.empty((num_clusters, moments.shape[1]))
    for index, moment in enumerate(moments.T):
        columns[:, index] = np.bincount(clusters, moment, num_clusters)

    def value(sums: Floats, weights: Floats) -> Floats:
        hessian = np.empty((len(sums), num_inputs, num_inputs))
        hessian[:, upper[0], upper[1]] = hessian[:, upper[1], upper[0]] = sums[:, num_inputs:]
        step = _newton_step(hessian, sums[:, :num_inputs] - start)
        coefficients = start + step
        far = ~((np.abs(step) * size).max(axis=1, initial=0.0) <= _MAX_SINGLE_STEP)
        if far.any():
            coefficients[far] = _maximum(inputs, targets, weights[far][:, clusters] * own, coefficients[far])
        return coefficients

    return Statistic(value, columns)


def _maximum(inputs: Floats, targets: Floats, weights: Floats, coefficients: Floats) -> Floats:
    """Coefficients, shape (R, F), at weights of the pairs of shape (R, B), from starting values.

    A step that lowers the penalised likelihood is halved.
    """
    num_inputs = inputs.shape[1]
    products = (inputs[:, :, None] * inputs[:, None, :]).reshape(len(inputs), -1)  # (B, F * F)

    def newton_step(coefficients: Floats) -> Floats:
        probability = _probabilities(coefficients, inputs)
        hessian = (weights * probability * (1 - probability)) @ products
        gradient = (weights * (targets - probability)) @ inputs - coefficients
        return _newton_step(hessian.reshape(len(weights), num_inputs, num_inputs), gradient)

    reached = _likelihood(inputs, targets, weights, coefficients)
    step = newton_step(coefficients)
    for _ in range(_MAX_NEWTON_STEPS):
        for _ in range(_MAX_HALVINGS):  # far from the maximum a whole step may jump over it and back again for ever
            after = _likelihood(inputs, targets, weights, coefficients + step)
            worse = after < reached - _NEWTON_TOLERANCE
            if not worse.any():
                break
            step = np.where(worse[:, None], step / 2, step)
        coefficients, reached = np.add(coefficients, step), after
        step = newton_step(coefficients)
        if np.abs(step).max(initial=0.0) < _NEWTON_TOLERANCE:
            break
    converged = np.abs(step).max(axis=1, initial=0.0) < _NEWTON_TOLERANCE
    return np.where(converged[:, None], coefficients, np.nan)  # what has not converged counts as not measured


def _likelihood(inputs: Floats, targets: Floats, weights: Floats, coefficients: Floats) -> Floats:
    """Log-likelihood with the penalty, shape (R,)."""
    log_odds = coefficients @ inputs.T
    likelihood = targets * log_odds - np.logaddexp(0, log_odds)
    return np.asarray((weights * likelihood).sum(axis=1) - (coefficients**2).sum(axis=1) / 2, dtype=np.float64)


def _probabilities(coefficients: Floats, inputs: Floats) -> Floats:
    """Of a target of 1, shape (R, B)."""
    return np.asarray(scipy.special.expit(coefficients @ inputs.T), dtype=np.float64)


def _newton_step(hessian: Floats, gradient: Floats) -> Floats:
    """Newton steps, shape (R, F); the penalty adds the identity to the negative Hessian of the log-likelihood."""
    found = np.linalg.solve(hessian + np.eye(hessian.shape[1]), gradient[:, :, None])[:, :, 0]
    return np.asarray(found, dtype=np.float64)


def slope(margin: Floats, clusters: Ints, weight: Floats | None = None) -> Interval:
    """The slope b above 0 that maximises ``sum w log sigmoid(b * margin)``, without penalty, with its 95 % interval.

    Parameters
    ----------
    margin : array of shape (B,)
        Of pairs, each in the direction that is right.
    clusters : array of shape (B,)
        Cluster of each pair.
    weight : array of shape (B,), optional
        w of each pair, above 0; default: 1.

    Returns
    -------
    Interval
        NaN where there is no such slope: no margin is below 0, so that the likelihood has no maximum, or the maximum is
        not above 0. The bounds are NaN if there is only one cluster.

    Notes
    -----
    The interval is ``b exp(+-1.96 s / b)``: normal on the scale of log b, on which a slope and its inverse, the
    temperature, have the same interval. With p the fitted probability of each margin m, ``A = sum w m^2 p (1 - p)`` and
    u the sums of ``w m (1 - p)`` over each of C clusters, the standard error is::

        s = sqrt(C / (C - 1) sum u^2) / A * max(1, sqrt(sum (w m)^2 p (1 - p) / sum (w m (1 - p))^2))

    The last factor is the ratio of the model's standard error and the robust one for pairs that are independent. Where
    few pairs are wrong, the robust one is too small: alone, it covers 91 % at 100 pairs of which 7 are wrong.

    References
    ----------
    Liang and Zeger (1986), Longitudinal data analysis using generalized linear models, Biometrika 73, 13-22.
    doi:10.1093/biomet/73.1.13 (the standard error)
    """
    undefined = Interval(math.nan, math.nan, math.nan)
    weight = np.ones(len(margin)) if weight is None else weight
    if not (margin < 0).any() or weight @ margin <= 0:
        return undefined
    unit = float(np.abs(margin).max())
    x = margin / unit

    def gradient(b: float) -> float:  # falls from above 0 at b = 0 to below 0, since some margins are below 0
        return float((weight * x) @ scipy.special.expit(-b * x))

    high = 1.0
    while gradient(high) > 0:
        high *= 2
        if high > _LARGEST_LOG_ODDS:
            return undefined  # a maximum so far away is none in floating point
    b = float(scipy.optimize.brentq(gradient, 0.0, high, xtol=1e-12, rtol=1e-12))
    wrong = scipy.special.expit(-b * x)
    scores = np.bincount(np.unique(clusters, return_inverse=True)[1], weight * x * wrong)
    if len(scores) < 2:
        return Interval(b / unit, math.nan, math.nan)
    curvature = weight * wrong * (1 - wrong)
    information = float((x**2) @ curvature)
    spread = len(scores) / (len(scores) - 1) * float(scores @ scores)
    too_small = max(1.0, float((x**2) @ (weight * curvature)) / float((x**2) @ (weight * wrong) ** 2))
    error = math.sqrt(spread * too_small) / information
    factor = math.exp(min(_NORMAL_QUANTILE * error / b, _LARGEST_EXPONENT))
    return Interval(b / unit, b / factor / unit, b * factor / unit)


def why_no_slope(margin: Floats) -> str:
    """Why `slope` gives NaN for these margins, in words."""
    if not margin.any():
        return "all rewards of a pair are equal"
    return "no margin is below 0" if (margin >= 0).all() else "margins are rather wrong than right"
