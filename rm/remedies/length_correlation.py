"""Correlation penalty: reward differences that do not follow differences of length."""

from __future__ import annotations

from torch import Tensor

_SMALLEST = 1e-12
"""Added to sums of squares, so that equal lengths or equal rewards give 0."""


def length_correlation(first: Tensor, second: Tensor, log_length: Tensor, weight: Tensor) -> Tensor:
    """The squared correlation of reward differences with length differences in a whole step.

    Parameters
    ----------
    first, second : Tensor of shape (B,), float32
        Rewards of both responses of each pair of the step.
    log_length : Tensor of shape (B,), float32
        Log of the first response's tokens minus that of the second's.
    weight : Tensor of shape (B,), float32
        Weights of the pairs.

    Returns
    -------
    Tensor of shape (), float32, in [0, 1]

    Notes
    -----
    c^2 with c = sum w d l / sqrt(sum w d^2 sum w l^2), d = r_1 - r_2. Nothing is subtracted, since the order of a pair
    is arbitrary: exchanging its responses changes the signs of both. What labels truly ask of length is lost too. Of a
    single pair it is 1, without a gradient.

    References
    ----------
    Chen et al. (2024), ODIN, arXiv:2402.07319, whose length head has such a term
    """
    margin = first - second
    product = (weight * margin * log_length).sum()
    squares = ((weight * margin**2).sum() + _SMALLEST) * ((weight * log_length**2).sum() + _SMALLEST)
    return product**2 / squares
