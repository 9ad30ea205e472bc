"""Batch-wise sum to zero: rewards whose mean is kept at 0 do not grow for what all responses share."""

from __future__ import annotations

from torch import Tensor

_SMALLEST = 1e-12


def sum_to_zero(first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    """The squared mean of the rewards of a whole step.

    Parameters
    ----------
    first, second : Tensor of shape (B,), float32
        Rewards of both responses of each pair of the step.
    weight : Tensor of shape (B,), float32
        Weights of the pairs; if all are 0, so is the result.

    Returns
    -------
    Tensor of shape (), float32

    Notes
    -----
    (sum_b w_b (r_b1 + r_b2) / 2 / sum_b w_b)^2. `rm.train.loss.centering` squares each pair's sum instead, and so also
    pulls rewards together that differ between prompts.

    References
    ----------
    Hong et al. (2025), On the robustness of reward models for language model alignment, arXiv:2505.07271
    """
    return ((weight * (first + second) / 2).sum() / weight.sum().clamp(min=_SMALLEST)) ** 2
