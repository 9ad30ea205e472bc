"""Comparisons too large for one forward pass: their responses are read in several passes, or in several processes.

Each response attends to its prompt and to itself alone, so that the responses of a prompt can be read apart, each piece
with the prompt. Only their rewards, one number per response, must come together before the loss is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from rm.model.batch_layout import BatchLayout
from rm.model.reward_model import RewardModel
from rm.train import batching
from rm.train.batching import Block, Spread
from rm.train.distributed import World
from rm.train.objective import Norm, Objective


def take(
    model: RewardModel,
    objective: Objective,
    layout: BatchLayout,
    spread: Sequence[Spread],
    norm: Norm,
    world: World,
) -> Tensor:
    """Add the gradients of spread comparisons to the parameters.

    As many pieces as there are processes are read at once, one in each. Rewards are summed over the processes, and each
    process computes the same loss and takes the backward pass of its own piece. A prompt with more pieces than there
    are processes is read twice: without gradients for the rewards, then piece by piece with the loss's gradient for
    them, so that one piece at a time is in memory. Both give the gradient of the whole.

    Parameters
    ----------
    model : RewardModel
    objective : Objective
    layout : BatchLayout
    spread : sequence of Spread
        The same in every process.
    norm : Norm
        The divisors of the whole step.
    world : World
        Every process must call this.

    Returns
    -------
    Tensor of shape (4,), float64
        This process's terms of the step's sums: loss, decided comparisons, those decided in the same way, margins.

    Raises
    ------
    OutOfMemoryError
        If any process runs out of memory; raised in each of them, or in this one after it has taken part in everything.

    References
    ----------
    Gao et al. (2021), Scaling deep contrastive learning batch size under memory limited setup, arXiv:2101.06983
    """
    totals = torch.zeros(4, dtype=torch.float64, device=world.device)
    failed = False
    for some in _rounds(spread, world.size):
        failed = not _Round(model, objective, layout, some, norm, world).take(totals, failed)
    if failed:
        raise torch.OutOfMemoryError("out of memory in a backward pass")
    return totals


def _rounds(spread: Sequence[Spread], num_processes: int) -> Iterator[list[Spread]]:
    """Together those whose pieces can be read at once; one with more pieces alone."""
    some: list[Spread] = []
    for each in spread:
        if some and sum(len(one.pieces) for one in [*some, each]) > num_processes:
            yield some
            some = []
        some.append(each)
    if some:
        yield some


class _Round:
    """What the processes read together."""

    def __init__(
        self,
        model: RewardModel,
        objective: Objective,
        layout: BatchLayout,
        spread: Sequence[Spread],
        norm: Norm,
        world: World,
    ) -> None:
        self.model, self.objective, self.layout, self.norm, self.world = model, objective, layout, norm, world
        self.wholes = [each.whole for each in spread]
        pieces = [piece for each in spread for piece in each.pieces]
        ends = accumulate((len(piece.responses) for piece in pieces), initial=0)
        places = [(piece, slice(*both)) for piece, both in zip(pieces, pairwise(ends), strict=True)]
        self.own = world.assign(places)
        self.at_once = len(pieces) <= world.size
        self.num_responses = places[-1][1].stop

    def take(self, totals: Tensor, failed: bool) -> bool:
        """Add this process's terms to the totals; False if it ran out of memory, which the next round tells the others.

        A process that failed before reads nothing, but takes part in what the others wait for.
        """
        rewards = torch.zeros(self.num_responses, self.model.score.out_features, device=self.world.device)
        kept: list[tuple[Tensor, Tensor]] = []
        try:
            with torch.set_grad_enabled(self.at_once):
                for (piece, place), weight in [] if failed else self.own:
                    outputs, extra = self._read(piece)
                    rewards[place] += weight * outputs.detach()
                    if self.at_once:
                        kept.append((outputs, extra))
        except torch.OutOfMemoryError:
            failed = True
        if self.world.any_rank(failed):
            raise torch.OutOfMemoryError("a process is out of memory")
        gradient = self._gradient(self.world.sum(rewards), totals)
        try:
            for index, ((piece, place), weight) in enumerate(self.own):
                outputs, extra = kept[index] if self.at_once else self._read(piece)
                # Its gradient is that of the whole loss by the chain rule; its value means nothing.
                proxy = weight * ((outputs * gradient[place]).sum() + extra)
                proxy.backward()  # type: ignore[no-untyped-call]
                totals[0] += weight * extra.detach()
        except torch.OutOfMemoryError:
            return False
        return True

    def _read(self, piece: Block) -> tuple[Tensor, Tensor]:
        sequences = batching.sequences([piece], self.layout, self.world.device)
        return self.objective.read(self.model, sequences, [piece], self.norm)

    def _gradient(self, rewards: Tensor, totals: Tensor) -> Tensor:
        """The gradient of the loss for all rewards of the round; the first process counts the loss."""
        rewards.requires_grad_()
        compared = batching.compared(self.wholes, self.world.device)
        loss = self.objective.loss(rewards, compared, self.wholes, self.norm)
        [gradient] = torch.autograd.grad(loss, rewards)
        if self.world.rank == 0:
            totals += self.objective.agreement(rewards.detach(), compared)
            totals[0] += loss.detach()
        return gradient
