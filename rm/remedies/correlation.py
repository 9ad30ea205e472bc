"""Correlation penalty: reward differences that do not follow differences of length."""

from __future__ import annotations

import torch
from torch import Tensor

_DECAY = 0.5
"""Weight of a step in the next one's statistics. With 0.9 the penalty came so late that tiny models overshot: rewards
that followed length became ones that follow its opposite."""
_SHRINKAGE = 0.01
"""Share that correlations among features lose, so that features that say the same do not make a singular matrix."""
_SMALLEST = 1e-12
"""Added to sums of squares, so that equal lengths or equal rewards give 0."""

Moments = tuple[tuple[tuple[float, ...], ...], ...]


def moments(margin: Tensor, surface: Tensor, weight: Tensor) -> Tensor:
    """Weighted sums of products of 1, reward differences and surface differences.

    Parameters
    ----------
    margin : Tensor of shape (B, heads), float32
        Reward of the first response of each pair minus that of the second.
    surface : Tensor of shape (B, F), float32
        The same differences of F features.
    weight : Tensor of shape (B, heads), float32

    Returns
    -------
    Tensor of shape (heads, F + 2, F + 2), float32
        Sum over pairs of w z z' with z = (1, margin, surface).
    """
    fixed = surface.unsqueeze(1).expand(-1, margin.shape[1], -1)
    rows = torch.cat([torch.ones_like(margin).unsqueeze(2), margin.unsqueeze(2), fixed], dim=2)
    return (weight.unsqueeze(2) * rows).permute(1, 2, 0) @ rows.transpose(0, 1)


def squared_correlation(means: Tensor) -> Tensor:
    """The squared multiple correlation of reward differences with all features together.

    Parameters
    ----------
    means : Tensor of shape (heads, F + 2, F + 2), float32
        `moments`, divided by the weight of the pairs.

    Returns
    -------
    Tensor of shape (heads,), float32, in [0, 1]
        c' C^-1 c, with c the correlations of reward differences with each feature, and C those among the features,
        shrunk by 1 %. With one feature it is the squared correlation.

    Notes
    -----
    Nothing is subtracted, since the order of a pair is arbitrary: exchanging its responses changes the signs of all
    differences.
    """
    squares = means.diagonal(dim1=1, dim2=2)[:, 1:] + _SMALLEST
    correlations = means[:, 1:, 1:] / (squares.unsqueeze(1) * squares.unsqueeze(2)).sqrt()
    with_margin, among = correlations[:, 0, 1:], (1 - _SHRINKAGE) * correlations[:, 1:, 1:].detach()
    among = among - torch.diag_embed(among.diagonal(dim1=1, dim2=2)) + torch.eye(among.shape[1], device=among.device)
    solved: Tensor = torch.linalg.solve(among, with_margin.unsqueeze(2)).squeeze(2)
    return (with_margin * solved).sum(dim=1)


class RunningCorrelation:
    """The penalty of one step after another, from sums in which a step counts half as much after each next one.

    Notes
    -----
    The square of a correlation over the 32 pairs of a step is 1/32 where there is none, and its gradient is mostly
    noise; over the running sums, which are worth three steps, it is a third of that. So the penalty is that of the
    running sums, and its gradient as if the step's own means were those: what the rewards of this step would change if
    all steps were like it.

    References
    ----------
    Chen et al. (2024), ODIN, arXiv:2402.07319, whose heads have such a term of a batch and of length alone
    """

    def __init__(self) -> None:
        self._sums: Tensor | None = None
        self._next: Tensor | None = None

    def term(self, margin: Tensor, surface: Tensor, weight: Tensor) -> Tensor:
        """The penalty of each head, shape (heads,), with these pairs as the whole next step; arguments as `moments`."""
        own = moments(margin, surface, weight)
        before = torch.zeros_like(own) if self._sums is None else self._sums.to(own.device)
        self._next = own.detach() + _DECAY * before
        running, mean = (each / (each[:, :1, :1] + _SMALLEST) for each in (self._next, own))
        return squared_correlation(running + mean - mean.detach())

    def advance(self) -> None:
        """Keep the sums of the last term: its step was taken."""
        self._sums = self._next

    @property
    def state(self) -> Moments:
        """The sums, to go on from; empty before the first step."""
        return () if self._sums is None else tuple(tuple(map(tuple, each)) for each in self._sums.tolist())

    def restore(self, state: Moments) -> None:
        """Go on from sums of `state`."""
        self._sums = torch.tensor(state) if state else None
