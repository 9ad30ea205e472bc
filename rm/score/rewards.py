"""Rewards of responses, from their token ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from rm.model.batch_layout import BatchLayout
from rm.model.reward_model import RewardModelConfig
from rm.model.token_ids import TokenGroup
from rm.stats.clustered import Floats, Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewards:
    """Outputs of a reward model for N responses."""

    rewards: NDArray[np.float64]
    """(N,), mean over the reward heads."""
    disagreement: NDArray[np.float64] | None
    """(N,), standard deviation over the reward heads; None if there is only one."""
    attributes: dict[str, NDArray[np.float64]]
    """Name of each attribute to its estimates, (N,), in the units of the annotations."""

    @classmethod
    def of(cls, outputs: NDArray[np.float64], config: RewardModelConfig) -> Rewards:
        """Split the outputs of all heads, shape (N, heads), into rewards and attributes."""
        heads, estimates = outputs[:, : config.num_heads], outputs[:, config.num_heads :]
        return cls(
            rewards=heads.mean(axis=1),
            disagreement=heads.std(axis=1, ddof=1) if config.num_heads > 1 else None,
            attributes={
                name: estimates[:, index] * std + mean for index, (name, mean, std) in enumerate(config.attributes)
            },
        )

    def rows(self) -> list[dict[str, Any]]:
        """One row per response, with the columns of `rm.score.stage.SCORES_SCHEMA` that hold outputs."""
        disagreement = [None] * len(self.rewards) if self.disagreement is None else self.disagreement.tolist()
        return [
            {
                "reward": reward,
                "disagreement": deviation,
                "attributes": {name: float(values[index]) for name, values in self.attributes.items()},
            }
            for index, (reward, deviation) in enumerate(zip(self.rewards.tolist(), disagreement, strict=True))
        ]


class ItemRewards(NamedTuple):
    """Rewards of one prompt's K responses."""

    rewards: Floats
    """(K,), NaN where a response is too long for the model, or the chat template refuses the prompt."""
    num_tokens: Ints
    """(K,), number of tokens of each response."""
    prompt_is_cut: bool = False
    """Whether the prompt was cut, to make room for the longest response that is not too long."""


def shards(groups: Sequence[TokenGroup], layout: BatchLayout, tokens_per_batch: int) -> list[Ints]:
    """Indices of groups of about the same length, which fill a few forward passes; the longest come first."""
    found: list[list[int]] = []
    room = 0
    for index in sorted(range(len(groups)), key=lambda index: -groups[index].longest):
        num_tokens = layout.num_tokens([groups[index]])
        if not found or num_tokens > room:
            found.append([])
            room = _PASSES_PER_SHARD * tokens_per_batch
        found[-1].append(index)
        room -= num_tokens
    return [np.array(sorted(indices)) for indices in found]


_PASSES_PER_SHARD = 8
"""Enough that few passes are half empty, and few enough for many workers."""


@torch.inference_mode()
def outputs(
    model: Any,
    layout: BatchLayout,
    groups: Sequence[TokenGroup],
    tokens_per_batch: int,
    device: torch.device,
) -> NDArray[np.float64]:
    """Outputs of all heads for the responses of all groups, N in total, in the given order.

    Parameters
    ----------
    model : RewardModel or Classifier
        On the device.
    layout : BatchLayout
    groups : sequence of TokenGroup
    tokens_per_batch : int
        Most tokens in one forward pass; a longer sequence is read alone.
    device : torch.device

    Returns
    -------
    array of shape (N, heads and attributes)
    """
    starts = np.cumsum([0] + [len(group.response_ids) for group in groups]).tolist()
    parts = [
        part
        for group, start in zip(groups, starts, strict=False)
        for part in _fitting(group, start, layout, tokens_per_batch)
    ]
    found = np.empty((starts[-1], model.config.num_heads + len(model.config.attributes)))
    for some in layout.fill(parts, tokens_per_batch):
        sequences = layout.lay_out([part.tokens for part in some]).to(device)
        indices = [part.start + index for part in some for index in range(len(part.tokens.response_ids))]
        found[indices] = model.outputs(sequences).double().cpu().numpy()
    return found


class _Part(NamedTuple):
    """Some responses to a prompt, and the index of the first of them among all responses."""

    tokens: TokenGroup
    start: int


def _fitting(group: TokenGroup, start: int, layout: BatchLayout, tokens_per_batch: int) -> list[_Part]:
    """The responses of a group, halved until each part fits into a forward pass."""
    half = len(group.response_ids) // 2
    if not half or layout.num_tokens([group]) <= tokens_per_batch:
        return [_Part(group, start)]
    first, second = group.response_ids[:half], group.response_ids[half:]
    return [
        *_fitting(TokenGroup(group.prompt_ids, first), start, layout, tokens_per_batch),
        *_fitting(TokenGroup(group.prompt_ids, second), start + half, layout, tokens_per_batch),
    ]
