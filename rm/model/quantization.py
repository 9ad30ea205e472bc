"""Linear layers whose frozen weights are kept in 4 bits (NF4) through bitsandbytes, while adapters are trained."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from rm.errors import ModelError


def quantize(backbone: nn.Module) -> None:
    """Replace each linear layer by one with a weight in NF4.

    It multiplies in float32, and under autocast in bfloat16, as a plain layer does.

    Raises
    ------
    ModelError
        If bitsandbytes is not installed.

    References
    ----------
    Dettmers et al. (2023), QLoRA, arXiv:2305.14314
    """
    bnb = _bitsandbytes()
    for name, module in list(backbone.named_modules()):
        if type(module) is nn.Linear:
            layer = bnb.nn.Linear4bit(
                module.in_features,
                module.out_features,
                bias=module.bias is not None,
                compute_dtype=torch.float32,
                quant_type="nf4",
                device="meta",
            )
            layer.weight = bnb.nn.Params4bit(module.weight.data, requires_grad=False, quant_type="nf4")
            layer.bias = module.bias
            # Else such a CPU packs it anew where nothing is trained: rounded once more, and not in all shapes.
            layer.support_avx512bf16_for_cpu = False
            layer.register_forward_pre_hook(_as_under_autocast)
            _replace(backbone, name, layer.to(module.weight.device))  # which quantizes it
    backbone.is_loaded_in_4bit = True  # type: ignore[assignment]  # by which peft finds its adapters for such layers


def _as_under_autocast(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Inputs in the dtype of autocast, which the output then has too: in float32 it would take twice the memory."""
    device = inputs[0].device.type
    if not torch.is_autocast_enabled(device):
        return inputs
    return tuple(each.to(torch.get_autocast_dtype(device)) for each in inputs)


def is_quantized(module: nn.Module) -> bool:
    """Whether it is a layer of `quantize`."""
    return type(module).__name__ == "Linear4bit" and isinstance(module, nn.Linear)


def plain(layer: Any, delta: Tensor | None = None) -> nn.Linear:
    """A plain linear layer in float32 that computes the same as a quantized one, with a change of its weight added."""
    weight = _bitsandbytes().functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state).float()
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=layer.bias is not None, device=weight.device)
    with torch.no_grad():
        made.weight.copy_(weight if delta is None else weight + delta.float())
        if layer.bias is not None:
            made.bias.copy_(layer.bias)
    return made


def restore(backbone: nn.Module) -> None:
    """Replace each quantized layer by a plain one."""
    for name, module in list(backbone.named_modules()):
        if is_quantized(module):
            _replace(backbone, name, plain(module))


def _replace(backbone: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(backbone.get_submodule(parent), child, layer)


def _bitsandbytes() -> Any:
    try:
        import bitsandbytes
    except ImportError:
        raise ModelError(
            "train.lora.quantize: bitsandbytes is not installed; expected it, as by pip install 'rmflow[qlora]'"
        ) from None
    return bitsandbytes
