"""Loss and accuracy during training, on prompts that are neither trained on nor audited."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rm.errors import TrainingError
from rm.model.batch_layout import BatchLayout
from rm.model.reward_model import RewardModel
from rm.remedies.controlled import Control
from rm.tokens.items import TokenizedPrompt
from rm.train import batching
from rm.train.distributed import World
from rm.train.loss import bradley_terry_loss
from rm.train.objective import head_outputs, mean_rewards
from rm.train.settings import StepSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """Loss and accuracy on the validation split."""

    loss: float
    """Weighted mean in nats per pair."""
    accuracy: float
    """Share of decided pairs whose preferred response has the higher reward; a tie counts one half."""


@torch.no_grad()
def validate(
    model: RewardModel,
    prompts: Sequence[TokenizedPrompt],
    layout: BatchLayout,
    settings: StepSettings,
    tokens_per_batch: int,
    world: World,
    control: Control,
) -> Validation:
    """Loss and accuracy of a model over all comparisons of some prompts, with the mean of its reward heads.

    Parameters
    ----------
    model : RewardModel
    prompts : sequence of TokenizedPrompt
    layout : BatchLayout
    settings : StepSettings
    tokens_per_batch : int
        Most tokens in one forward pass; every comparison fits into it.
    world : World
        Every process must call this.
    control : Control
        Its terms are part of the loss, as in training.

    Raises
    ------
    TrainingError
        If the loss is not finite.
    """
    every = batching.all_pairs(batching.count_pairs(prompts))
    passes = batching.divide(prompts, every, layout, tokens_per_batch, world.size).passes
    sums = torch.zeros(4, dtype=torch.float64, device=world.device)
    for blocks, pass_weight in world.assign(passes):
        batch = batching.lay_out(blocks, layout, world.device)
        pairs = batch.compared
        rewards = mean_rewards(head_outputs(model, batch.sequences, settings), model.config.num_heads)
        first = rewards[pairs.first] + control.log_odds(pairs.controlled)
        losses = bradley_terry_loss(first, rewards[pairs.second], pairs.preference, pairs.target_margin)
        right, decided, _ = batching.agreement(rewards, pairs)
        found = torch.stack([(losses * pairs.weight).sum(), pairs.weight.sum(), right.sum(), decided.sum()])
        sums += pass_weight * found
    loss, weight, num_right, num_decided = world.sum(sums).tolist()
    if not math.isfinite(loss):
        raise TrainingError(f"expected a finite loss on the validation split, got {loss}")
    return Validation(loss=loss / weight, accuracy=num_right / num_decided if num_decided else math.nan)
