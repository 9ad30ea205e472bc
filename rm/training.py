"""Fitting a reward model: fixed pairs a step, exact resume, no step on a loss that is not a number."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rm import batching, checkpoint
from rm import model as reward_model
from rm.base_models import BaseModelRef
from rm.config import TrainConfig
from rm.errors import NonFiniteLoss, TrainingError
from rm.files import sha256_json
from rm.loss import bradley_terry_loss
from rm.manifests import CheckpointManifest, TokenizedManifest
from rm.tokenization import read_tokenizer, read_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMetrics:
    """What one optimizer step did; means are over the step's pairs."""

    step: int
    num_steps: int
    loss: float
    """Nats a pair, weighted."""
    accuracy: float
    """Share of decided pairs whose preferred response got the higher reward, a tie counting one half."""
    margin: float
    """Mean reward of the preferred response minus the other's, decided pairs only."""
    learning_rate: float
    grad_norm: float
    """Before clipping."""
    pairs_per_s: float
    tokens_per_s: float


OnStep = Callable[[StepMetrics], None]


def fit(
    tokenized: TokenizedManifest,
    base: BaseModelRef,
    config: TrainConfig,
    folder: Path,
    on_step: OnStep | None = None,
) -> CheckpointManifest:
    """Train a reward model, from its last complete checkpoint if the folder has one.

    Parameters
    ----------
    tokenized : TokenizedManifest
    base : BaseModelRef
    config : TrainConfig
    folder : Path
        Gets the model as transformers loads it, and the manifest.
    on_step : callable, optional
        Called after each optimizer step.

    Returns
    -------
    CheckpointManifest

    Raises
    ------
    NonFiniteLoss
        Before the optimizer step, so that the last checkpoint is still good.
    TrainingError
        If the gradient is not finite, or the folder's checkpoint is of another run.

    Notes
    -----
    On a CPU with a fixed seed and the same number of threads, a run that was stopped at any moment and resumed ends
    with the same bits as one that was not.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer = read_tokenizer(tokenized)
    torch.manual_seed(config.seed)  # dropout draws from the global generator; its state is part of the checkpoint
    model = reward_model.build(base, tokenizer, config.seed, device).train()
    rows = read_tokens(tokenized, "train")
    groups = batching.choose(rows, config.max_pairs, config.seed)
    num_pairs = sum(len(rows[group]["comparisons"]) for group in groups)
    num_steps = config.num_epochs * math.ceil(num_pairs / config.pairs_per_step)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    stepper = _Stepper(model, optimizer, config, num_steps)
    pooling = [base.config.pooling, base.config.pooling_token]
    key = sha256_json([tokenized.digest, base.digest, pooling, config.model_dump(mode="json")])
    done = checkpoint.load(folder / checkpoint.RESUME_NAME, key, model, optimizer)
    for step, pairs in _steps(rows, groups, config):
        if step <= done:
            continue
        metrics = stepper.take(step, rows, pairs)
        if step % config.checkpoint_every == 0:
            checkpoint.save(folder / checkpoint.RESUME_NAME, step, key, model, optimizer)
        if on_step:
            on_step(metrics)
    reward_model.save(model.eval(), tokenizer, folder)
    (folder / checkpoint.RESUME_NAME).unlink(missing_ok=True)
    return CheckpointManifest.seal(
        folder,
        parents=(tokenized,),
        config=config,
        num_rows=1,
        step=num_steps,
        num_train_pairs=num_pairs,
        base=base.name,
        base_digest=base.digest,
    )


def _steps(
    rows: Sequence[dict[str, Any]], groups: Sequence[int], config: TrainConfig
) -> Iterator[tuple[int, list[batching.Pair]]]:
    """Every step's number, from 1, and comparisons, over all epochs."""
    step = 0
    for epoch in range(config.num_epochs):
        for pairs in batching.epoch_steps(rows, groups, config.pairs_per_step, config.seed, epoch):
            step += 1
            yield step, pairs


def learning_rate(config: TrainConfig, step: int, num_steps: int) -> float:
    """Linear warmup to the peak, then linear decay that would reach 0 one step after the last; steps count from 1."""
    num_warmup = math.ceil(config.warmup_share * num_steps)
    warm = step / num_warmup if num_warmup else 1.0
    left = (num_steps - step + 1) / max(1, num_steps - num_warmup)
    return config.learning_rate * min(1.0, warm, left)


class _Stepper:
    """Takes optimizer steps on a model."""

    def __init__(
        self, model: reward_model.RewardModel, optimizer: torch.optim.Optimizer, config: TrainConfig, num_steps: int
    ) -> None:
        self.model, self.optimizer, self.config, self.num_steps = model, optimizer, config, num_steps
        self.device = model.score.weight.device

    def take(self, step: int, rows: Sequence[dict[str, Any]], pairs: Sequence[batching.Pair]) -> StepMetrics:
        """One step; losses are divided by the whole step's weight, so batching does not change the gradient."""
        started = time.perf_counter()
        total_weight = sum(rows[pair.group]["comparisons"][pair.place]["weight"] for pair in pairs)
        loss, margins, num_tokens = 0.0, [], 0
        self.optimizer.zero_grad(set_to_none=True)
        for batch in batching.batches(rows, pairs, self.config.tokens_per_batch):
            batch_loss, margin = self._loss(batch)
            (batch_loss / total_weight).backward()
            loss += batch_loss.item() / total_weight
            margins.append(margin)
            num_tokens += batch.num_tokens
        if not math.isfinite(loss):
            raise NonFiniteLoss(step, loss, [rows[pair.group]["prompt_id"] for pair in pairs])
        grad_norm = self._update(step, loss)
        margin = torch.cat(margins)
        duration_s = time.perf_counter() - started
        return StepMetrics(
            step=step,
            num_steps=self.num_steps,
            loss=loss,
            accuracy=((margin > 0).float() + (margin == 0).float() / 2).mean().item(),
            margin=margin.mean().item(),
            learning_rate=self.optimizer.param_groups[0]["lr"],
            grad_norm=grad_norm,
            pairs_per_s=len(pairs) / duration_s,
            tokens_per_s=num_tokens / duration_s,
        )

    def _update(self, step: int, loss: float) -> float:
        grad_norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.max_grad_norm).item()
        if not math.isfinite(grad_norm):
            raise TrainingError(f"gradient norm {grad_norm} at step {step}, loss {loss}; the step was not taken")
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, step, self.num_steps)
        self.optimizer.step()
        return grad_norm

    def _loss(self, batch: batching.Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """A batch's summed weighted loss, and the margins of its decided pairs, preferred minus other."""
        sequences = batch.sequences.to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            output = self.model(sequences.input_ids, sequences.attention_mask, sequences.response_mask)
        rewards = output.logits.squeeze(-1)
        first, second = rewards[batch.first.to(self.device)], rewards[batch.second.to(self.device)]
        preference, target_margin = batch.preference.to(self.device), batch.target_margin.to(self.device)
        losses = bradley_terry_loss(first, second, preference, target_margin, self.config.centering)
        direction = torch.sign(preference - 0.5)
        margin = (direction * (first - second))[direction != 0].detach()
        return (losses * batch.weight.to(self.device)).sum(), margin
