"""Rewards that must come together before the loss is known, from several forward passes or several processes.

A comparison can be too large for one pass. Each response attends to its prompt and to itself alone, so that the
responses of a prompt can be read apart, each piece with the prompt. Only the rewards, one number per response, are
exchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from rm.model.batch_layout import BatchLayout
from rm.model.reward_model import RewardModel
from rm.train import batching
from rm.train.batching import Block, Division
from rm.train.distributed import World
from rm.train.objective import Norm, Objective


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Forward passes whose rewards come together."""

    wholes: list[Block]
    """The blocks with all comparisons."""
    passes: list[list[Block]]
    """The blocks of each forward pass; their responses, one pass after another, are those of the wholes."""


def rounds(division: Division, num_processes: int) -> list[Round]:
    """What comes together in a step.

    Parameters
    ----------
    division : Division
    num_processes : int
        Prompts that are spread come together as long as their pieces can be read at once; one with more pieces alone.
    """
    found: list[Round] = []
    for each in division.spread:
        pieces = [[piece] for piece in each.pieces]
        if found and len(found[-1].passes) + len(pieces) <= num_processes:
            found[-1].wholes.append(each.whole)
            found[-1].passes.extend(pieces)
        else:
            found.append(Round(wholes=[each.whole], passes=pieces))
    return found


def take(
    model: RewardModel,
    objective: Objective,
    layout: BatchLayout,
    together: Sequence[Round],
    norm: Norm,
    world: World,
) -> Tensor:
    """Add the gradients of some rounds to the parameters.

    With no more passes than processes, each process reads one. The rewards are summed over the processes, and each
    process computes the same loss and takes the backward pass of its own. With more, each pass is read twice: without
    gradients for the rewards, then with the loss's gradient for them, so that one pass at a time is in memory. Both
    give the gradient of the whole.

    Parameters
    ----------
    model : RewardModel
    objective : Objective
    layout : BatchLayout
    together : sequence of Round
        The same in every process.
    norm : Norm
        The divisors of the whole step.
    world : World
        Every process must call this.

    Returns
    -------
    Tensor of shape (S,), float64
        This process's terms of `Objective.sums`.

    Raises
    ------
    OutOfMemoryError
        If a process runs out of memory. With sharded parameters it is raised there at once, and the others wait for
        ever: the caller must end the training. Otherwise all of them take part in what the others wait for first.

    References
    ----------
    Gao et al. (2021), Scaling deep contrastive learning batch size under memory limited setup, arXiv:2101.06983
    """
    totals = torch.zeros(objective.num_sums, dtype=torch.float64, device=world.device)
    failed = False
    for some in together:
        failed = not _Taken(model, objective, layout, some, norm, world).add(totals, failed)
    if failed:
        raise torch.OutOfMemoryError("out of memory in a backward pass")
    return totals


class _Taken:
    """One round in this process."""

    def __init__(
        self, model: RewardModel, objective: Objective, layout: BatchLayout, some: Round, norm: Norm, world: World
    ) -> None:
        self.model, self.objective, self.layout, self.round = model, objective, layout, some
        self.norm, self.world = norm, world
        ends = list(accumulate((sum(len(block.responses) for block in blocks) for blocks in some.passes), initial=0))
        places = [(blocks, slice(*both)) for blocks, both in zip(some.passes, pairwise(ends), strict=True)]
        self.own = world.assign(places)
        self.at_once = len(some.passes) <= world.size
        self.num_responses = ends[-1]

    def add(self, totals: Tensor, failed: bool) -> bool:
        """Add this process's terms to the totals; False if it ran out of memory, which the next round tells the others.

        A process that failed before reads nothing, but takes part in what the others wait for.
        """
        rewards = torch.zeros(self.num_responses, self.model.score.out_features, device=self.world.device)
        kept: list[tuple[Tensor, Tensor]] = []
        try:
            with torch.set_grad_enabled(self.at_once):
                for (blocks, place), weight in [] if failed else self.own:
                    outputs, extra = self._read(blocks)
                    rewards[place] += weight * outputs.detach()
                    if self.at_once:
                        kept.append((outputs, extra))
        except torch.OutOfMemoryError:
            if self.world.sharded:  # the others already wait for this one's part of a layer
                raise
            failed = True
        if self.world.any_rank(failed):
            raise torch.OutOfMemoryError("a process is out of memory")
        gradient = self._gradient(self.world.sum(rewards), totals)
        try:
            for index, ((blocks, place), weight) in enumerate(self.own):
                outputs, extra = kept[index] if self.at_once else self._read(blocks)
                # Its gradient is that of the whole loss by the chain rule; its value means nothing.
                proxy = weight * ((outputs * gradient[place]).sum() + extra)
                proxy.backward()  # type: ignore[no-untyped-call]
                totals[0] += weight * extra.detach()
        except torch.OutOfMemoryError:
            if self.world.sharded:
                raise
            return False
        return True

    def _read(self, blocks: Sequence[Block]) -> tuple[Tensor, Tensor]:
        sequences = batching.sequences(blocks, self.layout, self.world.device)
        return self.objective.read(self.model, sequences, blocks, self.norm)

    def _gradient(self, rewards: Tensor, totals: Tensor) -> Tensor:
        """The gradient of the loss for all rewards of the round; the first process counts the loss."""
        rewards.requires_grad_()
        compared = batching.compared(self.round.wholes, self.world.device)
        loss = self.objective.loss(rewards, compared, self.round.wholes, self.norm)
        [gradient] = torch.autograd.grad(loss, rewards)
        if self.world.rank == 0:
            totals += self.objective.sums(rewards.detach(), compared)
            totals[0] += loss.detach()
        return gradient
