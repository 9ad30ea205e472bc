"""What goes with a number of each pair in some kinds of pairs only: products of features and kinds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rm.stats.clustered import Floats
from rm.stats.cross_fit import ridge

_FARTHEST = 5.0
"""Usual differences: one pair far out would otherwise decide a product of a rare feature and a rare kind."""
_LEAST_PAIRS = 30
"""A product that is other than 0 in fewer pairs is left out."""
_LARGEST_SAMPLE = 10_000
"""Pairs from which products are learnt: there are hundreds of columns."""


@dataclass(frozen=True, slots=True)
class InKinds:
    """Rows of `products`."""

    features: Floats
    """(B, F), usual differences, first minus second response."""
    kinds: NDArray[np.bool_]
    """(B, K), whether each pair belongs to each kind."""

    def __getitem__(self, rows: Any) -> InKinds:
        """Some of the rows."""
        return InKinds(self.features[rows], self.kinds[rows])


def products(pairs: InKinds, target: Floats, weight: Floats) -> Callable[[InKinds], Floats]:
    """A learner of `rm.stats.cross_fit.cross_fit`: ridge regression on each feature times each kind of pair.

    A kind enters as a standard score, so what a feature is worth over all pairs is not learnt here. A kind belongs to
    the prompt and stays when the sides of a pair are swapped: the products flip their sign with the feature.
    """
    if len(target) > _LARGEST_SAMPLE:
        taken = np.random.default_rng(0).choice(len(target), _LARGEST_SAMPLE, replace=False)
        pairs, target, weight = pairs[taken], target[taken], weight[taken]
    center, spread = pairs.kinds.mean(axis=0), pairs.kinds.std(axis=0)
    differ = (pairs.features != 0).sum(axis=0) >= _LEAST_PAIRS

    def split(other: InKinds) -> tuple[Floats, Floats]:
        scores = (other.kinds - center) / np.where(spread > 0, spread, np.inf)
        return np.clip(other.features[:, differ], -_FARTHEST, _FARTHEST), scores

    features, scores = split(pairs)
    columns = (features[:, :, None] * scores[:, None, :]).reshape(len(features), -1)
    if not columns.any():
        return lambda other: np.zeros(len(other.features))
    factors = ridge(columns, target, weight)(np.eye(columns.shape[1])).reshape(-1, len(center))

    def predict(other: InKinds) -> Floats:
        features, scores = split(other)
        paid: Floats = (features @ factors * scores).sum(axis=1)
        return paid

    return predict
