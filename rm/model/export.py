"""Saving a reward model in the form that transformers and serving tools load, and loading it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from rm.errors import ModelError
from rm.model import architecture, pretrained, saved_head
from rm.model.architecture import portable
from rm.model.reward_model import RewardModel, RewardModelConfig
from rm.model.saved_head import SavedHead
from rm.model.sequence_classifier import Classifier
from rm.model.tokenizer import pad_token_id, save_tokenizer

_SAME = 1e-3
"""Largest relative difference of rewards that two attention functions explain."""
_HEADS_NAME = "heads/heads.safetensors"  # not beside model.safetensors: servers load every safetensors file there


def save(model: RewardModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Save a model for ``AutoModelForSequenceClassification`` and its tokenizer for ``AutoTokenizer``, as safetensors.

    If the model pools the last token and transformers has a sequence classification class for the backbone, that class
    is saved, which loads anywhere. With several heads it gets their mean, and the heads are saved beside it for `load`.
    Other models are saved as `rm.model.reward_model.RewardModel`, which loads once ``rm.model.reward_model`` is
    imported.
    """
    exported = _as_transformers_class(model) or model
    exported.config.architectures = [type(exported).__name__]
    exported.save_pretrained(folder)
    if exported is not model and model.score.out_features > 1:
        (folder / _HEADS_NAME).parent.mkdir(exist_ok=True)
        save_file({"weight": model.score.weight.detach().cpu()}, folder / _HEADS_NAME)
    tokenizer.pad_token_id = pad_token_id(tokenizer)
    save_tokenizer(tokenizer, folder)


def _as_transformers_class(model: RewardModel) -> PreTrainedModel | None:
    """The same model as a class of transformers, or None if transformers has no such class or it pools differently."""
    if model.config.pooling != "last":
        return None
    config = model.config.backbone_config()
    config.num_labels, config.problem_type, config.pad_token_id = 1, "regression", model.config.pad_token_id
    try:
        exported = AutoModelForSequenceClassification.from_config(config, trust_remote_code=False)
    except ValueError:  # transformers has no such class for this backbone
        return None
    head = getattr(exported, "score", None)
    mean_head = model.score.weight[: model.config.num_heads].mean(dim=0, keepdim=True)
    if not (isinstance(head, nn.Linear) and head.weight.shape == mean_head.shape and head.bias is None):
        return None
    exported.base_model.load_state_dict(model.backbone.state_dict())
    head.load_state_dict({"weight": mean_head})
    if model.score.out_features > 1:
        exported.config.rmflow = {"num_heads": model.config.num_heads, "attributes": model.config.attributes}
    return exported


def load(folder: Path, device: torch.device) -> tuple[RewardModel | Classifier, PreTrainedTokenizerFast]:
    """Load a checkpoint of this project, or any sequence classification model with one label.

    A decoder must have one linear head on its last token, under any of the names that the field gives it. An encoder
    keeps its own head and pooling.

    Parameters
    ----------
    folder : Path
    device : torch.device

    Returns
    -------
    RewardModel or Classifier, and its tokenizer
        The model is on the device, in evaluation mode.

    Raises
    ------
    ModelError
        If the folder holds no such model, its weights are not exactly those of its architecture, or transformers reads
        another reward from them.
    """
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: no config.json; expected the folder of a saved reward model")
    tokenizer = pretrained.load_tokenizer(folder)
    model = _loaded(folder, tokenizer)
    return model.to(device).eval(), tokenizer


def _loaded(folder: Path, tokenizer: PreTrainedTokenizerFast) -> RewardModel | Classifier:
    config = pretrained.load_config(folder)
    if architecture.is_encoder(config.model_type):
        classifier = pretrained.load_weights(AutoModelForSequenceClassification, folder)
        if classifier.config.num_labels == 1:
            return Classifier(classifier, reads_pairs=tokenizer.chat_template is None)
        raise _no_reward_model(folder, classifier)
    if not saved_head.is_own(folder):
        head = saved_head.find(folder)
        if head is not None and not head.is_usual:
            return _with_head(folder, head, config)
    loaded = pretrained.load_weights(AutoModelForSequenceClassification, folder)
    if isinstance(loaded, RewardModel):
        return loaded
    model = _as_reward_model(loaded, folder)
    _check_as_served(folder, model.eval(), loaded.eval(), tokenizer)
    return model


def _with_head(folder: Path, head: SavedHead, config: PreTrainedConfig) -> RewardModel:
    """A decoder whose head has a name or a bias that transformers' class does not have."""
    backbone = pretrained.load_weights(AutoModel, folder, is_backbone=True)
    model = RewardModel(
        RewardModelConfig(
            backbone=portable(backbone.config), pad_token_id=config.pad_token_id, head_bias=head.bias is not None
        ),
        backbone,
    )
    names = {"weight": head.weight} | ({"bias": head.bias} if head.bias else {})
    model.score.load_state_dict({part: saved_head.read(folder, name).float() for part, name in names.items()})
    return model


def _no_reward_model(folder: Path, loaded: PreTrainedModel) -> ModelError:
    return ModelError(
        f"{folder}: expected a reward model, one linear head with one output on the last token, got a "
        f"{type(loaded).__name__} with {loaded.config.num_labels} labels"
    )


def _as_reward_model(loaded: PreTrainedModel, folder: Path) -> RewardModel:
    head = getattr(loaded, "score", None)
    if not (isinstance(head, nn.Linear) and head.out_features == 1 and head.bias is None):
        raise _no_reward_model(folder, loaded)
    heads = load_file(folder / _HEADS_NAME) if (folder / _HEADS_NAME).is_file() else head.state_dict()
    config = RewardModelConfig(
        backbone=portable(loaded.base_model.config),
        pooling="last",
        pad_token_id=loaded.config.pad_token_id,
        **getattr(loaded.config, "rmflow", {}),
    )
    model = RewardModel(config, loaded.base_model)
    model.score.load_state_dict(heads)
    return model


@torch.inference_mode()
def _check_as_served(
    folder: Path, model: RewardModel, loaded: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Compare some rewards with those that transformers gives.

    Transformers finds the last token by the padding id: where that is the end token's id too, it reads an earlier one.
    """
    for ids in _sample_ids(tokenizer):
        row = torch.tensor([ids])
        served = loaded(input_ids=row, attention_mask=torch.ones_like(row)).logits[0, 0]
        ours = model(input_ids=row).logits[0, 0]
        if torch.isclose(ours, served, rtol=_SAME, atol=_SAME):
            continue
        reason = "its class reads something else"
        if loaded.config.pad_token_id == ids[-1]:
            reason = (
                f"pad_token_id in config.json is {ids[-1]}, the id of the last token, {tokenizer.decode(ids[-1:])!r}; "
                "expected another id for padding"
            )
        raise ModelError(
            f"{folder}: transformers gives a text the reward {served:.4f}, its last token has {ours:.4f}: {reason}"
        )


def _sample_ids(tokenizer: PreTrainedTokenizerFast) -> Iterator[list[int]]:
    """Token ids of some made-up answers; none where there is no chat template or it refuses them."""
    if tokenizer.chat_template is None:
        return
    for answer in ("About a day's walk.", "No"):
        messages = [{"role": "user", "content": "Is it far to the sea?"}, {"role": "assistant", "content": answer}]
        with suppress(Exception):  # a template is a foreign program; what it refuses is told where texts are encoded
            yield tokenizer.apply_chat_template(messages, return_dict=False)
