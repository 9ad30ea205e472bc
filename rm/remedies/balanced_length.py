"""Weights of labels by which, among pairs of about one length difference, the longer and the shorter win alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rm.data.preferences import Comparison

Floats = NDArray[np.float64]
_NUM_BINS = 10
_LARGEST = 5.0
"""Most that votes are weighed by, before weights are divided by their mean."""


class LengthBalance:
    """Weights of labels by the length difference of their pairs.

    Parameters
    ----------
    log_length : array of shape (C,)
        Log of the first response's tokens minus that of the second's, over all pairs that are trained on.
    preference : array of shape (C,)
        Share of votes for the first response.
    weight : array of shape (C,)

    Notes
    -----
    Pairs are divided into ten bins of equal number by the absolute difference. In each bin the votes for the longer
    response get the weight S / 2L and those for the shorter one S / 2K, at most 5, with L and K the weights of these
    votes and S = L + K. A pair with votes p for its first response becomes one with the sum of both sides' weights, and
    the share that falls on the first. Votes in pairs of equal length get the weight 1. At the end all weights are
    divided by their mean.
    Weighing keeps the data that balancing by leaving out pairs loses, which cost 7 to 9 points of accuracy there.

    References
    ----------
    Singhal et al. (2023), A long way to go: investigating length correlations in RLHF, arXiv:2310.03716
    """

    def __init__(self, log_length: Floats, preference: Floats, weight: Floats) -> None:
        size = np.abs(log_length)
        apart = size > 0
        quantiles = np.linspace(0, 1, _NUM_BINS + 1)[1:-1]
        self._edges = np.quantile(size[apart], quantiles) if apart.any() else np.empty(0)
        for_longer = np.where(log_length > 0, preference, 1 - preference)
        bins = np.searchsorted(self._edges, size[apart], side="right")
        longer, shorter = (
            np.bincount(bins, votes * weight[apart], minlength=_NUM_BINS)
            for votes in (for_longer[apart], 1 - for_longer[apart])
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            factors = [np.minimum((longer + shorter) / (2 * side), _LARGEST) for side in (longer, shorter)]
        self._longer, self._shorter = (np.where(np.isfinite(each), each, 1.0) for each in factors)
        self._mean = 1.0
        total = weight.sum()
        if total > 0:
            first, second = self._sides(log_length)
            self._mean = float((weight * (preference * first + (1 - preference) * second)).sum() / total)

    def _sides(self, log_length: Floats) -> tuple[Floats, Floats]:
        """Factors of votes for the first and for the second response."""
        bins = np.searchsorted(self._edges, np.abs(log_length), side="right")
        longer, shorter = self._longer[bins], self._shorter[bins]
        first = np.where(log_length > 0, longer, np.where(log_length < 0, shorter, 1.0))
        second = np.where(log_length > 0, shorter, np.where(log_length < 0, longer, 1.0))
        return first / self._mean, second / self._mean

    def balanced(self, pair: Comparison, log_length: float) -> Comparison:
        """A pair with its balanced weight and share of votes."""
        (first,), (second,) = self._sides(np.array([log_length]))
        one, other = pair.preference * float(first), (1 - pair.preference) * float(second)
        return replace(pair, preference=one / (one + other), weight=pair.weight * (one + other))
