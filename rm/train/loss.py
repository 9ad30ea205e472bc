"""The loss of a pair: Bradley-Terry with soft labels and target margins, and the terms that settings add to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor


def bradley_terry_loss(
    reward_first: Tensor,
    reward_second: Tensor,
    preference: Tensor | None = None,
    target_margin: Tensor | None = None,
) -> Tensor:
    """Negative log-likelihood of each observed preference, in nats.

    Parameters
    ----------
    reward_first, reward_second : Tensor of shape (B,)
        Rewards of two responses to the same prompt.
    preference : Tensor of shape (B,), optional
        Share of votes for the first response, in [0, 1]; default: 1, the first response is the chosen one.
    target_margin : Tensor of shape (B,), optional
        By how much the preferred reward should exceed the other; default: 0.

    Returns
    -------
    Tensor of shape (B,), float32
        The caller weighs, sums and divides, so that the sums of several batches can be added exactly.

    Raises
    ------
    ValueError
        If the shapes differ, are not 1-d, or B is 0; (B, 1) against (B,) would broadcast to (B, B).

    Notes
    -----
    P(first > second) = sigmoid(d) with d = r_1 - r_2. With preference p and target margin m the loss is
    -p log sigmoid(d - m) - (1 - p) log sigmoid(-d - m), ln 2 at equal rewards without a margin. Differences are taken
    in float32; rewards already rounded to bfloat16 stay tied.

    References
    ----------
    Bradley and Terry (1952), Biometrika 39, 324-345. doi:10.1093/biomet/39.3-4.324
    """
    preference = torch.ones_like(reward_first) if preference is None else preference
    target_margin = torch.zeros_like(reward_first) if target_margin is None else target_margin
    shapes = {tuple(value.shape) for value in (reward_first, reward_second, preference, target_margin)}
    if len(shapes) > 1 or reward_first.ndim != 1 or not len(reward_first):
        raise ValueError(f"expected tensors of one shape (B,) with B > 0, got {sorted(shapes)}")
    first, second = reward_first.float(), reward_second.float()
    margin, p, target = first - second, preference.float(), target_margin.float()
    return -p * F.logsigmoid(margin - target) - (1 - p) * F.logsigmoid(-margin - target)


def centering(reward_first: Tensor, reward_second: Tensor) -> Tensor:
    """(r_1 + r_2)^2, which keeps rewards near 0: the likelihood leaves a constant free.

    Parameters
    ----------
    reward_first, reward_second : Tensor of shape (B,), float32

    Returns
    -------
    Tensor of shape (B,), float32

    References
    ----------
    Eisenstein et al. (2023), Helping or Herding?, arXiv:2312.09244
    """
    return (reward_first + reward_second) ** 2


PAIR_TERMS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {"centering": centering}
"""Terms that are added to the loss of each pair. Each has the name of the field of `rm.train.config.TrainConfig` that
holds its coefficient, and is left out at a coefficient of 0."""


def pair_loss(
    reward_first: Tensor,
    reward_second: Tensor,
    preference: Tensor,
    target_margin: Tensor,
    coefficients: Mapping[str, float],
    explained: Tensor,
) -> Tensor:
    """Bradley-Terry loss of each pair plus the terms that have a coefficient, in nats.

    Parameters
    ----------
    reward_first, reward_second, preference, target_margin : Tensor of shape (B,)
        As of `bradley_terry_loss`.
    coefficients : mapping
        Coefficient of each of `PAIR_TERMS` by name.
    explained : Tensor of shape (B,), float32
        Log-odds for the first response that are no part of the rewards (`rm.remedies.controlled.Control.log_odds`).

    Returns
    -------
    Tensor of shape (B,), float32
    """
    loss = bradley_terry_loss(reward_first + explained, reward_second, preference, target_margin)
    for name, term in PAIR_TERMS.items():
        if coefficients[name]:
            loss = loss + coefficients[name] * term(reward_first.float(), reward_second.float())
    return loss
