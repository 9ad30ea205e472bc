"""Saving a reward model in the form that transformers and serving tools load, and loading it."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerFast

from rm.errors import ModelError
from rm.model import architecture, pretrained
from rm.model.architecture import portable
from rm.model.reward_model import RewardModel, RewardModelConfig
from rm.model.sequence_classifier import Classifier
from rm.model.tokenizer import pad_token_id, save_tokenizer

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

    A decoder must have one linear head without a bias on its last token, as this project's models have. An encoder
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
        If the folder holds no such model, or its weights are not exactly those of its architecture.
    """
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: no config.json; expected the folder of a saved reward model")
    loaded = pretrained.load_weights(AutoModelForSequenceClassification, folder)
    tokenizer = pretrained.load_tokenizer(folder)
    if isinstance(loaded, RewardModel):
        model: RewardModel | Classifier = loaded
    elif loaded.config.num_labels == 1 and architecture.is_encoder(loaded.config.model_type):
        model = Classifier(loaded, reads_pairs=tokenizer.chat_template is None)
    else:
        model = _as_reward_model(loaded, folder)
    return model.to(device).eval(), tokenizer


def _as_reward_model(loaded: PreTrainedModel, folder: Path) -> RewardModel:
    head = getattr(loaded, "score", None)
    if not (isinstance(head, nn.Linear) and head.out_features == 1 and head.bias is None):
        raise ModelError(
            f"{folder}: expected a reward model, one linear head with one output on the last token, got a "
            f"{type(loaded).__name__} with {loaded.config.num_labels} labels"
        )
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
