"""Taking the direction of length out of the head of a trained model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rm.errors import TrainingError
from rm.model.batch_layout import BatchLayout
from rm.model.device import to_device
from rm.model.reward_model import RewardModel
from rm.remedies.projection import length_direction, without
from rm.tokens.items import TokenizedPrompt
from rm.train import batching
from rm.train.batching import Block
from rm.train.objective import head_outputs
from rm.train.settings import StepSettings

_NUM_PAIRS = 1_000
"""Pairs that the direction is estimated on, at most; one per prompt."""
_LEAST = 20
"""Fewest pairs whose longer response is preferred, and fewest whose longer one is not."""


def length_pairs(prompts: Sequence[TokenizedPrompt]) -> list[Block]:
    """The first pair of each prompt that is decided and whose lengths differ, until there are enough.

    Parameters
    ----------
    prompts : sequence of TokenizedPrompt
        Of the training split, in order of a hash, so that the first ones are a random sample.

    Raises
    ------
    TrainingError
        If they are too few: told before the training, not after it.
    """
    found: list[Block] = []
    for index, prompt in enumerate(prompts):
        places = [place for place in range(len(prompt.comparisons)) if _says_something(prompt, place)]
        found += [batching.block(prompt, index, [place]) for place in places[:1]]
        if len(found) == _NUM_PAIRS:
            break
    num_longer = sum(map(_prefers_longer, found))
    if min(num_longer, len(found) - num_longer) < _LEAST:
        raise TrainingError(
            f"train.remedies.projected_length: the longer response is preferred in {num_longer} and the shorter one in "
            f"{len(found) - num_longer} of the training pairs that were looked at, expected at least {_LEAST} of both"
        )
    return found


def _says_something(prompt: TokenizedPrompt, place: int) -> bool:
    pair = prompt.comparisons[place]
    lengths = [len(prompt.response_ids[index]) for index in (pair.first, pair.second)]
    return pair.preference != 0.5 and lengths[0] != lengths[1]


def _first_is_longer(block: Block) -> bool:
    [pair], ids = block.comparisons, block.tokens.response_ids
    return len(ids[pair.first]) > len(ids[pair.second])


def _prefers_longer(block: Block) -> bool:
    return (block.comparisons[0].preference > 0.5) == _first_is_longer(block)


@torch.no_grad()
def project(
    model: RewardModel, pairs: Sequence[Block], layout: BatchLayout, settings: StepSettings, tokens_per_batch: int
) -> None:
    """Take the direction of length out of the reward heads, in place; attribute heads stay.

    Parameters
    ----------
    model : RewardModel
        Trained, whole, on any device.
    pairs : sequence of Block
        `length_pairs`.
    layout : BatchLayout
    settings : StepSettings
    tokens_per_batch : int
        Most tokens in one forward pass; a larger pair gets a pass of its own.
    """
    apart: list[Tensor] = []
    preferred: list[bool] = []
    for blocks in layout.fill(pairs, tokens_per_batch):
        states = _states(model, blocks, layout, settings)
        compared = batching.compared(blocks, states.device)
        signs = torch.tensor([1.0 if _first_is_longer(block) else -1.0 for block in blocks])
        apart.append(to_device(signs, states.device).unsqueeze(1) * (states[compared.first] - states[compared.second]))
        preferred += map(_prefers_longer, blocks)
    direction = length_direction(torch.cat(apart), to_device(torch.tensor(preferred), model.score.weight.device))
    heads = model.score.weight[: model.config.num_heads]
    heads.copy_(without(heads, direction))


def _states(model: RewardModel, blocks: Sequence[Block], layout: BatchLayout, settings: StepSettings) -> Tensor:
    """What the head reads of each response, shape (N, H), float32."""
    found: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Tensor]) -> None:
        found.append(inputs[0])

    hook = model.score.register_forward_pre_hook(keep)
    try:
        head_outputs(model, batching.sequences(blocks, layout, model.score.weight.device), settings)
    finally:
        hook.remove()
    if len(found) != 1:  # long rows are read apart, in another order
        raise TrainingError("train.remedies.projected_length: expected a model that reads a batch at once")
    return found[0]
