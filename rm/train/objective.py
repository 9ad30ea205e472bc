"""The training objective: Bradley-Terry loss of each reward head, squared error of each attribute head."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rm.errors import TrainingError
from rm.model.device import to_device
from rm.model.packing import PackedSequences
from rm.model.padding import PaddedSequences
from rm.model.reward_model import RewardModel
from rm.remedies.controlled import Control
from rm.tokens.items import TokenizedPrompt
from rm.train import batching
from rm.train.batching import Block, Compared
from rm.train.loss import PAIR_TERMS, pair_loss
from rm.train.settings import StepSettings

Sequences = PackedSequences | PaddedSequences
Scales = Sequence[tuple[str, float, float]]
"""Name, mean and standard deviation of each attribute's values."""


class Norm(NamedTuple):
    """The divisors of a step's losses."""

    weight: float
    """Sum of the comparisons' weights."""
    num_values: int
    """Number of attribute values."""
    num_tokens: int
    """Tokens of all sequences, each with its prompt."""


def head_outputs(model: RewardModel, sequences: Sequences, settings: StepSettings) -> Tensor:
    """Outputs of all heads, shape (N, heads), float32, with the backbone in the precision of the settings."""
    device = model.score.weight.device.type
    with torch.autocast(device, torch.bfloat16, enabled=settings.precision == "bfloat16"):
        return model.outputs(sequences)


def mean_rewards(outputs: Tensor, num_heads: int) -> Tensor:
    """Mean over the reward heads, shape (N,), from the outputs of all heads."""
    return outputs[:, :num_heads].mean(dim=1)


def attribute_scales(prompts: Sequence[TokenizedPrompt], names: Sequence[str]) -> Scales:
    """Mean and standard deviation of each attribute over the training responses that have a value.

    Raises
    ------
    TrainingError
        If an attribute has fewer than two different values.
    """
    scales: list[tuple[str, float, float]] = []
    for name in names:
        values = [
            attributes[name] for prompt in prompts for attributes in prompt.response_attributes if name in attributes
        ]
        if len(set(values)) < 2:
            raise TrainingError(
                f"model.attributes: {name!r} has {len(set(values))} different values in the training split, expected "
                "at least 2"
            )
        scales.append((name, float(np.mean(values)), float(np.std(values))))
    return scales


def _draw(name: str, count: int) -> NDArray[np.int64]:
    """Poisson counts with a seed that is the hash of a name."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    return np.random.default_rng(seed).poisson(1.0, count)


def _num_tokens(blocks: Sequence[Block]) -> int:
    return sum(block.tokens.num_tokens(shared=False) for block in blocks)


class Objective:
    """The loss of a step, computed pass by pass.

    Parameters
    ----------
    settings : StepSettings
    prompts : sequence of TokenizedPrompt
    num_heads : int
        Number of reward heads. Several heads are trained on different bootstrap samples of the prompts, or they would
        learn the same: each weighs a prompt by a Poisson count of mean 1 that depends on seed, prompt and head.
    scales : sequence of (str, float, float)
        Name, mean and standard deviation of each attribute, in the order of the attribute heads.
    mean_weight : float, optional
        Of the comparisons of all prompts, those that remedies add left out.

    References
    ----------
    Oza (2005), Online bagging and boosting, doi:10.1109/ICSMC.2005.1571498
    """

    def __init__(
        self,
        settings: StepSettings,
        prompts: Sequence[TokenizedPrompt],
        num_heads: int = 1,
        scales: Scales = (),
        mean_weight: float = 1.0,
    ) -> None:
        self.settings, self.num_heads, self.scales = settings, num_heads, scales
        self.coefficients: dict[str, float] = {name: getattr(settings, name) for name in PAIR_TERMS}
        self.control = Control(len(settings.remedies.controlled), mean_weight)
        self.counts = torch.ones(len(prompts), num_heads)
        if num_heads > 1:
            counts = [_draw(f"{settings.seed}/{prompt.prompt_id}", num_heads) for prompt in prompts]
            self.counts = torch.from_numpy(np.asarray(counts, dtype=np.float32))

    def norm(self, blocks: Sequence[Block]) -> Norm:
        """The divisors of the losses of a step's blocks; they are the same in every process."""
        weight = sum(pair.weight for block in blocks for pair in block.comparisons)
        num_values = sum(int(np.isfinite(self.targets([block])).sum()) for block in blocks) if self.scales else 0
        return Norm(weight, num_values, _num_tokens(blocks))

    def targets(self, blocks: Sequence[Block]) -> NDArray[np.float32]:
        """Standard scores of the attributes of the blocks' responses, shape (N, attributes), NaN where missing."""
        values = [
            [(found[name] - mean) / std if name in found else np.nan for name, mean, std in self.scales]
            for block in blocks
            for found in block.attributes
        ]
        return np.asarray(values, dtype=np.float32)

    def read(
        self, model: RewardModel, sequences: Sequences, blocks: Sequence[Block], norm: Norm
    ) -> tuple[Tensor, Tensor]:
        """Read the responses of some blocks.

        Returns
        -------
        Tensor of shape (N, heads), float32
            The outputs.
        Tensor of shape (), float32
            What their reading itself adds to the step's loss: with `StepSettings.router_aux` the imbalance of the
            experts, a mean over the passes by their tokens; else 0.
        """
        if not self.settings.router_aux:
            outputs = head_outputs(model, sequences, self.settings)
            return outputs, outputs.new_zeros(())
        with model.routing.recorded() as logits:
            outputs = head_outputs(model, sequences, self.settings)
        share = self.settings.router_aux * _num_tokens(blocks) / norm.num_tokens
        return outputs, share * model.routing.imbalance(logits, sequences)

    def loss(self, outputs: Tensor, compared: Compared, blocks: Sequence[Block], norm: Norm) -> Tensor:
        """The part of the step's loss that the comparisons of some blocks contribute.

        Parameters
        ----------
        outputs : Tensor of shape (N, heads), float32
        compared : Compared
            The comparisons of the blocks.
        blocks : sequence of Block
        norm : Norm
            The divisors of the step.

        Returns
        -------
        Tensor of shape (), float32
            Mean over the reward heads of the weighted loss of the pairs, plus `StepSettings.attribute_weight` times the
            mean squared error over the attribute values, in standard scores.
        """
        counts = to_device(self.counts[compared.prompt], outputs.device)
        explained = self.control.log_odds(compared.controlled)
        losses = [
            pair_loss(
                outputs[compared.first, head],
                outputs[compared.second, head],
                compared.preference,
                compared.target_margin,
                self.coefficients,
                explained,
            )
            for head in range(self.num_heads)
        ]
        weighted = (torch.stack(losses, dim=1) * counts * compared.weight.unsqueeze(1)).sum()
        loss = weighted / (norm.weight * self.num_heads)
        if self.scales and norm.num_values:
            targets = to_device(torch.from_numpy(self.targets(blocks)), outputs.device)
            # Missing values get a factor of 0 instead of being left out, so that an output of NaN always shows.
            errors = (outputs[:, self.num_heads :] - torch.nan_to_num(targets)) * targets.isfinite()
            loss = loss + self.settings.attribute_weight * (errors**2).sum() / norm.num_values
        return loss

    @property
    def num_sums(self) -> int:
        """Terms of a step's sums."""
        return 4 + self.control.num_sums

    def sums(self, outputs: Tensor, compared: Compared) -> Tensor:
        """Terms of a step's sums: how far rewards agree with comparisons, and what controlled features are learnt from.

        Returns
        -------
        Tensor of shape (S,), float64
            0 (the place of the loss), decided comparisons, those that the rewards decide in the same way, margins, then
            `Control.sums`.
        """
        rewards = mean_rewards(outputs, self.num_heads)
        right, decided, margin = batching.agreement(rewards, compared)
        agreement = torch.stack([margin.new_zeros(()), decided.sum(), right.sum(), margin.sum()]).double()
        control = self.control.sums(
            rewards[compared.first] - rewards[compared.second],
            compared.controlled,
            compared.preference,
            compared.target_margin,
            compared.weight,
        )
        return torch.cat([agreement, control])
