"""Projection: the direction in which hidden states of long responses differ, taken out of the reward head."""

from __future__ import annotations

import torch
from torch import Tensor


def length_direction(apart: Tensor, is_preferred: Tensor) -> Tensor:
    """In which direction longer responses lie from shorter ones to the same prompt, at equal labels.

    Parameters
    ----------
    apart : Tensor of shape (B, H)
        Hidden state of the longer response of each pair minus that of the shorter one, as the head reads them.
    is_preferred : Tensor of shape (B,), bool
        Whether the longer response is the preferred one; some are, and some are not.

    Returns
    -------
    Tensor of shape (H,)
        v = (mean of the differences where the longer one is preferred + mean where it is not) / 2. What makes a
        response better has one sign in the first mean and the other in the second, and goes out, whatever share of the
        longer ones is preferred; what makes it longer has the same sign in both, and stays.
    """
    return (apart[is_preferred].mean(dim=0) + apart[~is_preferred].mean(dim=0)) / 2


def without(weight: Tensor, direction: Tensor) -> Tensor:
    """Weights of heads that do not see a direction.

    Parameters
    ----------
    weight : Tensor of shape (heads, H)
    direction : Tensor of shape (H,)
        v, not 0.

    Returns
    -------
    Tensor of shape (heads, H)
        w - (w.v) v / v.v for each head: adding any multiple of v to a hidden state does not change its reward.

    References
    ----------
    arXiv:2603.03291, which takes differences of means out of the heads of public reward models
    """
    return weight - torch.outer(weight @ direction, direction) / (direction @ direction)
