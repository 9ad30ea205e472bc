"""Low-rank adapters (LoRA) through peft: added for training, merged into the weights afterwards."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

from peft import LoraConfig as PeftConfig
from peft import inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from transformers.pytorch_utils import Conv1D

from rm.errors import ModelError
from rm.model import quantization

LOGGER = logging.getLogger(__name__)
_NAMED_FROM = 0.01
"""Parts without adapters are named from this share of the weights on."""


def add(backbone: Any, rank: int, alpha: int, targets: Sequence[str] = (), *, quantized: bool = False) -> None:
    """Freeze a backbone and give its linear layers, and its experts, a trainable product of two thin matrices.

    Experts whose weights lie in one tensor of shape (experts, out, in) get one product per expert. The reward head is
    not part of the backbone: it stays fully trainable. How much of the backbone has no adapter is told in the log.

    Parameters
    ----------
    backbone : PreTrainedModel
    rank : int
        Rank of the product.
    alpha : int
        The product is scaled by alpha / rank.
    targets : sequence of str
        Ends of the names of what gets adapters, such as q_proj; default: all that can have them.
    quantized : bool
        Whether the weights of linear layers are kept in 4 bits.

    Raises
    ------
    ModelError
        If a target has no layer, peft has no adapter for a layer, or bitsandbytes is needed and not installed.

    References
    ----------
    Hu et al. (2021), LoRA, arXiv:2106.09685
    """
    layers, experts = _adaptable(backbone)
    if unknown := [target for target in targets if not any(_ends(name, target) for name in (*layers, *experts))]:
        kinds = sorted({name.rpartition(".")[2] for name in (*layers, *experts)})
        raise ModelError(
            f"train.lora.targets: {type(backbone).__name__} has no linear layer that ends with {unknown[0]!r}; it has "
            f"{', '.join(kinds)}"
        )
    wanted = [
        [name for name in names if not targets or any(_ends(name, target) for target in targets)]
        for names in (layers, experts)
    ]
    before = {name: parameter.numel() for name, parameter in backbone.named_parameters()}
    if quantized:
        quantization.quantize(backbone)
    peft = PeftConfig(
        r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules=wanted[0], target_parameters=wanted[1] or None
    )
    try:
        inject_adapter_in_model(peft, backbone)
    except (TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ModelError(
            f"train.lora: {type(backbone).__name__} cannot have these adapters: {reason}; name others in "
            "train.lora.targets"
        ) from None
    adapted = {*(f"{name}.weight" for name in wanted[0]), *wanted[1]}
    _tell(before, adapted, sum(each.numel() for each in backbone.parameters() if each.requires_grad))


def _adaptable(backbone: nn.Module) -> tuple[list[str], list[str]]:
    """Names of the linear layers, and of the tensors that hold the weights of several experts."""
    layers, experts = [], []
    for name, module in backbone.named_modules():
        if isinstance(module, nn.Linear | Conv1D):
            layers.append(name)
        elif not isinstance(module, nn.Conv1d):
            own = module.named_parameters(prefix=name, recurse=False)
            experts += [key for key, parameter in own if parameter.dim() == 3]
    return layers, experts


def _ends(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")


def _tell(sizes: dict[str, int], adapted: set[str], num_trained: int) -> None:
    total = sum(sizes.values())
    without: Counter[str] = Counter()
    for name, size in sizes.items():
        if name not in adapted:
            without[".".join(part for part in name.split(".") if not part.isdigit())] += size
    named = [f"{name} {size / total:.0%}" for name, size in without.most_common() if size >= _NAMED_FROM * total]
    LOGGER.info(
        "adapters with %s weights on %.0f %% of the backbone's %s weights%s",
        f"{num_trained:,}",
        100 * (1 - without.total() / total),
        f"{total:,}",
        f"; none on {', '.join(named)}" if named else "",
    )


def merge(backbone: nn.Module) -> None:
    """Add each adapter to the weights that it adapts, and remove it."""
    adapted = [(name, module) for name, module in backbone.named_modules() if isinstance(module, BaseTunerLayer)]
    for name, module in reversed(adapted):  # of two that adapt tensors of one module, one is inside the other
        parent, _, child = name.rpartition(".")
        setattr(backbone.get_submodule(parent), child, _merged(module))
    quantization.restore(backbone)


def _merged(module: Any) -> nn.Module:
    """A layer with what its adapter adds; of a quantized one in float32, since in 4 bits the sum would be another."""
    base: nn.Module = module.base_layer
    if quantization.is_quantized(base):
        return quantization.plain(base, sum(module.get_delta_weight(name) for name in module.active_adapters))
    module.merge()
    return base
