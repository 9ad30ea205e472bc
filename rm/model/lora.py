"""Low-rank adapters (LoRA) through peft: added for training, merged into the weights afterwards."""

from __future__ import annotations

from typing import Any

from peft import LoraConfig as PeftConfig
from peft import inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn


def add(backbone: Any, rank: int, alpha: int) -> None:
    """Freeze a backbone and give each of its linear layers a trainable product of two thin matrices.

    The reward head is not part of the backbone: it stays fully trainable.

    Parameters
    ----------
    backbone : PreTrainedModel
    rank : int
        Rank of the product.
    alpha : int
        The product is scaled by alpha / rank.

    References
    ----------
    Hu et al. (2021), LoRA, arXiv:2106.09685
    """
    peft = PeftConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules="all-linear")
    inject_adapter_in_model(peft, backbone)


def merge(backbone: nn.Module) -> None:
    """Add each adapter to the weights that it adapts, and remove it."""
    for name, module in list(backbone.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            parent, _, child = name.rpartition(".")
            setattr(backbone.get_submodule(parent), child, module.get_base_layer())
