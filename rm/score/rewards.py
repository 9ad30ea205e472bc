"""What a model says of responses."""

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
from rm.progress import OnProgress
from rm.stats.clustered import Floats, Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewards:
    """What a model says of N responses."""

    rewards: NDArray[np.float64]
    """(N,), the mean over the reward heads."""
    disagreement: NDArray[np.float64] | None
    """(N,), standard deviation over the reward heads; None where there is one."""
    attributes: dict[str, NDArray[np.float64]]
    """Name of each attribute head to its estimates, (N,), in the annotations' units."""

    @classmethod
    def of(cls, outputs: NDArray[np.float64], config: RewardModelConfig) -> Rewards:
        """Tell apart the heads' outputs, (N, heads)."""
        heads, estimates = outputs[:, : config.num_heads], outputs[:, config.num_heads :]
        return cls(
            rewards=heads.mean(axis=1),
            disagreement=heads.std(axis=1, ddof=1) if config.num_heads > 1 else None,
            attributes={name: estimates[:, at] * std + mean for at, (name, mean, std) in enumerate(config.attributes)},
        )

    def rows(self) -> list[dict[str, Any]]:
        """One row a response, as in `SCORES_SCHEMA`."""
        disagreement = [None] * len(self.rewards) if self.disagreement is None else self.disagreement.tolist()
        return [
            {
                "reward": reward,
                "disagreement": deviation,
                "attributes": {name: float(values[at]) for name, values in self.attributes.items()},
            }
            for at, (reward, deviation) in enumerate(zip(self.rewards.tolist(), disagreement, strict=True))
        ]


class ItemRewards(NamedTuple):
    """Rewards of one prompt's K responses."""

    rewards: Floats
    """(K,), NaN where the model has no room for the response."""
    num_tokens: Ints
    """(K,), response tokens."""
    prompt_is_cut: bool = False
    """Whether the longest response that there is room for leaves none for the whole prompt."""


@torch.inference_mode()
def score_groups(
    model: Any,
    layout: BatchLayout,
    groups: Sequence[TokenGroup],
    tokens_per_batch: int,
    device: torch.device,
    on_progress: OnProgress | None = None,
) -> Rewards:
    """Rewards of prompts' responses, of N in all, in the order given.

    Parameters
    ----------
    model : RewardModel or Classifier
        On the device.
    layout : BatchLayout
    groups : sequence of TokenGroup
    tokens_per_batch : int
        Most tokens in one forward pass; a sequence that is longer is read by itself.
    device : torch.device
    on_progress : callable, optional
    """
    starts = np.cumsum([0] + [len(group.response_ids) for group in groups]).tolist()
    parts = [
        part
        for group, start in zip(groups, starts, strict=False)
        for part in _fitting(group, start, layout, tokens_per_batch)
    ]
    outputs = np.empty((starts[-1], model.config.num_heads + len(model.config.attributes)))
    done = 0
    for some in layout.fill(parts, tokens_per_batch):
        sequences = layout.lay_out([part.tokens for part in some]).to(device)
        indices = [part.start + index for part in some for index in range(len(part.tokens.response_ids))]
        outputs[indices] = model.outputs(sequences).double().cpu().numpy()
        done += len(indices)
        if on_progress:
            on_progress(done, len(outputs))
    return Rewards.of(outputs, model.config)


class _Part(NamedTuple):
    """Some responses to a prompt, and the index of the first one among all responses."""

    tokens: TokenGroup
    start: int


def _fitting(group: TokenGroup, start: int, layout: BatchLayout, tokens_per_batch: int) -> list[_Part]:
    """The group, its responses halved until each part fits."""
    half = len(group.response_ids) // 2
    if not half or layout.num_tokens([group]) <= tokens_per_batch:
        return [_Part(group, start)]
    first, second = group.response_ids[:half], group.response_ids[half:]
    return [
        *_fitting(TokenGroup(group.prompt_ids, first), start, layout, tokens_per_batch),
        *_fitting(TokenGroup(group.prompt_ids, second), start + half, layout, tokens_per_batch),
    ]
