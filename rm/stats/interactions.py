"""What goes with a number of each pair in some kinds of pairs only: products of features and kinds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rm.stats.clustered import Floats
from rm.stats.cross_fit import Learner, ridge

_FARTHEST = 5.0
"""Usual differences: one pair far out would otherwise decide a product of a rare feature and a rare kind."""
_LEAST_PAIRS = 30
"""A product that is other than 0 in fewer pairs is left out."""
_LARGEST_SAMPLE = 10_000
"""Pairs from which products are learnt: there are hundreds of columns."""


def products(num_kinds: int) -> Learner:
    """A learner of `rm.stats.cross_fit.cross_fit`: ridge regression on each feature times each kind of pair.

    Parameters
    ----------
    num_kinds : int
        The last so many columns are 1 in pairs of a kind, else 0; those before are features in usual differences.

    Notes
    -----
    A kind enters as a standard score, so what a feature is worth over all pairs is not learnt here. A kind belongs to
    the prompt and stays when the sides of a pair are swapped: the products flip their sign with the feature.
    """

    def learn(rows: Floats, target: Floats, weight: Floats) -> Callable[[Floats], Floats]:
        if len(target) > _LARGEST_SAMPLE:
            taken = np.random.default_rng(0).choice(len(target), _LARGEST_SAMPLE, replace=False)
            rows, target, weight = rows[taken], target[taken], weight[taken]
        kinds = rows[:, -num_kinds:]
        center, spread = kinds.mean(axis=0), kinds.std(axis=0)

        def split(other: Floats) -> tuple[Floats, Floats]:
            scores = (other[:, -num_kinds:] - center) / np.where(spread > 0, spread, np.inf)
            return np.clip(other[:, :-num_kinds], -_FARTHEST, _FARTHEST), scores

        features, scores = split(rows)
        differ = (features != 0).sum(axis=0) >= _LEAST_PAIRS
        features = features[:, differ]
        columns = (features[:, :, None] * scores[:, None, :]).reshape(len(features), -1)
        if not columns.any():
            return lambda other: np.zeros(len(other))
        fitted = ridge(columns, target, weight)
        factors = fitted(np.eye(columns.shape[1])).reshape(-1, num_kinds)

        def predict(other: Floats) -> Floats:
            features, scores = split(other)
            paid: Floats = (features[:, differ] @ factors * scores).sum(axis=1)
            return paid

        return predict

    return learn
