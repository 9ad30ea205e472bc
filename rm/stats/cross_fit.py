"""Predictions of a number per pair from other pairs only, and odd: swapping the sides of a pair flips their sign."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

import numpy as np
import scipy.optimize
import scipy.sparse
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge, RidgeCV

from rm.stats.clustered import Floats, Ints
from rm.stats.threads import in_parallel

Matrix = Any
"""An array or a sparse matrix, or what else can be indexed by rows: one per pair, first minus second response."""
Learner = Callable[[Matrix, Floats, Floats], Callable[[Matrix], Floats]]
"""Learns from rows, targets and weights of the rows; what it gives predicts the targets of other rows."""

_PENALTIES = np.logspace(-1, 5, 13)
_NUM_TREES, _NUM_LEAVES, _RATE, _MIN_ROWS = 80, 8, 0.08, 20
_LARGEST_CHOICE, _LARGEST_SPARSE_CHOICE = 3_000, 1_500
"""Pairs on which a penalty is chosen: with many columns, as sparse ones are, its time grows with the cube of them."""
_LARGEST_SAMPLE = 20_000
"""Pairs from which trees learn; more are slow and find no more."""
_ONE_BY_ONE = Lock()
"""While scikit-learn checks arrays and makes bins it changes Python's list of warning filters, which all threads share:
where two do, it may stay empty, and each further use warns. So forests grow and predict one after another."""


def cross_fit(
    learner: Learner, differences: Matrix, target: Floats, fold: Ints, weight: Floats | None = None
) -> Floats:
    """Predict each fold's targets from the pairs of the other folds.

    Parameters
    ----------
    learner : callable
        `ridge`, `boosted` or `rm.stats.interactions.products`.
    differences : array or sparse matrix of shape (B, F)
    target : array of shape (B,)
        Flips its sign with the sides of the pair, as a margin does.
    fold : array of shape (B,)
        All pairs of a prompt in one fold.
    weight : array of shape (B,), optional
        Of each pair, above 0; default: 1.

    Returns
    -------
    array of shape (B,)
        0 where there is nothing to learn from.
    """
    weights = np.ones(len(target)) if weight is None else weight
    predicted = np.zeros(len(target))

    def predict(each: int) -> None:
        inside = fold == each
        if not inside.all():
            predicted[inside] = learner(differences[~inside], target[~inside], weights[~inside])(differences[inside])

    in_parallel(predict, np.unique(fold).tolist())
    return predicted


def stacked(predictions: Sequence[Floats], target: Floats, weight: Floats) -> Floats:
    """Predictions of the same target together, each times what least squares gives it, but never below 0.

    Parameters
    ----------
    predictions : sequence of arrays of shape (B,)
        From `cross_fit`.
    target, weight : arrays of shape (B,)

    Returns
    -------
    array of shape (B,)
        Without what predicts nothing: trees that learn from a thousand pairs often do harm.

    References
    ----------
    Breiman (1996), Stacked regressions, Machine Learning 24, 49-64.
    """
    columns, root = np.stack(predictions, axis=1), np.sqrt(weight)
    factors, _ = scipy.optimize.nnls(columns * root[:, None], target * root)
    together: Floats = columns @ factors
    return together


def ridge(differences: Matrix, target: Floats, weight: Floats) -> Callable[[Matrix], Floats]:
    """Linear regression without intercept, its penalty chosen by generalised cross-validation.

    Rows times the roots of their weights: without an intercept, that is the weighted regression. Without a column it
    predicts 0.

    References
    ----------
    Golub, Heath and Wahba (1979), Technometrics 21, 215-223.
    """
    if not differences.shape[1]:  # no text has a word
        return lambda rows: np.zeros(rows.shape[0])
    sparse = scipy.sparse.issparse(differences)
    root = np.sqrt(weight)
    differences, target = _scaled(differences, root), target * root
    most = _LARGEST_SPARSE_CHOICE if sparse else _LARGEST_CHOICE
    rows, targets = differences[:most], target[:most]
    chosen = RidgeCV(alphas=_PENALTIES, fit_intercept=False).fit(rows, targets)
    if len(targets) < len(target):
        # The penalty is weighed against a sum over rows, so it grows with their number.
        penalty = chosen.alpha_ * weight.sum() / weight[:most].sum()
        solver = "lsqr" if sparse else "cholesky"
        chosen = Ridge(alpha=penalty, fit_intercept=False, solver=solver, tol=1e-6, copy_X=False)
        chosen.fit(differences, target)
    return lambda rows: np.asarray(rows @ chosen.coef_, dtype=np.float64)


def _scaled(rows: Matrix, factor: Floats) -> Matrix:
    """Each row times its factor."""
    if not scipy.sparse.issparse(rows):
        return rows * factor[:, None]
    values = rows.data * np.repeat(factor, np.diff(rows.indptr))
    return scipy.sparse.csr_array((values, rows.indices, rows.indptr), shape=rows.shape)


def boosted(differences: Floats, target: Floats, weight: Floats) -> Callable[[Floats], Floats]:
    """Boosted trees, for what is not linear: they learn each pair both ways round and give half the difference of both.

    References
    ----------
    Friedman (2001), Greedy function approximation: a gradient boosting machine, Annals of Statistics 29, 1189-1232.
    """
    varies = differences.any(axis=0)  # no tree splits the others, which cost as much time
    if not varies.any():
        return lambda rows: np.zeros(len(rows))
    differences = differences[:, varies]
    if len(target) > _LARGEST_SAMPLE:
        taken = np.random.default_rng(0).choice(len(target), _LARGEST_SAMPLE, replace=False)
        differences, target, weight = differences[taken], target[taken], weight[taken]
    model = HistGradientBoostingRegressor(
        max_iter=_NUM_TREES,
        max_leaf_nodes=_NUM_LEAVES,
        learning_rate=_RATE,
        min_samples_leaf=_MIN_ROWS,
        early_stopping=False,
        random_state=0,
    )
    weights = np.tile(weight, 2) if np.ptp(weight) else None  # equal ones would only cost time
    with _ONE_BY_ONE:
        model.fit(np.concatenate([differences, -differences]), np.concatenate([target, -target]), weights)

    def predict(rows: Floats) -> Floats:
        used = rows[:, varies]
        with _ONE_BY_ONE:
            return np.asarray((model.predict(used) - model.predict(-used)) / 2, dtype=np.float64)

    return predict
