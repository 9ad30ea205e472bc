"""Facts about the architectures of transformers."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from rm.errors import ModelError


def is_encoder(model_type: str) -> bool:
    """Whether every token of this architecture attends to the whole text, so that the last token is not special."""
    return model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES


def portable(config: PreTrainedConfig) -> dict[str, Any]:
    """A config's values without the path that it was read from, which would differ on another machine."""
    values: dict[str, Any] = config.to_diff_dict()
    return values


def check(config: PreTrainedConfig) -> None:
    """Check that texts can be read by this architecture.

    Raises
    ------
    ModelError
        If it is an encoder with a decoder, which reads two texts.
    """
    if config.is_encoder_decoder:
        raise ModelError(f"{config.model_type}: an encoder with a decoder; expected one of the two alone")


def max_positions(model: Any) -> int | None:
    """Largest number of tokens that a model has positions for; None if it has no such limit.

    Parameters
    ----------
    model : PreTrainedModel
        A backbone; its weights may be on the device ``meta``.
    """
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    reserved = getattr(table, "padding_idx", None)  # RoBERTa's positions start after its padding index
    return None if limit is None or limit < 1 else int(limit) - (0 if reserved is None else reserved + 1)


def hidden_size(config: PreTrainedConfig) -> int:
    """Size of a backbone's hidden states, H; OPT's smaller models project them to that of their embeddings."""
    text = config.get_text_config()
    return int(getattr(text, "word_embed_proj_dim", None) or text.hidden_size)


def turning_length(config: PreTrainedConfig) -> int | None:
    """Most tokens of a text that rotary positions with two sets of frequencies (longrope) read with the first set.

    Transformers takes one set per forward pass, by its longest text. None for other positions: "dynamic" ones change
    only beyond ``max_position_embeddings``, where no text is read.
    """
    parameters = getattr(config, "rope_parameters", None) or {}
    parts = [part for part in (parameters, *parameters.values()) if isinstance(part, dict)]  # some by kind of layer
    limits = [part["original_max_position_embeddings"] for part in parts if part.get("rope_type") == "longrope"]
    return min(map(int, limits), default=None)


def layers(backbone: Any) -> list[nn.Module]:
    """A backbone's layers in order; empty if the backbone does not keep them in one list."""
    depth = backbone.config.get_text_config().num_hidden_layers
    stacks = [part for part in backbone.modules() if isinstance(part, nn.ModuleList) and len(part) == depth]
    return list(stacks[0]) if stacks else []
