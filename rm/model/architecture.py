"""Facts about the architectures of transformers."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES


def is_encoder(model_type: str) -> bool:
    """Whether every token of this architecture attends to the whole text, so that the last token is not special."""
    return model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES


def portable(config: PreTrainedConfig) -> dict[str, Any]:
    """A config's values without the path that it was read from, which would differ on another machine."""
    values: dict[str, Any] = config.to_diff_dict()
    return values


def layers(backbone: Any) -> list[nn.Module]:
    """A backbone's layers in order; empty if the backbone does not keep them in one list."""
    depth = backbone.config.get_text_config().num_hidden_layers
    stacks = [part for part in backbone.modules() if isinstance(part, nn.ModuleList) and len(part) == depth]
    return list(stacks[0]) if stacks else []
