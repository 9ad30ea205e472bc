"""How well heuristics that understand nothing predict the labels; a coin is right in half of the pairs.

A baseline is a function of training rows, held-out rows and the weights of the training rows, one row per pair. For
each held-out pair it says whether the heuristic, fitted on the training rows, is right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.sparse
import scipy.special

from rm.audit import phrases, style_features
from rm.audit.evidence import TrainTexts
from rm.audit.heldout import Heldout
from rm.files import sha256_text
from rm.stats import clustered
from rm.stats.clustered import Floats, Ints
from rm.stats.finding import key
from rm.stats.measurements import Measurements
from rm.stats.threads import in_parallel

Matrix = Any
"""An array or sparse matrix, one row per pair."""
Baseline = Callable[[Matrix, Matrix, Floats | None], Floats]

_NUM_FOLDS = 5
_TOLERANCE = 3e-4  # of the slope, relative to its noise, which grows with the square root of the number of rows
_STYLE_INVERSE_PENALTY = 2.0  # inverse of the penalty
_WORDS_INVERSE_PENALTY = 0.06  # a strong penalty, since there are many columns and most are rare
_CUBE_PER_COLUMN = 15_000  # a factorisation takes the cube of the rows, L-BFGS some hundred passes over the columns
_SAME = 1e-12
_MAX_NEWTON_STEPS = 50
_NEWTON_TOLERANCE = 1e-10  # of a share of 1


def add_style_baselines(collected: Measurements, heldout: Heldout, train: TrainTexts | None, fold: Ints) -> None:
    """Add the accuracies of length alone and of style alone, and by how much the model is better.

    Findings ``baseline_accuracy`` and ``accuracy_over_baseline``, each with the label ``baseline``.

    Parameters
    ----------
    collected : Measurements
    heldout : Heldout
    train : TrainTexts, optional
        None: the baselines are cross-fitted on the held-out pairs.
    fold : array of shape (B,)
        Fold of each held-out pair, as `folds` gives it.
    """
    pairs = heldout.pairs
    rows = style_features.differences(pairs.chosen, pairs.rejected)
    known = None if train is None else train.style
    about_style = (
        f"logistic regression on which is longer and on differences of {', '.join(style_features.FEATURE_NAMES)}"
    )
    for name, baseline, about in (
        ("length", length_baseline, "always the longer, or shorter, response"),
        ("style", style_baseline, about_style),
    ):
        _add(collected, heldout, name, judged(baseline, known, rows, fold, pairs.weight), about, train)


def add_words_baseline(collected: Measurements, heldout: Heldout, train: TrainTexts | None, fold: Ints) -> None:
    """Add the same findings as `add_style_baselines` for a bag of words, which never sees a prompt."""
    pairs = heldout.pairs
    known: Matrix | None = None
    if train is None:
        (rows,) = word_rows((pairs.chosen, pairs.rejected))
    else:
        known, rows = word_rows((train.chosen, train.rejected), (pairs.chosen, pairs.rejected))
    correct = judged(words_baseline, known, rows, fold, pairs.weight)
    _add(collected, heldout, "words", correct, "logistic regression on counts of words and word pairs", train)


def _add(
    collected: Measurements, heldout: Heldout, name: str, correct: Floats, about: str, train: TrainTexts | None
) -> None:
    pairs, count = heldout.pairs, len(heldout.pairs.margin)
    accuracy = pairs.mean(correct, collected.num_clusters)
    over = pairs.mean(pairs.correct - correct, collected.num_clusters)
    fitted = (
        f"{len(train.chosen):,} training pairs" if train else f"the held-out pairs of other prompts, {_NUM_FOLDS}-fold"
    )
    collected.add(
        key("baseline_accuracy", baseline=name), accuracy, count, "share of pairs", f"{about}; fitted on {fitted}"
    )
    method = f"accuracy minus {name}-only accuracy, same pairs"
    collected.add(key("accuracy_over_baseline", baseline=name), over, count, "difference of shares", method)


def judged(
    baseline: Baseline, train: Matrix | None, heldout: Matrix, fold: Ints, weight: Floats | None = None
) -> Floats:
    """Whether the baseline is right on each held-out pair.

    Parameters
    ----------
    baseline : Baseline
        `length_baseline`, `style_baseline` or `words_baseline`.
    train : array or sparse matrix of rows, optional
        Pairs to fit on. Default: 5-fold cross-fitting, in which the baseline is fitted on four fifths of the held-out
        pairs and judged on the other fifth.
    heldout : B rows, an array or a sparse matrix
    fold : array of shape (B,)
        Fold of each held-out pair, as `folds` gives it.
    weight : array of shape (B,), optional
        Of each held-out pair, with mean 1; default: 1. Pairs of ``train`` count 1 each.

    Returns
    -------
    array of shape (B,)
        1 where right, 0 where wrong, 0.5 where undecided; NaN if there was nothing to fit on.
    """
    if train is not None:
        return baseline(train, heldout, None)
    correct = np.full(len(fold), np.nan)

    def judge(index: int) -> None:
        inside = fold == index
        if inside.any():
            correct[inside] = baseline(heldout[~inside], heldout[inside], None if weight is None else weight[~inside])

    in_parallel(judge, range(_NUM_FOLDS))
    return correct


def folds(prompts: Sequence[str]) -> Ints:
    """Fold of each prompt, in [0, 5), shape (B,): from a hash of its text alone, so that it never changes."""
    return np.array([int(sha256_text(prompt)[:13], 16) % _NUM_FOLDS for prompt in prompts], dtype=np.int64)


def word_rows(*sides: tuple[Sequence[str], Sequence[str]]) -> list[Matrix]:
    """Rows for `words_baseline`: counts of words and word pairs in the chosen minus those in the rejected response.

    Returns
    -------
    list of sparse matrices, each of shape (B, P)
        One matrix per (chosen, rejected); the columns are the same phrases in all.
    """
    reading = phrases.read(text for side in sides for texts in side for text in texts)
    return [(reading.rows(chosen) - reading.rows(rejected)).astype(np.float64) for chosen, rejected in sides]


def length_baseline(train: Floats, heldout: Floats, weight: Floats | None = None) -> Floats:
    """Whether "pick the longer", or "pick the shorter" if that is right more often in training, is right.

    Parameters
    ----------
    train, heldout : array of shape (B, F)
        As `rm.audit.style_features.differences` gives them.
    weight : array of shape (B,), optional
        Of each training pair, with mean 1; default: 1.

    Returns
    -------
    array of shape (B,)
        1 where right, 0 where wrong, 0.5 at equal length; NaN without training pairs.
    """
    if not len(train):
        return np.full(len(heldout), np.nan)
    longer = np.sign(train[:, 0])
    direction = np.sign((longer if weight is None else weight * longer).sum()) or 1.0
    return clustered.win_indicator(direction * heldout[:, 0])


def style_baseline(train: Floats, heldout: Floats, weight: Floats | None = None) -> Floats:
    """Whether a logistic regression on the feature differences and on which is longer, fitted in training, is right.

    Without "which is longer" it can do worse than `length_baseline`: labels may follow which response is longer and
    not by how much. It has no intercept, so swapping a pair swaps the verdict. Parameters and result are those of
    `length_baseline`.
    """
    if not len(train):
        return np.full(len(heldout), np.nan)
    train, heldout = (np.column_stack([rows, np.sign(rows[:, 0])]) for rows in (train, heldout))
    scale = train.std(axis=0)
    scale[scale <= _SAME * np.abs(train).max(axis=0)] = 1.0  # of equal values it is hardly ever exactly 0
    return clustered.win_indicator(heldout / scale @ _coefficients(train / scale, _STYLE_INVERSE_PENALTY, weight))


def words_baseline(train: Matrix, heldout: Matrix, weight: Floats | None = None) -> Floats:
    """Whether a logistic regression on differences of word and word pair counts is right; it never sees a prompt.

    Parameters
    ----------
    train, heldout : sparse matrices of shape (B, P)
        As `word_rows` gives them.
    weight : array of shape (B,), optional
        Of each training pair, with mean 1; default: 1.

    Returns
    -------
    array of shape (B,)
        As `length_baseline`.
    """
    if not train.shape[0]:
        return np.full(heldout.shape[0], np.nan)
    if not train.nnz:
        return np.full(heldout.shape[0], 0.5)
    return clustered.win_indicator(heldout @ _coefficients(train, _WORDS_INVERSE_PENALTY, weight))


def _coefficients(inputs: Matrix, freedom: float, given: Floats | None) -> Floats:
    """Coefficients of a logistic regression without intercept on rows that are chosen minus rejected, shape (F,).

    They minimise ``sum weight log(1 + exp(-inputs @ w)) + |w|^2 / (2 freedom)``.
    """
    num_rows, num_columns = inputs.shape
    weight = np.ones(num_rows) if given is None else given
    if num_rows**3 < _CUBE_PER_COLUMN * num_columns:
        return _coefficients_by_rows(inputs, freedom, weight)
    return _coefficients_by_columns(inputs, freedom, weight)


def _coefficients_by_rows(inputs: Matrix, freedom: float, weight: Floats) -> Floats:
    """The coefficients as a sum of rows, by Newton's method: fast where columns are many.

    Notes
    -----
    At the minimum ``w = freedom * inputs.T @ a`` with ``a = weight sigmoid(-inputs @ w)``, so there are as many unknown
    numbers as rows. Each step solves a system that is well conditioned, however large the products of rows are.

    References
    ----------
    Rasmussen and Williams (2006), Gaussian Processes for Machine Learning, algorithm 3.1.
    """
    products = inputs @ inputs.T
    kernel = freedom * np.asarray(products.toarray() if scipy.sparse.issparse(products) else products)
    share, step = np.zeros(len(kernel)), np.zeros(len(kernel))
    reached = math.inf
    for _ in range(_MAX_NEWTON_STEPS):
        margin = kernel @ (share + step)
        value = float(weight @ np.logaddexp(0, -margin) + (share + step) @ margin / 2)
        if value > reached + _NEWTON_TOLERANCE * len(kernel):  # too far: a whole step may jump over the minimum
            step = step / 2
            continue
        share, reached = share + step, value
        wrong = scipy.special.expit(-margin)
        root = np.sqrt(weight * wrong * (1 - wrong))
        system = root[:, None] * kernel * root
        system[np.diag_indices_from(system)] += 1
        target = root**2 * margin + weight * wrong
        solved = scipy.linalg.solve(system, root * (kernel @ target), assume_a="pos", overwrite_a=True)
        step = target - root * solved - share
        if np.abs(step).max(initial=0.0) < _NEWTON_TOLERANCE:
            break
    return np.asarray(freedom * (inputs.T @ share), dtype=np.float64)


def _coefficients_by_columns(inputs: Matrix, freedom: float, weight: Floats) -> Floats:
    """The coefficients by L-BFGS: fast where rows are many.

    Notes
    -----
    Each coefficient is in units of the largest standard error that it can have, because some phrases are rare and
    others are everywhere: with one unit for all, L-BFGS takes three times as many steps.
    """
    squares = inputs.power(2) if scipy.sparse.issparse(inputs) else inputs**2
    unit = 1 / np.sqrt(np.asarray(squares.T @ weight).ravel() / 4 + 1 / freedom)

    def loss(scaled: Floats) -> tuple[float, Floats]:
        coefficients = scaled * unit
        margin = inputs @ coefficients
        value = weight @ np.logaddexp(0, -margin) + coefficients @ coefficients / (2 * freedom)
        slope = coefficients / freedom - inputs.T @ (weight * scipy.special.expit(-margin))
        return value, slope * unit

    options = {"gtol": _TOLERANCE * math.sqrt(inputs.shape[0]), "ftol": 0.0, "maxiter": 1000}
    found = scipy.optimize.minimize(loss, np.zeros(len(unit)), jac=True, method="L-BFGS-B", options=options)
    return np.asarray(found.x * unit, dtype=np.float64)
