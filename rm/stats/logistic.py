"""Logistic regression, as a statistic of cluster weights."""

from __future__ import annotations

import numpy as np
import scipy.special

from rm.stats.clustered import Floats, Ints, Statistic

_MAX_NEWTON_STEPS = 100
_MAX_HALVINGS = 40
_NEWTON_TOLERANCE = 1e-6
_MAX_SINGLE_STEP = 0.25


def logistic(inputs: Floats, targets: Floats, clusters: Ints, num_clusters: int) -> Statistic:
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
    start = _maximum(inputs, targets, np.ones((1, len(inputs))), np.zeros((1, num_inputs)))
    if np.isnan(start).any():
        return Statistic(lambda sums, _: np.full((len(sums), num_inputs), np.nan), np.empty((num_clusters, 0)))
    probability = _probabilities(start, inputs)[0]
    upper = np.triu_indices(num_inputs)
    gradients = inputs * (targets - probability)[:, None]
    hessians = inputs[:, upper[0]] * inputs[:, upper[1]] * (probability * (1 - probability))[:, None]
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
            coefficients[far] = _maximum(inputs, targets, weights[far][:, clusters], coefficients[far])
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
