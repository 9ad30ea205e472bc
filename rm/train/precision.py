"""Which precision ``train.precision: auto`` is on this machine."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from rm.train.config import TrainConfig

LOGGER = logging.getLogger(__name__)
_FAST_ON_CPU = ("amx_bf16", "avx512_bf16", "sve_bf16")
"""Instructions with which a CPU multiplies matrices of bfloat16 faster than those of float32."""


def settled(config: TrainConfig) -> TrainConfig:
    """The settings with a precision: bfloat16 where the GPU, or else the CPU, has instructions for it, else float32.

    What follows from it, such as the key of a stage, knows the precision that was used.
    """
    if config.precision != "auto":
        return config
    import torch  # here, since it takes seconds to load and most recipes name a precision

    if torch.cuda.is_available():
        is_fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        is_fast = _is_fast(torch.cpu.get_capabilities())
    precision = "bfloat16" if is_fast else "float32"
    LOGGER.info("train.precision: auto is %s on this machine", precision)
    return config.model_copy(update={"precision": precision})


def _is_fast(capabilities: Mapping[str, Any]) -> bool:
    return any(capabilities.get(name) for name in _FAST_ON_CPU)
