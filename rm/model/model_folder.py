"""The folder of a saved model: what must not be in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rm.errors import ModelError

_CONFIG_NAMES = ("config.json", "tokenizer_config.json")


def check(folder: Path) -> None:
    """Check that a saved model has plain weights and needs no Python code from its folder.

    Raises
    ------
    ModelError
        If a configuration has the key ``auto_map``, which names such code; if the weights are quantized; or if there is
        an adapter, which transformers would add to the model without a word.
    """
    for name in _CONFIG_NAMES:
        path = folder / name
        config = _read(path)
        if "auto_map" in config:
            raise ModelError(
                f"{path}: auto_map names Python code that comes with the model, which is never run; expected an "
                "architecture and a tokenizer that transformers has"
            )
        if quantization := config.get("quantization_config"):
            kind = quantization.get("quant_method", "an unknown method") if isinstance(quantization, dict) else ""
            raise ModelError(
                f"{path}: the weights are quantized ({kind}); expected weights in float32, bfloat16 or float16"
            )
    if (folder / "adapter_config.json").exists():
        raise ModelError(
            f"{folder}: an adapter (adapter_config.json) lies beside the model; expected a model with it merged in"
        )


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path}: not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ModelError(f"{path}: expected a JSON object, got {type(found).__name__}")
    return found
