"""Exact evaluation during training, on prompts that are neither trained on nor audited."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rm.errors import TrainingError
from rm.model.batch_layout import BatchLayout
from rm.model.reward_model import RewardModel
from rm.tokens.items import TokenizedPrompt
from rm.train import batching
from rm.train.distributed import World
from rm.train.loss import bradley_terry_loss
from rm.train.settings import StepSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """Loss and accuracy on the validation split."""

    loss: float
    """Nats a pair, weighted."""
    accuracy: float
    """Share of decided pairs whose preferred response got the higher reward, a tie counting one half."""


@torch.no_grad()
def validate(
    model: RewardModel,
    prompts: Sequence[TokenizedPrompt],
    layout: BatchLayout,
    settings: StepSettings,
    tokens_per_batch: int,
    world: World,
) -> Validation:
    """Measure a model on all comparisons of some prompts; sums over passes and processes are divided once, at the end.

    Raises
    ------
    TrainingError
        If the loss is no number.
    """
    pairs = batching.all_pairs(prompts)
    passes = batching.divide(prompts, pairs, layout, tokens_per_batch, world.size)
    sums = torch.zeros(4, dtype=torch.float64, device=world.device)
    for blocks, counts in world.assign(passes):
        batch = batching.lay_out(blocks, layout, world.device)
        with torch.autocast(world.device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
            outputs = model.outputs(batch.sequences)
        rewards = outputs[:, : model.config.num_heads].mean(dim=1)
        losses = bradley_terry_loss(rewards[batch.first], rewards[batch.second], batch.preference, batch.target_margin)
        right, decided, _ = batching.agreement(rewards, batch)
        found = torch.stack([(losses * batch.weight).sum(), batch.weight.sum(), right.sum(), decided.sum()])
        sums += counts * found
    loss, weight, num_right, num_decided = world.sum(sums).tolist()
    if not math.isfinite(loss):
        raise TrainingError(
            f"the loss on the validation split is {loss}; it should be a number as long as training's is"
        )
    return Validation(loss=loss / weight, accuracy=num_right / num_decided if num_decided else math.nan)
