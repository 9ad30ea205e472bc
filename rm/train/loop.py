"""Fitting a reward model: a fixed number of pairs per step, exact resume, no step on a loss that is not finite."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from rm.data.manifests import DatasetManifest
from rm.data.preferences import Split
from rm.data.prompt_groups import each_group
from rm.errors import TrainingError
from rm.files import sha256_json
from rm.model import architecture, base_files, batch_layout, export, fused_norms
from rm.model.architecture import layers
from rm.model.base_files import BaseModelRef
from rm.model.base_models import build
from rm.model.batch_layout import BatchLayout
from rm.model.config import ComputeConfig
from rm.model.manifests import CheckpointManifest
from rm.model.reward_model import RewardModel
from rm.model.token_ids import TokenIds
from rm.remedies import catalog, controllable
from rm.remedies.prompts import Remedied, controlled_alike, remedied
from rm.remedies.texts import Texts
from rm.tokens.manifests import TokenizedManifest
from rm.tokens.token_files import TokenizedSplit
from rm.tokens.tokenization import read_tokenizer, read_tokens
from rm.train import batching, distributed, precision, rehearsal, resume
from rm.train.batching import Steps
from rm.train.config import TrainConfig
from rm.train.distributed import World
from rm.train.objective import Objective, Scales, attribute_scales
from rm.train.resume import Checkpoints, Progress
from rm.train.step import StepMetrics, Stepper
from rm.train.validation import validate

LOGGER = logging.getLogger(__name__)
OnStep = Callable[[StepMetrics], None]


def fit(
    tokenized: TokenizedManifest,
    base: BaseModelRef,
    config: TrainConfig,
    compute: ComputeConfig,
    folder: Path,
    on_step: OnStep | None = None,
) -> CheckpointManifest:
    """Train a reward model; resume from the last complete checkpoint if there is one beside the folder.

    Parameters
    ----------
    tokenized : TokenizedManifest
    base : BaseModelRef
    config : TrainConfig
    compute : ComputeConfig
    folder : Path
        Gets the model in the form that transformers loads, and the manifest.
    on_step : callable, optional
        Called after each optimizer step.

    Returns
    -------
    CheckpointManifest

    Raises
    ------
    NonFiniteLoss
        If the loss is not finite; raised before the optimizer step, so that the last checkpoint is still good.
    TrainingError
        If the model cannot be saved and loaded, which is tried first, the gradient is not finite, a prompt with one
        response exceeds the token budget, there is no validation split although it is needed, or the checkpoint beside
        the folder belongs to another run.

    Notes
    -----
    On a CPU with a fixed seed and the same number of threads and processes, a run that was stopped at any moment and
    resumed gives bit for bit the same weights as an uninterrupted run. With another number of processes,
    or other compute settings, the weights differ by rounding.
    """
    manifest = fit_together(tokenized, base, config, compute, folder, distributed.single_process(), on_step)
    assert manifest is not None  # this process is the first
    return manifest


def fit_together(
    tokenized: TokenizedManifest,
    base: BaseModelRef,
    config: TrainConfig,
    compute: ComputeConfig,
    folder: Path,
    world: World,
    on_step: OnStep | None = None,
) -> CheckpointManifest | None:
    """Train as `fit` does, as one of several processes that all call this; only the first gets the manifest."""
    config = precision.settled(config)
    tokenizer = read_tokenizer(tokenized)
    every = read_tokens(tokenized, "train")
    annotated = every.subset(batching.choose(every.num_comparisons(), config.max_pairs, config.seed))
    prompts = _remedied(annotated, tokenized, base, config)
    validation_prompts = controlled_alike(
        read_tokens(tokenized, "validation"), prompts, lambda: _texts(tokenized, "validation")
    )
    if config.validation and not validation_prompts:
        raise TrainingError(f"{tokenized.path}: no validation split to measure on; set snapshot.validation_share")
    scales = attribute_scales(prompts, base.config.attributes)
    if world.rank == 0 and not resume.beside(folder).exists():
        _rehearse(base, tokenizer, config, scales, prompts, folder)
    model, layout = prepare(base, tokenizer, config, compute, scales, world)
    # Only prompts that do not fit are read: reading all of a large data set takes minutes.
    long = prompts.subset(np.flatnonzero(prompts.longest() > compute.tokens_per_batch))
    batching.check_budget(long, compute.tokens_per_batch)
    needed = batching.largest(validation_prompts, layout)
    steps = Steps(prompts.num_comparisons(), config.pairs_per_step, config.seed, config.num_epochs)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
    objective = Objective(config, prompts, base.config.num_heads, scales, annotated.mean_weight())
    stepper = Stepper(model, optimizer, config, layout, objective, prompts, len(steps), compute.tokens_per_batch, world)
    checkpoints = Checkpoints(resume.beside(folder), _key(tokenized, base, config), world)
    progress = checkpoints.load(model, optimizer)
    objective.control.restore(progress.control)
    for step in range(progress.step + 1, len(steps) + 1):
        if _is_enough(progress, config):
            break
        metrics = stepper.take(step, steps[step - 1])
        progress = progress.model_copy(update={"step": step})
        if config.validation and (step % config.validation.every == 0 or step == len(steps)):
            budget = max(stepper.tokens_per_batch, needed)  # without gradients, a larger pass fits into memory
            measured = validate(model, validation_prompts, layout, config, budget, world, objective.control)
            progress = progress.measured(measured.loss)
            if progress.best_step == step:
                checkpoints.save_best(progress, model)
            metrics = metrics.with_validation(measured)
        if step % config.checkpoint_every == 0 or step == len(steps):
            checkpoints.save(progress.with_control(objective.control.state), model, optimizer)
        if on_step:
            on_step(metrics)
    if config.validation and config.validation.keep == "best":
        checkpoints.load_best(progress, model)
        progress = progress.model_copy(update={"step": progress.best_step})
    model = _whole(model, world, lambda: _built(base, tokenizer, config, scales))
    if world.rank:
        return None  # the first process writes; waiting for it could exceed the time limit of a collective
    for name, asked in zip(config.remedies.controlled, objective.control.coefficients, strict=True):
        LOGGER.info(
            "at the end labels ask, beside the reward, %+.2f log-odds per standard deviation of %s", asked, name
        )
    _save(model, tokenizer, config, folder)
    manifest = CheckpointManifest.seal(
        folder,
        inputs=(tokenized,),
        config=config,
        num_rows=1,
        step=progress.step,
        num_train_pairs=int(annotated.num_comparisons().sum()),
        base=base.name,
        base_digest=base.digest,
        trained_on=tuple(sorted({*catalog.trained_on(config.remedies), *base_files.trained_on(base)})),
        controlled=config.remedies.controlled,
        remedy_shares=config.remedies.model_dump(exclude={"controlled"}, exclude_defaults=True),
        keeps_head=base.keeps_head,
    )
    checkpoints.remove()
    return manifest


def _whole(model: RewardModel, world: World, built: Callable[[], RewardModel]) -> RewardModel:
    """The model with all of its weights, in the first process; every process must call this."""
    if not world.sharded:
        return model
    weights = distributed.gathered(model)
    if world.rank:
        return model
    whole = built()
    whole.load_state_dict(weights)
    return whole


def _remedied(
    annotated: TokenizedSplit, tokenized: TokenizedManifest, base: BaseModelRef, config: TrainConfig
) -> TokenizedSplit | Remedied:
    """The prompts with what the remedies add to them."""
    if config.remedies.controlled and base.keeps_head:
        raise TrainingError(controllable.HEAD_IS_KEPT)
    prompts = remedied(annotated, config.remedies, config.seed, lambda: _texts(tokenized, "train"))
    if isinstance(prompts, Remedied):
        prompts.check_added()
    return prompts


def _texts(tokenized: TokenizedManifest, split: Split) -> Texts:
    dataset = tokenized.read_input(DatasetManifest)
    return Texts(each_group(dataset, split), read_tokenizer(tokenized))


def _rehearse(
    base: BaseModelRef,
    tokenizer: PreTrainedTokenizerFast,
    config: TrainConfig,
    scales: Scales,
    prompts: TokenizedSplit | Remedied,
    folder: Path,
) -> None:
    shortest = prompts[int(prompts.longest().argmin())]
    sequences = [TokenIds(shortest.prompt_ids, ids) for ids in shortest.response_ids]
    rehearsal.rehearse(_built(base, tokenizer, config, scales), tokenizer, sequences, folder)


def _save(model: RewardModel, tokenizer: PreTrainedTokenizerFast, config: TrainConfig, folder: Path) -> None:
    if config.lora:
        from rm.model import lora

        lora.merge(model.backbone)
    export.save(model.eval(), tokenizer, folder)


def prepare(
    base: BaseModelRef,
    tokenizer: PreTrainedTokenizerFast,
    config: TrainConfig,
    compute: ComputeConfig,
    scales: Scales,
    world: World,
) -> tuple[RewardModel, BatchLayout]:
    """A reward model that is ready for training, on its device, and its layout."""
    model = _built(base, tokenizer, config, scales)
    if config.router_aux and not model.routing:
        raise TrainingError(f"train.router_aux: {type(model.backbone).__name__} has no experts among which to choose")
    turning = architecture.turning_length(model.backbone.config.get_text_config())
    if turning is not None and turning < tokenizer.model_max_length and (config.router_aux or world.sharded):
        raise TrainingError(
            f"texts of up to and of more than {turning} tokens are read apart, which neither train.router_aux nor "
            f"compute.sharded can: set tokenize.max_tokens to at most {turning}"
        )
    if world.sharded and config.lora and config.lora.quantize:
        raise TrainingError("train.lora.quantize: weights in 4 bits cannot be sharded; set compute.sharded to false")
    layout = batch_layout.choose(model, tokenizer.model_max_length)
    if world.device.type == "cuda":
        fused_norms.fuse(model)
    if compute.gradient_checkpointing:
        model.backbone.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if compute.compile:
        for layer in layers(model.backbone):
            layer.compile(dynamic=True)
    if world.sharded:
        dtype = torch.bfloat16 if config.precision == "bfloat16" else torch.float32
        distributed.shard(model, layers(model.backbone), world, dtype)
    return model.to(world.device).train(), layout


def _built(base: BaseModelRef, tokenizer: PreTrainedTokenizerFast, config: TrainConfig, scales: Scales) -> RewardModel:
    model = build(base, tokenizer, config.seed, torch.device("cpu"), scales)
    if config.lora:
        from rm.model import lora  # here, since peft takes a second to load and most runs have no adapters

        torch.manual_seed(config.seed)  # adapters draw their initial weights from the global generator
        quantized = config.lora.quantize is not None
        lora.add(model.backbone, config.lora.rank, config.lora.alpha, config.lora.targets, quantized=quantized)
    return model


def _key(tokenized: TokenizedManifest, base: BaseModelRef, config: TrainConfig) -> str:
    """Digest of everything that changes the result; the number of processes is not part of it."""
    model = base.config.model_dump(mode="json", exclude={"path", "hub", "revision"})
    return sha256_json([tokenized.digest, base.digest, model, config.model_dump(mode="json")])


def _is_enough(progress: Progress, config: TrainConfig) -> bool:
    patience = config.validation.patience if config.validation else None
    return patience is not None and progress.num_worse >= patience
