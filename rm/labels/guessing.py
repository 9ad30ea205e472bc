"""How well heuristics that understand nothing guess the labels, and whether a model of flipped labels guesses wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from rm.audit import baselines, style_features
from rm.audit.baselines import Baseline, Matrix
from rm.labels.pairs import LabelledPairs
from rm.labels.shares import share
from rm.stats import clustered
from rm.stats.clustered import Floats, Ints
from rm.stats.finding import key
from rm.stats.measurements import Measurements

MOST_FITTED = 5_000
"""Training pairs that the swap control is fitted on."""

Texts = tuple[Sequence[str], Sequence[str]]
"""Chosen and rejected responses."""


class _Kind(NamedTuple):
    name: str
    baseline: Baseline
    rows: Callable[..., list[Matrix]]
    """Rows of each of several pairs of texts, with the same columns."""
    about: str


def _style_rows(*sides: Texts) -> list[Matrix]:
    return [style_features.differences(chosen, rejected) for chosen, rejected in sides]


_KINDS = (
    _Kind("style", baselines.style_baseline, _style_rows, "logistic regression on length and marks of style"),
    _Kind("words", baselines.words_baseline, baselines.word_rows, "logistic regression on words and word pairs"),
)


def add(collected: Measurements, pairs: LabelledPairs) -> None:
    """Add ``label_style_accuracy`` and ``label_words_accuracy``, cross-fitted on the training pairs with a majority.

    No fold divides a cluster of near-duplicate prompts.
    """
    decided = pairs.decided
    texts = pairs.sides(decided)
    cluster = pairs.cluster[decided]
    fold = _folds(pairs, decided)
    for kind in _KINDS:
        (rows,) = kind.rows(texts)
        correct = baselines.judged(kind.baseline, None, rows, fold)
        known = ~np.isnan(correct)
        right, count = share(correct, cluster, known), int(known.sum())
        method = f"{kind.about}, fitted on pairs of other prompts, without any prompt"
        collected.add_interval(key(f"label_{kind.name}_accuracy"), right, count, "share of pairs", method)


def _folds(pairs: LabelledPairs, rows: Ints) -> Ints:
    first: dict[int, str] = {}
    for number, text in zip(pairs.cluster.tolist(), pairs.prompts, strict=True):
        first[number] = min(first.get(number, text), text)
    return baselines.folds([first[number] for number in pairs.cluster[rows].tolist()])


def add_swap(collected: Measurements, train: LabelledPairs, heldout: LabelledPairs) -> None:
    """Add ``label_swap_style`` and ``label_swap_words``: accuracy plus that of a model of flipped labels, minus 1.

    Both are fitted on training pairs and judged on the same held-out pairs. For the second model the responses of every
    training pair change places before anything is read of them.

    Parameters
    ----------
    collected : Measurements
        Of the clusters of the held-out pairs.
    train, heldout : LabelledPairs

    Notes
    -----
    Without an intercept, a regression of flipped labels has the negative coefficients, so that the sum is 0 to the last
    pair. Anything else means that what is read of a pair depends on which response the label prefers, and then no
    number of this audit is to be believed. It says nothing about the annotators, and nothing about the reward model.
    """
    decided = heldout.decided
    judged, fitted = heldout.sides(decided), train.sides(train.decided[:MOST_FITTED])
    for kind in _KINDS:
        right, wrong = (_right(kind, texts, judged) for texts in (fitted, fitted[::-1]))
        statistic = clustered.mean(right + wrong - 1, heldout.cluster[decided], collected.num_clusters)
        method = f"{kind.about} of labels and of flipped ones: both accuracies on held-out pairs, minus 1"
        collected.add(key(f"label_swap_{kind.name}"), statistic, len(decided), "difference of shares", method)


def _right(kind: _Kind, fitted: Texts, judged: Texts) -> Floats:
    train, heldout = kind.rows(fitted, judged)
    return kind.baseline(train, heldout, None)
