"""Base models: random weights and a tokenizer trained on the data, a local folder, or a model on the hub."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

from rm.errors import ModelError
from rm.model import architecture, export, pretrained, saved_head
from rm.model.base_files import BaseModelRef
from rm.model.config import ModelConfig, ScratchConfig
from rm.model.reward_model import RewardModel, RewardModelConfig, with_new_heads
from rm.model.tokenizer import complete, pad_token_id, train_tokenizer

LOGGER = logging.getLogger(__name__)


def load_backbone(base: BaseModelRef, vocab_size: int) -> Any:
    """The base model without a head, in float32, on the CPU.

    Parameters
    ----------
    base : BaseModelRef
    vocab_size : int
        Number of tokens that the tokenizer has. Random weights get exactly that many embeddings; a pretrained model
        gets more embeddings if it has fewer.
    """
    if base.config.scratch is None:
        if saved_head.is_own(base.files):
            return _with_room(_saved_reward_model(base).backbone, vocab_size)
        return _with_room(pretrained.load_weights(AutoModel, base.files, is_backbone=True), vocab_size)
    config = _scratch_config(base.config.scratch, vocab_size)
    with torch.random.fork_rng():  # transformers draws its initial weights from the global generator
        torch.manual_seed(base.config.scratch.seed)
        return AutoModel.from_config(config, dtype=torch.float32, trust_remote_code=False)


def _with_room(backbone: Any, vocab_size: int) -> Any:
    """A backbone with an embedding for each token; `load_tokenizer` may have added one for padding."""
    if vocab_size > backbone.get_input_embeddings().num_embeddings:
        backbone.resize_token_embeddings(vocab_size, mean_resizing=False)
    return backbone


def _saved_reward_model(base: BaseModelRef) -> RewardModel:
    """A base that is a reward model.

    Raises
    ------
    ModelError
        If its head is not one that `RewardModel` has.
    """
    model, _ = export.load(base.files, torch.device("cpu"))
    if isinstance(model, RewardModel):
        return model
    raise _own_head(base)


def _own_head(base: BaseModelRef) -> ModelError:
    return ModelError(
        f"{base.folder}: an encoder with a head of its own, which cannot be kept; set model.head: new, to draw one in "
        "its place"
    )


def _scratch_config(scratch: ScratchConfig, vocab_size: int) -> Any:
    try:
        known = AutoConfig.for_model(scratch.architecture).to_dict()
    except (ValueError, KeyError):
        raise ModelError(
            f"model.scratch.architecture: transformers has no model_type {scratch.architecture!r}; expected one such "
            "as llama, qwen3, bert or modernbert"
        ) from None
    if unknown := sorted(set(scratch.sizes) - set(known)):
        raise ModelError(
            f"model.scratch.sizes: {scratch.architecture} has no key {unknown[0]!r}; it has {sorted(known)}"
        )
    # The ids of `train_tokenizer`; the architecture's defaults may lie outside the vocabulary.
    special = {key: 0 if key == "pad_token_id" else 1 for key in known if key.endswith("_token_id")}
    config = AutoConfig.for_model(scratch.architecture, **{**scratch.sizes, **special, "vocab_size": vocab_size})
    architecture.check(config)
    return config


def load_tokenizer(base: BaseModelRef, texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """The base model's tokenizer, with a chat template; for random weights a tokenizer trained on the texts.

    Parameters
    ----------
    base : BaseModelRef
    texts : iterable of str
        Used for random weights only.

    Raises
    ------
    ModelError
        If it is not a fast tokenizer, or has neither a chat template nor the special tokens that a default template
        needs.
    """
    if base.config.scratch is not None:
        return train_tokenizer(texts, base.config.scratch.vocab_size)
    tokenizer = pretrained.load_tokenizer(base.files)
    if not tokenizer.is_fast:
        raise ModelError(f"{base.folder}: expected a fast tokenizer with tokenizer.json, got a slow one")
    try:
        complete(tokenizer)
    except ModelError as error:
        raise ModelError(f"{base.folder}: {error}") from None
    return tokenizer


def max_positions(base: BaseModelRef) -> int | None:
    """Largest number of tokens that the base model has positions for; None if it has no such limit."""
    with torch.device("meta"):
        return architecture.max_positions(AutoModel.from_config(_config(base), trust_remote_code=False))


class Shape(NamedTuple):
    """How large a backbone is."""

    num_parameters: int
    hidden_size: int
    num_layers: int


def shape(base: BaseModelRef, vocab_size: int) -> Shape:
    """The shape of a backbone with so many tokens; no weight is read or made."""
    config = _config(base)
    if base.keeps_head and architecture.is_encoder(config.model_type) and not saved_head.is_own(base.files):
        raise _own_head(base)
    config.vocab_size = vocab_size if base.config.scratch is not None else max(config.vocab_size, vocab_size)
    with torch.device("meta"):
        backbone = AutoModel.from_config(config, trust_remote_code=False)
    num_parameters = sum(parameter.numel() for parameter in backbone.parameters())
    return Shape(num_parameters, int(config.hidden_size), int(config.num_hidden_layers))


def _config(base: BaseModelRef) -> Any:
    if base.config.scratch is not None:
        return _scratch_config(base.config.scratch, base.config.scratch.vocab_size)
    config = pretrained.load_config(base.files)
    return config.backbone_config() if isinstance(config, RewardModelConfig) else config


def build(
    base: BaseModelRef,
    tokenizer: PreTrainedTokenizerFast,
    seed: int,
    device: torch.device,
    attributes: Sequence[tuple[str, float, float]] = (),
) -> RewardModel:
    """A reward model with the base model's weights and no dropout; its heads are the base's if it has them, else new.

    Parameters
    ----------
    base : BaseModelRef
    tokenizer : PreTrainedTokenizerFast
    seed : int
        Seed of new heads' weights.
    device : torch.device
    attributes : sequence of (str, float, float)
        One attribute head each: name, mean and standard deviation of the target.

    Raises
    ------
    ModelError
        If the tokenizer does not have the pooling token, or the base's heads do not suit the settings.
    """
    saved = _saved_reward_model(base) if base.keeps_head else None
    model = with_new_heads(
        _with_room(saved.backbone, len(tokenizer)) if saved else load_backbone(base, len(tokenizer)),
        pooling=base.config.pooling or (saved.config.pooling if saved else None),
        pooling_token_id=saved.config.pooling_token_id if saved else _pooling_token_id(base.config, tokenizer),
        pad_token_id=pad_token_id(tokenizer),
        num_heads=base.config.num_heads,
        attributes=attributes,
        seed=seed,
    )
    if saved:
        _keep_heads(model, saved, base)
    model.to(device)
    return model


def _keep_heads(model: RewardModel, saved: RewardModel, base: BaseModelRef) -> None:
    """Copy the reward heads of the base; those of attributes are new, since their scale is that of the new data."""
    for key in ("pooling", "num_heads"):
        ours, theirs = getattr(model.config, key), getattr(saved.config, key)
        if ours != theirs:
            raise ModelError(
                f"model.{key}: the base {base.name} is a reward model with {theirs!r}, whose head is kept; expected the"
                f" same, got {ours!r}; or set model.head: new"
            )
    with torch.no_grad():
        model.score.weight[: saved.config.num_heads] = saved.score.weight[: saved.config.num_heads]
    LOGGER.info("the base %s is a reward model: training starts from its head (model.head: keep)", base.name)
    if saved.score.bias is not None:
        LOGGER.info("the constant that its head adds to each reward is left out: no comparison depends on it")


def _pooling_token_id(config: ModelConfig, tokenizer: PreTrainedTokenizerFast) -> int | None:
    if config.pooling_token is None:
        return None
    token_id = tokenizer.get_vocab().get(config.pooling_token)
    if token_id is None:
        raise ModelError(f"model.pooling_token: the tokenizer has no token {config.pooling_token!r}")
    return int(token_id)
