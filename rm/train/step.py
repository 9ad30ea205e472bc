"""Optimizer steps: a fixed number of pairs each, over as many forward passes as the token budget asks for."""

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
from rm.train import batching
from rm.train.batching import Batch, Block, Pair
from rm.train.distributed import World
from rm.train.objective import Objective
from rm.train.settings import StepSettings
from rm.train.validation import Validation

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMetrics:
    """What one optimizer step did; means are over the step's pairs."""

    step: int
    num_steps: int
    loss: float
    """Nats a pair, weighted; with attribute heads their error is added."""
    accuracy: float
    """Share of decided pairs whose preferred response got the higher reward, a tie counting one half."""
    margin: float
    """Mean reward of the preferred response minus the other's, decided pairs only."""
    learning_rate: float
    grad_norm: float
    """Before clipping."""
    pairs_per_s: float
    tokens_per_s: float
    """Tokens read, padding included, over all processes."""
    validation_loss: float | None = None
    """Nats a pair on the validation split, where it was measured after this step."""
    validation_accuracy: float | None = None

    def with_validation(self, measured: Validation) -> StepMetrics:
        """The same with what was measured after the step."""
        return replace(self, validation_loss=measured.loss, validation_accuracy=measured.accuracy)


def learning_rate(settings: StepSettings, step: int, num_steps: int) -> float:
    """Linear warmup to the peak, then linear decay that would reach 0 one step after the last; steps count from 1."""
    num_warmup = math.ceil(settings.warmup_share * num_steps)
    warm = step / num_warmup if num_warmup else 1.0
    left = (num_steps - step + 1) / max(1, num_steps - num_warmup)
    return settings.learning_rate * min(1.0, warm, left)


class Stepper:
    """Takes optimizer steps on a model, in one process or as one of several.

    Every process divides the step's pairs into the same forward passes and takes its share of them. Losses are divided
    by the weight of the whole step, so gradients are summed, never averaged, and neither the budget nor the number of
    processes changes them.

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
        Of the whole run, for the learning rate.
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
        """One step.

        Raises
        ------
        NonFiniteLoss
            Before the optimizer has changed anything.
        TrainingError
            If the gradient is not finite, or memory does not suffice for a single comparison.
        """
        started = time.perf_counter()
        totals, num_tokens = self._gradients(step, pairs)
        loss, num_decided, num_right, margin = self.world.sum(totals).tolist()
        if not math.isfinite(loss):
            raise NonFiniteLoss(step, loss, [self.prompts[pair.prompt].prompt_id for pair in pairs])
        grad_norm = self._update(step, loss)
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
        """Leave the step's gradients in the parameters; where memory runs out, try again with half the budget.

        Returns this process's sums as `_accumulate` does, and the tokens that all processes have read.
        """
        while True:
            passes = batching.divide(self.prompts, pairs, self.layout, self.tokens_per_batch, self.world.size)
            try:
                totals = self._accumulate(passes)
            except torch.OutOfMemoryError:
                if self.world.sharded:  # the others wait for this process's part of a layer, and cannot go back
                    raise TrainingError(
                        f"step {step}: out of memory with {self.tokens_per_batch} tokens a batch; where parameters are "
                        "spread over processes the budget cannot be halved on the way: lower compute.tokens_per_batch"
                    ) from None
                totals = None
            # Every process must come here before gradients are summed, or the others would wait for ever.
            if not self.world.any_rank(totals is None):
                assert totals is not None
                self.world.sum_gradients(self.parameters)
                return totals, sum(self.layout.num_tokens([block.tokens for block in blocks]) for blocks in passes)
            self._halve_budget(step)

    def _halve_budget(self, step: int) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self.tokens_per_batch //= 2
        try:
            batching.check_budget(self.prompts, self.layout, self.tokens_per_batch)
        except TrainingError as error:
            raise TrainingError(f"step {step}: out of memory, and a smaller budget is too small: {error}") from None
        LOGGER.warning("step %d: out of memory; going on with %d tokens a batch", step, self.tokens_per_batch)

    def _accumulate(self, passes: Sequence[Sequence[Block]]) -> Tensor:
        """Backward passes over this process's share; returns its sums: loss, decided, right, margin."""
        self.optimizer.zero_grad(set_to_none=True)
        norm = self.objective.norm(passes)
        totals = torch.zeros(4, dtype=torch.float64, device=self.world.device)
        for blocks, counts in self.world.assign(passes):
            batch = batching.lay_out(blocks, self.layout, self.world.device)
            outputs = self._outputs(batch)
            loss = self.objective.loss(outputs, batch, blocks, norm) * counts
            loss.backward()  # type: ignore[no-untyped-call]
            totals += counts * self._totals(loss.detach(), outputs.detach(), batch)
        return totals

    def _outputs(self, batch: Batch) -> Tensor:
        with torch.autocast(self.world.device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16"):
            return self.model.outputs(batch.sequences)

    def _totals(self, loss: Tensor, outputs: Tensor, batch: Batch) -> Tensor:
        """A pass's loss, decided comparisons, those that the reward decides alike, and sum of margins."""
        rewards = outputs[:, : self.objective.num_heads].mean(dim=1)
        right, decided, margin = batching.agreement(rewards, batch)
        return torch.stack([loss.double(), decided.sum(), right.sum(), margin.sum()])

    def _update(self, step: int, loss: float) -> float:
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.max_grad_norm)
        grad_norm = float(norm.full_tensor() if isinstance(norm, DTensor) else norm)
        if not math.isfinite(grad_norm):
            raise TrainingError(f"gradient norm {grad_norm} at step {step}, loss {loss}; the step was not taken")
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.settings, step, self.num_steps)
        self.optimizer.step()
        return grad_norm
