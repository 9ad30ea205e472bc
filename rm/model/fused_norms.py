"""Root-mean-square normalisation by torch's own kernel, in place of a model's several operations."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def fuse(model: nn.Module) -> int:
    """Let torch's fused kernel compute each layer of the model that does the same, up to rounding.

    Transformers computes it by five operations or more, each of which reads and writes the hidden states; on a GPU they
    were a quarter of a training step (docs/training.md). On the CPU nothing is gained.

    Parameters
    ----------
    model : Module
        Its parameters and what is saved of it stay as they are.

    Returns
    -------
    int
        Number of layers.

    Notes
    -----
    Whether a layer does the same is seen by trying it with other weights, on small and on large inputs, since classes
    of one name differ: Gemma's adds 1 to the weight.

    References
    ----------
    Zhang and Sennrich (2019), Root Mean Square Layer Normalization, arXiv:1910.07467
    """
    num_fused = 0
    for module in model.modules():
        forward = _same(module) if _may_be(module) else None
        if forward is not None:
            module.forward = MethodType(forward, module)  # bound, so that a copy of the layer has its own
            num_fused += 1
    return num_fused


def _may_be(module: Any) -> bool:
    """Whether it looks like a layer that takes hidden states alone and has one weight per dimension."""
    if not type(module).__name__.endswith("RMSNorm") or isinstance(module, nn.RMSNorm):
        return False
    parameters = dict(module.named_parameters())
    takes = inspect.signature(module.forward).parameters
    return list(parameters) == ["weight"] and parameters["weight"].dim() == 1 and len(takes) == 1


def _same(module: Any) -> Callable[[Any, Tensor], Tensor] | None:
    """A method that computes the same as a layer, or None."""
    epsilon = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    if not isinstance(epsilon, float):
        return None
    random = torch.Generator().manual_seed(0)
    inputs = torch.randn(len(_SIZES), module.weight.numel(), generator=random) * torch.tensor(_SIZES).unsqueeze(1)
    inputs, weight = inputs.to(module.weight.device), module.weight.detach().clone()
    with torch.no_grad():
        try:
            module.weight.copy_(torch.randn(weight.shape, generator=random))
            expected = module(inputs)
            keeps_dtype = module(inputs.bfloat16()).dtype == torch.bfloat16
            for offset in (0.0, 1.0):
                forward = _forward(epsilon, offset, keeps_dtype)
                found = forward(module, inputs)
                if found.dtype == expected.dtype and torch.allclose(found, expected, rtol=1e-5, atol=1e-6):
                    return forward
        finally:
            module.weight.copy_(weight)
    return None


_SIZES = (1e-3, 0.02, 1.0, 50.0)
"""Standard deviations of the inputs that a layer is tried on."""


def _forward(epsilon: float, offset: float, keeps_dtype: bool) -> Callable[[Any, Tensor], Tensor]:
    """A method that gives x / sqrt(mean(x^2) + epsilon) * (weight + offset), computed in float32."""

    def forward(self: Any, hidden_states: Tensor) -> Tensor:
        weight = self.weight.float()
        dtype = hidden_states.dtype if keeps_dtype else torch.promote_types(hidden_states.dtype, self.weight.dtype)
        factor = weight + offset if offset else weight
        return F.rms_norm(hidden_states.float(), weight.shape, factor, epsilon).to(dtype)

    return forward
