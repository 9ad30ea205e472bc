"""Fitting a reward model: fixed pairs a step, exact resume, no step on a loss that is not a number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast

from rm import adapters, batching, checkpoint, distributed, export
from rm import layout as layouts
from rm.base_models import BaseModelRef
from rm.batching import Pair, Row
from rm.checkpoint import Checkpoints, Progress
from rm.config import TrainConfig
from rm.distributed import World
from rm.errors import TrainingError
from rm.files import sha256_json
from rm.layout import Layout
from rm.manifests import CheckpointManifest, TokenizedManifest
from rm.model import RewardModel, build
from rm.objective import Objective, Scales, attribute_scales
from rm.optimization import StepMetrics, Stepper
from rm.tokenization import read_tokenizer, read_tokens
from rm.trimming import layers
from rm.validation import validate

OnStep = Callable[[StepMetrics], None]


def fit(
    tokenized: TokenizedManifest,
    base: BaseModelRef,
    config: TrainConfig,
    folder: Path,
    on_step: OnStep | None = None,
) -> CheckpointManifest:
    """Train a reward model, from its last complete checkpoint if there is one beside the folder.

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
        If the gradient is not finite, a comparison exceeds the token budget, there is nothing to validate on, or the
        checkpoint beside the folder is of another run.

    Notes
    -----
    On a CPU with a fixed seed and the same number of threads and processes, a run that was stopped at any moment and
    resumed ends with the same bits as one that was not; with another number of processes it differs by rounding.
    """
    manifest = fit_together(tokenized, base, config, folder, distributed.alone(), on_step)
    assert manifest is not None  # this process is the first
    return manifest


def fit_together(
    tokenized: TokenizedManifest,
    base: BaseModelRef,
    config: TrainConfig,
    folder: Path,
    world: World,
    on_step: OnStep | None = None,
) -> CheckpointManifest | None:
    """Do what `fit` does as one of several processes, each of which calls this; all but the first get None."""
    tokenizer = read_tokenizer(tokenized)
    rows, validation_rows = read_tokens(tokenized, "train"), read_tokens(tokenized, "validation")
    if config.validation and not validation_rows:
        raise TrainingError(f"{tokenized.path}: no validation split to measure on; set snapshot.validation_share")
    groups = batching.choose(rows, config.max_pairs, config.seed)
    scales = attribute_scales(rows, groups, base.config.attributes)
    model, layout = prepare(base, tokenizer, config, scales, world)
    batching.check_budget(rows, groups, layout, config.tokens_per_batch)
    needed = batching.largest(validation_rows, layout)
    steps = _steps(rows, groups, config)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
    objective = Objective(config, rows, base.config.num_heads, scales)
    stepper = Stepper(model, optimizer, config, layout, objective, rows, groups, len(steps), world)
    checkpoints = Checkpoints(checkpoint.beside(folder), _key(tokenized, base, config), world)
    progress = checkpoints.load(model, optimizer)
    for step, pairs in enumerate(steps[progress.step :], start=progress.step + 1):
        if _is_enough(progress, config):
            break
        metrics = stepper.take(step, pairs)
        progress = progress.model_copy(update={"step": step})
        if config.validation and (step % config.validation.every == 0 or step == len(steps)):
            budget = max(stepper.tokens_per_batch, needed)  # without gradients, so that it holds all the same
            measured = validate(model, validation_rows, layout, config, budget, world)
            progress = progress.measured(measured.loss)
            if progress.best_step == step:
                checkpoints.save_best(progress, model)
            metrics = metrics.with_validation(measured)
        if step % config.checkpoint_every == 0 or step == len(steps):
            checkpoints.save(progress, model, optimizer)
        if on_step:
            on_step(metrics)
    if config.validation and config.validation.keep == "best":
        checkpoints.load_best(progress, model)
        progress = progress.model_copy(update={"step": progress.best_step})
    weights = distributed.gathered(model) if world.sharded else None
    if world.rank:
        return None  # the first process writes; to wait for it could take longer than a collective may
    if weights is not None:
        model = _built(base, tokenizer, config, scales)
        model.load_state_dict(weights)
    adapters.merge(model.backbone)
    export.save(model.eval(), tokenizer, folder)
    manifest = CheckpointManifest.seal(
        folder,
        parents=(tokenized,),
        config=config,
        num_rows=1,
        step=progress.step,
        num_train_pairs=sum(len(rows[group]["comparisons"]) for group in groups),
        base=base.name,
        base_digest=base.digest,
    )
    checkpoints.remove()
    return manifest


def prepare(
    base: BaseModelRef, tokenizer: PreTrainedTokenizerFast, config: TrainConfig, scales: Scales, world: World
) -> tuple[RewardModel, Layout]:
    """A reward model ready to be trained, on its device, and the layout that it reads."""
    model = _built(base, tokenizer, config, scales)
    layout = layouts.choose(model, tokenizer.model_max_length)
    if config.gradient_checkpointing:
        model.backbone.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if config.compile:
        for layer in layers(model.backbone):
            layer.compile(dynamic=True)
    if world.sharded:
        dtype = torch.bfloat16 if config.precision == "bfloat16" else torch.float32
        distributed.shard(model, layers(model.backbone), world, dtype)
    return model.to(world.device).train(), layout


def _built(base: BaseModelRef, tokenizer: PreTrainedTokenizerFast, config: TrainConfig, scales: Scales) -> RewardModel:
    model = build(base, tokenizer, config.seed, torch.device("cpu"), scales)
    if config.lora:
        torch.manual_seed(config.seed)  # adapters draw their initial weights from the global generator
        adapters.add(model.backbone, config.lora)
    return model


def _key(tokenized: TokenizedManifest, base: BaseModelRef, config: TrainConfig) -> str:
    """Digest of all that decides what comes out; the number of processes does not."""
    model = base.config.model_dump(mode="json", exclude={"path", "hub", "revision"})
    return sha256_json([tokenized.digest, base.digest, model, config.model_dump(mode="json")])


def _is_enough(progress: Progress, config: TrainConfig) -> bool:
    patience = config.validation.patience if config.validation else None
    return patience is not None and progress.num_worse >= patience


def _steps(rows: Sequence[Row], groups: Sequence[int], config: TrainConfig) -> list[list[Pair]]:
    """The comparisons of every step, over all epochs."""
    return [
        pairs
        for epoch in range(config.num_epochs)
        for pairs in batching.epoch_steps(rows, groups, config.pairs_per_step, config.seed, epoch)
    ]
