"""Optimizer steps: a fixed number of pairs per step, divided into forward passes within a token budget."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from rm.errors import NonFiniteLoss, TrainingError
from rm.model.batch_layout import BatchLayout
from rm.model.reward_model import RewardModel
from rm.tokens.items import TokenizedPrompt
from rm.train import batching, together
from rm.train.batching import Division, Pair
from rm.train.distributed import World
from rm.train.objective import Objective
from rm.train.settings import StepSettings
from rm.train.validation import Validation

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMetrics:
    """Metrics of one optimizer step; means are over the step's pairs."""

    step: int
    num_steps: int
    loss: float
    """Weighted mean in nats per pair; what settings add to the loss is added, such as errors of attribute heads."""
    accuracy: float
    """Share of decided pairs whose preferred response has the higher reward; a tie counts one half."""
    margin: float
    """Mean of the preferred response's reward minus the other's, over decided pairs."""
    learning_rate: float
    grad_norm: float
    """Before clipping."""
    pairs_per_s: float
    tokens_per_s: float
    """Tokens read, padding included, over all processes."""
    validation_loss: float | None = None
    """Nats per pair on the validation split, if it was measured after this step."""
    validation_accuracy: float | None = None

    def with_validation(self, measured: Validation) -> StepMetrics:
        """The same metrics with the validation that followed the step."""
        return replace(self, validation_loss=measured.loss, validation_accuracy=measured.accuracy)


def learning_rate(settings: StepSettings, step: int, num_steps: int) -> float:
    """Learning rate of a step, counted from 1: linear warmup to the peak, then linear decay.

    The decay would reach 0 one step after the last.
    """
    num_warmup = math.ceil(settings.warmup_share * num_steps)
    warm = step / num_warmup if num_warmup else 1.0
    left = (num_steps - step + 1) / max(1, num_steps - num_warmup)
    return settings.learning_rate * min(1.0, warm, left)


class Stepper:
    """Takes optimizer steps on a model, in one process or as one of several.

    Every process divides the step's pairs into the same forward passes and takes some of them. Losses are divided by
    the weight of the whole step, so gradients are summed, never averaged, and depend neither on the budget nor on the
    number of processes.

    Parameters
    ----------
    model : RewardModel
    optimizer : Optimizer
    settings : StepSettings
    layout : BatchLayout
    objective : Objective
    prompts : sequence of TokenizedPrompt
        The prompts to train on.
    num_steps : int
        Number of steps of the whole run, for the learning rate.
    tokens_per_batch : int
        Most tokens in one forward pass; halved when memory runs out.
    world : World
    """

    def __init__(
        self,
        model: RewardModel,
        optimizer: torch.optim.Optimizer,
        settings: StepSettings,
        layout: BatchLayout,
        objective: Objective,
        prompts: Sequence[TokenizedPrompt],
        num_steps: int,
        tokens_per_batch: int,
        world: World,
    ) -> None:
        self.model, self.optimizer, self.settings, self.layout = model, optimizer, settings, layout
        self.objective, self.prompts, self.num_steps, self.world = objective, prompts, num_steps, world
        self.tokens_per_batch = tokens_per_batch
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def take(self, step: int, pairs: Sequence[Pair]) -> StepMetrics:
        """Take one step.

        Parameters
        ----------
        step : int
            Its number, from 1.
        pairs : sequence of Pair

        Raises
        ------
        NonFiniteLoss
            If the loss is not finite; nothing has changed then.
        TrainingError
            If the gradient is not finite, or the memory is too small for a single response.
        """
        started = time.perf_counter()
        totals, num_tokens = self._gradients(step, pairs)
        loss, num_decided, num_right, margin, *control = self.world.sum(totals).tolist()
        if not math.isfinite(loss):
            raise NonFiniteLoss(step, loss, [self.prompts[pair.prompt].prompt_id for pair in pairs])
        grad_norm = self._update(step, loss)
        self.objective.control.advance(control, len(pairs))
        duration_s = time.perf_counter() - started
        return StepMetrics(
            step=step,
            num_steps=self.num_steps,
            loss=loss,
            accuracy=num_right / num_decided if num_decided else math.nan,
            margin=margin / num_decided if num_decided else math.nan,
            learning_rate=self.optimizer.param_groups[0]["lr"],
            grad_norm=grad_norm,
            pairs_per_s=len(pairs) / duration_s,
            tokens_per_s=num_tokens / duration_s,
        )

    def _gradients(self, step: int, pairs: Sequence[Pair]) -> tuple[Tensor, int]:
        """Compute the step's gradients; if memory runs out, try again with half the budget.

        Returns this process's sums as `_accumulate` does, and the number of tokens that all processes have read.
        """
        while True:
            division = batching.divide(self.prompts, pairs, self.layout, self.tokens_per_batch, self.world.size)
            try:
                totals = self._accumulate(division)
            except torch.OutOfMemoryError:
                if self.world.sharded:  # the other processes already wait for this one's part of a layer
                    raise TrainingError(
                        f"step {step}: out of memory with {self.tokens_per_batch} tokens per batch; with sharded "
                        "parameters the budget cannot be halved during training: lower compute.tokens_per_batch"
                    ) from None
                totals = None
            # Every process must take part in this before gradients are summed, or the others would wait for ever.
            if not self.world.any_rank(totals is None):
                assert totals is not None
                self.world.sum_gradients(self.parameters)
                return totals, division.num_tokens(self.layout)
            self._halve_budget(step)

    def _halve_budget(self, step: int) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        half, before = self.tokens_per_batch // 2, self.tokens_per_batch
        try:
            batching.check_budget(self.prompts, half)
            self.tokens_per_batch = half
        except TrainingError as error:
            # Between half the budget and all of it there may be one that the longest response fits into.
            self.tokens_per_batch = max(map(batching.longest, self.prompts))
            if self.tokens_per_batch >= before:
                raise TrainingError(f"step {step}: out of memory, and less is not enough: {error}") from None
        LOGGER.warning("step %d: out of memory; continuing with %d tokens per batch", step, self.tokens_per_batch)

    def _accumulate(self, division: Division) -> Tensor:
        """Take the backward passes of this process; returns its terms of `Objective.sums`."""
        self.optimizer.zero_grad(set_to_none=True)
        norm = self.objective.norm(division.blocks)
        rounds = together.rounds(division, self.world.size)
        # These come first: their processes wait for one another, and none must have run out of memory before.
        totals = together.take(self.model, self.objective, self.layout, rounds, norm, self.world)
        for blocks, weight in self.world.assign(division.passes):
            batch = batching.lay_out(blocks, self.layout, self.world.device)
            outputs, extra = self.objective.read(self.model, batch.sequences, blocks, norm)
            loss = weight * (self.objective.loss(outputs, batch.compared, blocks, norm) + extra)
            loss.backward()  # type: ignore[no-untyped-call]
            totals += weight * self.objective.sums(outputs.detach(), batch.compared)
            totals[0] += loss.detach()
        return totals

    def _update(self, step: int, loss: float) -> float:
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.max_grad_norm)
        grad_norm = float(norm.full_tensor() if isinstance(norm, DTensor) else norm)
        if not math.isfinite(grad_norm):
            raise TrainingError(f"gradient norm {grad_norm} at step {step}, loss {loss}; the step was not taken")
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.settings, step, self.num_steps)
        self.optimizer.step()
        return grad_norm
