"""Logistic regression, as a statistic of cluster weights."""

from __future__ import annotations

import numpy as np

from rm.stats.clustered import Floats, Ints, Statistic

_MAX_NEWTON_STEPS = 100
_MAX_HALVINGS = 40
_NEWTON_TOLERANCE = 1e-6
_MAX_ONLY_STEP = 0.25
_MAX_LOGIT = 500.0


def logistic(inputs: Floats, targets: Floats, clusters: Ints, num_clusters: int) -> Statistic:
    """Coefficients of a logistic regression without intercept, all F of them at once.

    Parameters
    ----------
    inputs : array of shape (B, F)
        In comparable units, such as standard deviations: the penalty treats all alike.
    targets : array of shape (B,)
        In [0, 1].
    clusters : array of shape (B,)
    num_clusters : int

    Notes
    -----
    The maximum of the log-likelihood less ``|coefficients|^2 / 2``, by Newton's method. The penalty, worth about four
    pairs, keeps the coefficients finite where the inputs tell the targets apart without a mistake. Without an intercept
    a pair and its mirror image say the same. NaN where it does not converge.

    A resample's coefficients are one Newton step away from those of all rows [1]_, if the step moves the log-odds by at
    most 0.25 where an input counts: what is left is about half the step's square. That step needs sums over clusters
    only. Else, as a rule where rows are few or an input is rarely other than 0, steps go on until they are below 1e-6.
    Where an input counts it is ``sum |x|^3 / sum x^2``, its mean size weighted by its share in the curvature.

    References
    ----------
    .. [1] Davidson and MacKinnon (1999), Bootstrap testing in nonlinear models, International Economic Review 40,
       487-508. doi:10.1111/1468-2354.00026
    """
    num_inputs = inputs.shape[1]
    start = _maximum(inputs, targets, np.ones((1, len(inputs))), np.zeros((1, num_inputs)))
    if np.isnan(start).any():
        return Statistic(lambda sums, _: np.full((len(sums), num_inputs), np.nan), np.empty((num_clusters, 0)))
    share = _sigmoid(start, inputs)[0]
    upper = np.triu_indices(num_inputs)
    slopes, bends = inputs * (targets - share)[:, None], (share * (1 - share))[:, None]
    moments = np.concatenate([slopes, inputs[:, upper[0]] * inputs[:, upper[1]] * bends], axis=1)
    squares = (inputs**2).sum(axis=0)
    size = (np.abs(inputs) ** 3).sum(axis=0) / np.where(squares > 0, squares, 1.0)
    columns = np.empty((num_clusters, moments.shape[1]))
    for place, moment in enumerate(moments.T):
        columns[:, place] = np.bincount(clusters, moment, num_clusters)

    def value(sums: Floats, weights: Floats) -> Floats:
        curvature = np.empty((len(sums), num_inputs, num_inputs))
        curvature[:, upper[0], upper[1]] = curvature[:, upper[1], upper[0]] = sums[:, num_inputs:]
        step = _solved(curvature, sums[:, :num_inputs] - start)
        coefficients = start + step
        far = ~((np.abs(step) * size).max(axis=1, initial=0.0) <= _MAX_ONLY_STEP)
        if far.any():
            coefficients[far] = _maximum(inputs, targets, weights[far][:, clusters], coefficients[far])
        return coefficients

    return Statistic(value, columns)


def _maximum(inputs: Floats, targets: Floats, each: Floats, coefficients: Floats) -> Floats:
    """Coefficients, shape (R, F), for weights of the rows of shape (R, B); steps are halved until they help."""
    num_inputs = inputs.shape[1]
    products = (inputs[:, :, None] * inputs[:, None, :]).reshape(len(inputs), -1)  # (B, F * F)

    def newton_step(coefficients: Floats) -> Floats:
        share = _sigmoid(coefficients, inputs)
        curvature = (each * share * (1 - share)) @ products
        slope = (each * (targets - share)) @ inputs - coefficients
        return _solved(curvature.reshape(len(each), num_inputs, num_inputs), slope)

    reached = _likelihood(inputs, targets, each, coefficients)
    step = newton_step(coefficients)
    for _ in range(_MAX_NEWTON_STEPS):
        for _ in range(_MAX_HALVINGS):  # far from the maximum a whole step may go beyond it, and back, for ever
            after = _likelihood(inputs, targets, each, coefficients + step)
            worse = after < reached - _NEWTON_TOLERANCE
            if not worse.any():
                break
            step = np.where(worse[:, None], step / 2, step)
        coefficients, reached = np.add(coefficients, step), after
        step = newton_step(coefficients)
        if np.abs(step).max(initial=0.0) < _NEWTON_TOLERANCE:
            break
    converged = np.abs(step).max(axis=1, initial=0.0) < _NEWTON_TOLERANCE
    return np.where(converged[:, None], coefficients, np.nan)  # not converged is not measured


def _likelihood(inputs: Floats, targets: Floats, each: Floats, coefficients: Floats) -> Floats:
    log_odds = coefficients @ inputs.T
    likelihood = targets * log_odds - np.logaddexp(0, log_odds)
    return np.asarray((each * likelihood).sum(axis=1) - (coefficients**2).sum(axis=1) / 2, dtype=np.float64)


def _sigmoid(coefficients: Floats, inputs: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(coefficients @ inputs.T, -_MAX_LOGIT, _MAX_LOGIT))), dtype=np.float64)


def _solved(curvature: Floats, slope: Floats) -> Floats:
    """Newton steps, shape (R, F), with the penalty's curvature."""
    found = np.linalg.solve(curvature + np.eye(curvature.shape[1]), slope[:, :, None])[:, :, 0]
    return np.asarray(found, dtype=np.float64)
