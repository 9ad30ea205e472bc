"""Consistency: an edit that changes nothing that counts does not change the reward."""

from __future__ import annotations

from torch import Tensor


def consistency(original: Tensor, edited: Tensor) -> Tensor:
    """Squared differences of the rewards of responses and of their edits.

    Parameters
    ----------
    original, edited : Tensor of shape (E, heads), float32
        Rewards of E responses, and of the same responses after edits such as double spaces or bold words
        (`rm.remedies.edited_responses`).

    Returns
    -------
    Tensor of shape (E,), float32
        (r(x, y) - r(x, edit(y)))^2, a mean over the heads.

    References
    ----------
    Wu et al. (2025), reWordBench: benchmarking and improving the robustness of reward models with transformed inputs,
    arXiv:2503.11751
    """
    return ((original - edited) ** 2).mean(dim=1)
