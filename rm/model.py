"""The reward model: any transformers backbone, a pooling, and a scalar head in float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.modeling_outputs import SequenceClassifierOutput

from rm import base_models
from rm.base_models import BaseModelRef
from rm.config import ModelConfig, Pooling
from rm.errors import ModelError

_HEAD_STD = 0.02


class RewardModelConfig(PreTrainedConfig):  # type: ignore[misc]  # transformers is not typed here
    """Config of a `RewardModel`: the backbone's own config as a mapping, and how rewards are pooled."""

    model_type = "rmflow-reward"

    backbone: dict[str, Any] | None = None
    pooling: str = "last"
    pooling_token_id: int | None = None
    problem_type: str | None = "regression"  # servers apply a sigmoid to single logits otherwise

    @property
    def hidden_size(self) -> int:
        """Width of the backbone, H."""
        return int(self.backbone_config().hidden_size)

    def backbone_config(self) -> Any:
        """The backbone's config as transformers knows it."""
        return AutoConfig.for_model(**(self.backbone or {}))


class RewardModel(PreTrainedModel):  # type: ignore[misc]
    """A backbone whose pooled hidden state is mapped to one reward."""

    config_class = RewardModelConfig
    base_model_prefix = "backbone"

    def __init__(self, config: RewardModelConfig, backbone: nn.Module | None = None) -> None:
        super().__init__(config)
        self.backbone = backbone if backbone is not None else AutoModel.from_config(config.backbone_config())
        self.score = nn.Linear(config.hidden_size, 1, bias=False)
        if backbone is None:
            self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Leave weights alone: they are loaded, or set by `build`."""

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        response_mask: Tensor | None = None,
        **_: Any,
    ) -> SequenceClassifierOutput:
        """Rewards of a padded batch.

        Parameters
        ----------
        input_ids : Tensor of shape (N, T), int64
        attention_mask : Tensor of shape (N, T), optional
            1 at real tokens; left out: all are real. Padding may stand on either side, but on the right only for
            backbones with learned positions (gpt2, bert), which count from the left edge.
        response_mask : Tensor of shape (N, T), optional
            1 at the response's tokens; needed by ``mean_response`` pooling only.

        Returns
        -------
        SequenceClassifierOutput
            With logits of shape (N, 1), float32.
        """
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        hidden = self.backbone(input_ids=input_ids, attention_mask=mask).last_hidden_state
        with torch.autocast(hidden.device.type, enabled=False):  # bfloat16 rewards of close responses would tie
            pooled = pool(hidden.float(), input_ids, mask, response_mask, self.config)
            return SequenceClassifierOutput(logits=self.score(pooled))


AutoConfig.register(RewardModelConfig.model_type, RewardModelConfig)
AutoModelForSequenceClassification.register(RewardModelConfig, RewardModel)


def pool(
    hidden: Tensor, input_ids: Tensor, attention_mask: Tensor, response_mask: Tensor | None, config: RewardModelConfig
) -> Tensor:
    """One vector a sequence, from the hidden states of its real tokens.

    Parameters
    ----------
    hidden : Tensor of shape (N, T, H), float32
    input_ids, attention_mask : Tensor of shape (N, T)
    response_mask : Tensor of shape (N, T), optional
    config : RewardModelConfig
        Its ``pooling``: ``last``, the last real token, found by the mask and never by the padding id, which may be the
        end token's; ``mean`` over real tokens; ``mean_response``; ``token``, the first ``pooling_token_id``.

    Returns
    -------
    Tensor of shape (N, H), float32

    Raises
    ------
    ModelError
        If a response mask or the named token is missing.
    """
    if config.pooling == "mean":
        return _masked_mean(hidden, attention_mask)
    if config.pooling == "mean_response":
        if response_mask is None:
            raise ModelError("mean_response pooling needs response_mask; score with rm.scoring, which gives it")
        return _masked_mean(hidden, response_mask)
    rows = torch.arange(len(hidden), device=hidden.device)
    if config.pooling == "last":
        positions = torch.arange(hidden.shape[1], device=hidden.device)
        return hidden[rows, (positions * attention_mask).argmax(dim=1)]
    found = (input_ids == config.pooling_token_id) & (attention_mask > 0)
    if not bool(found.any(dim=1).all()):
        raise ModelError(f"pooling token {config.pooling_token_id} is missing from a sequence")
    return hidden[rows, found.int().argmax(dim=1)]


def _masked_mean(hidden: Tensor, mask: Tensor) -> Tensor:
    weights = mask.to(hidden.dtype).unsqueeze(-1)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1)


def build(base: BaseModelRef, tokenizer: PreTrainedTokenizerFast, seed: int, device: torch.device) -> RewardModel:
    """A reward model with the base model's weights and a new head.

    Parameters
    ----------
    base : BaseModelRef
    tokenizer : PreTrainedTokenizerFast
    seed : int
        Of the head's weights.
    device : torch.device

    Raises
    ------
    ModelError
        If the pooling token is not one token of the tokenizer's.
    """
    backbone = base_models.load_backbone(base, len(tokenizer))
    config = RewardModelConfig(
        backbone=_portable(backbone.config),
        pooling=_pooling(base.config, backbone.config.model_type),
        pooling_token_id=_token_id(base.config, tokenizer),
        pad_token_id=pad_token_id(tokenizer),
        num_labels=1,
    )
    model = RewardModel(config, backbone)
    generator = torch.Generator().manual_seed(seed)
    nn.init.normal_(model.score.weight, std=_HEAD_STD, generator=generator)
    model.to(device)
    return model


def _portable(config: PreTrainedConfig) -> dict[str, Any]:
    """A config's values without the place that it was read from, which would differ on another machine."""
    values: dict[str, Any] = config.to_diff_dict()
    return values


def _pooling(config: ModelConfig, model_type: str) -> Pooling:
    if config.pooling is not None:
        return config.pooling
    return "mean" if base_models.is_encoder(model_type) else "last"


def _token_id(config: ModelConfig, tokenizer: PreTrainedTokenizerFast) -> int | None:
    if config.pooling_token is None:
        return None
    token_id = tokenizer.get_vocab().get(config.pooling_token)
    if token_id is None:
        raise ModelError(f"model.pooling_token: the tokenizer has no token {config.pooling_token!r}")
    return int(token_id)


def pad_token_id(tokenizer: PreTrainedTokenizerFast) -> int:
    """A special token's id to pad with that is not the end token's; `rm.base_models.load_tokenizer` sees to one.

    Transformers finds the last token by comparing with this id, so with pad == eos it would read the reward one token
    early. Every text ends with an end token, so any other id is safe.
    """
    candidates = (tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.bos_token_id)
    return int(next(id_ for id_ in candidates if id_ is not None and id_ != tokenizer.eos_token_id))


def save(model: RewardModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Save as ``AutoModelForSequenceClassification`` and ``AutoTokenizer`` load it, weights as safetensors.

    Where transformers' own class for the backbone reads the last token too, that class is saved and loads anywhere;
    other poolings are saved as `RewardModel`, which loads where ``rm.model`` is imported.
    """
    exported = _as_transformers_class(model) or model
    exported.config.architectures = [type(exported).__name__]
    exported.save_pretrained(folder)
    tokenizer.pad_token_id = pad_token_id(tokenizer)
    base_models.save_tokenizer(tokenizer, folder)


def _as_transformers_class(model: RewardModel) -> PreTrainedModel | None:
    """The same model in transformers' own class, or None where that class pools differently."""
    if model.config.pooling != "last":
        return None
    config = model.config.backbone_config()
    config.num_labels, config.problem_type, config.pad_token_id = 1, "regression", model.config.pad_token_id
    try:
        exported = AutoModelForSequenceClassification.from_config(config)
    except ValueError:  # transformers has no such class for this backbone
        return None
    head = getattr(exported, "score", None)
    if not (isinstance(head, nn.Linear) and head.weight.shape == model.score.weight.shape and head.bias is None):
        return None
    exported.base_model.load_state_dict(model.backbone.state_dict())
    head.load_state_dict(model.score.state_dict())
    return exported


def load(folder: Path, device: torch.device) -> tuple[RewardModel, PreTrainedTokenizerFast]:
    """Load a checkpoint of ours, or any single-logit sequence classification model that reads its last token.

    Raises
    ------
    ModelError
        If the folder holds no such model.
    """
    from transformers import AutoTokenizer

    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: no config.json; expected the folder of a saved reward model")
    loaded = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return _as_reward_model(loaded, folder).to(device).eval(), tokenizer


def _as_reward_model(loaded: PreTrainedModel, folder: Path) -> RewardModel:
    if isinstance(loaded, RewardModel):
        return loaded
    head = getattr(loaded, "score", None)
    if not (isinstance(head, nn.Linear) and head.out_features == 1 and head.bias is None):
        raise ModelError(f"{folder}: {type(loaded).__name__} with {loaded.config.num_labels} labels is no reward model")
    config = RewardModelConfig(
        backbone=_portable(loaded.base_model.config), pooling="last", pad_token_id=loaded.config.pad_token_id
    )
    model = RewardModel(config, loaded.base_model)
    model.score.load_state_dict(head.state_dict())
    return model
