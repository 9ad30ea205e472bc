"""What a reward model's head reads of each response."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from torch import Tensor

from rm.errors import ModelError
from rm.model.reward_model import RewardModel
from rm.model.token_ids import TokenGroup
from rm.score import rewards
from rm.score.scorer import Scorer
from rm.stats.clustered import Floats


def states(scorer: Scorer, groups: Sequence[TokenGroup]) -> Floats:
    """The pooled hidden state of each response, N in total, in the given order.

    Parameters
    ----------
    scorer : Scorer
        Of a checkpoint that the pipeline trained.
    groups : sequence of TokenGroup

    Returns
    -------
    array of shape (N, H)

    Raises
    ------
    ModelError
        If the model is no reward model of ours.
    """
    if not isinstance(scorer.model, RewardModel):
        raise ModelError(f"{scorer.folder}: expected a checkpoint that rmflow trained")
    reading = _HeadInputs(scorer.model)
    return np.asarray(rewards.outputs(reading, scorer.layout, groups, scorer.tokens_per_batch, scorer.device))


class _HeadInputs:
    """A model whose outputs are what its head reads."""

    def __init__(self, model: RewardModel) -> None:
        self._model = model
        self.config = SimpleNamespace(num_heads=model.config.hidden_size, attributes=())

    def outputs(self, sequences: Any) -> Tensor:
        read: list[Tensor] = []
        hook = self._model.score.register_forward_pre_hook(lambda _, given: read.append(given[0]))
        try:
            self._model.outputs(sequences)
        finally:
            hook.remove()
        if len(read) != 1:
            raise ModelError("expected a model that reads a batch at once")  # long texts may be read apart
        return read[0].float()
