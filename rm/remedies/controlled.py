"""Features that labels may follow beside quality: what they ask of these is learnt aside and left out of the reward."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from rm.model.device import to_device

_MEMORY = 1000.0
"""Pairs after which older ones count e times less, those that other remedies add among them."""


class Control:
    """What labels ask of the controlled features at equal rewards, learnt beside the model, step by step.

    Parameters
    ----------
    num_features : int
        F.
    mean_weight : float, optional
        Of the pairs of the training.

    Notes
    -----
    Training explains a vote by the difference of two rewards d plus a term for each feature:

        P(first > second) = sigmoid(d + b'x)

    with x the differences of the features, in standard deviations. The model learns d, and b is learnt here; the reward
    is the model's alone. So are AlpacaEval's win rates controlled for length (Dubois et al. 2024). Fitted before the
    training, to votes and features alone, b would be too small, since quality, which is not in that regression, blurs
    the votes. So b moves with the model: after each step by one Newton step on the log-likelihood of the last thousand
    pairs or so,

        b <- b + H^-1 g,    H <- P + decay (H - P) + sum_i w_i max(v_i, u_i^2) x_i x_i',    g = sum_i w_i u_i x_i

    with u the residual of a vote, v its variance, P = mean(w) I a prior that is worth little on whatever scale the
    weights are, and a decay by which pairs count e times less after a thousand others. The square of the residual is
    as large as the variance on average. Where rewards are sure and some votes are errors, the variance alone is near 0,
    and b would jump with each such vote.

    References
    ----------
    Dubois et al. (2024), Length-controlled AlpacaEval, arXiv:2404.04475
    Berndt et al. (1974), Estimation and inference in nonlinear structural models, for H of squared residuals
    Clark et al. (2019), Don't take the easy way out, arXiv:1909.03683, whose first expert is fixed
    Chen et al. (2024), ODIN, arXiv:2402.07319, where a second head of the model takes what is of length
    """

    def __init__(self, num_features: int, mean_weight: float = 1.0) -> None:
        self.coefficients = np.zeros(num_features)
        self._prior = mean_weight * np.eye(num_features)
        self._information = self._prior

    @property
    def num_sums(self) -> int:
        """Numbers that a step's votes are summed up in."""
        count = len(self.coefficients)
        return count + count**2

    def log_odds(self, differences: Tensor) -> Tensor:
        """What the features of pairs explain, shape (B,), from their differences, shape (B, F)."""
        return differences @ to_device(torch.tensor(self.coefficients, dtype=torch.float32), differences.device)

    def sums(self, margin: Tensor, differences: Tensor, preference: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """The terms of g and of H of some pairs.

        Parameters
        ----------
        margin : Tensor of shape (B,), float32
            Reward of the first response of each pair minus that of the second.
        differences : Tensor of shape (B, F), float32
        preference, target, weight : Tensor of shape (B,), float32
            Share of votes for the first response, the target margin, and the weight.

        Returns
        -------
        Tensor of shape (F + F^2,), float64
        """
        explained = margin + self.log_odds(differences)
        for_first, for_second = torch.sigmoid(explained - target), torch.sigmoid(-explained - target)
        residual = preference * (1 - for_first) - (1 - preference) * (1 - for_second)
        variance = preference * for_first * (1 - for_first) + (1 - preference) * for_second * (1 - for_second)
        known = weight * torch.maximum(variance, residual**2)
        information = (known.unsqueeze(1) * differences).T @ differences
        return torch.cat([(weight * residual) @ differences, information.flatten()]).double()

    def advance(self, sums: Sequence[float], num_pairs: int) -> None:
        """Take a Newton step.

        Parameters
        ----------
        sums : sequence of float
            `sums` over all pairs of the step.
        num_pairs : int
            Of the step.
        """
        count = len(self.coefficients)
        gradient, added = np.array(sums[:count]), np.reshape(sums[count:], (count, count))
        decay = np.exp(-num_pairs / _MEMORY)
        self._information = self._prior + decay * (self._information - self._prior) + added
        self.coefficients = self.coefficients + np.linalg.solve(self._information, gradient)

    @property
    def state(self) -> tuple[float, ...]:
        """Coefficients and information, to go on from."""
        return (*self.coefficients.tolist(), *self._information.flatten().tolist())

    def restore(self, state: Sequence[float]) -> None:
        """Go on from a `state`; from the beginning if it is empty."""
        count = len(self.coefficients)
        if state:
            self.coefficients = np.array(state[:count])
            self._information = np.reshape(state[count:], (count, count))
