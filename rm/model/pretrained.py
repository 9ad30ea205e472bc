"""Loading saved models, of others too: whole, from safetensors, and without running code that comes with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerFast

from rm.errors import ModelError

_CONFIG_NAMES = ("config.json", "tokenizer_config.json")
_MAX_NAMED = 3


def check_no_code(folder: Path) -> None:
    """See that a model needs no Python code of its own.

    Raises
    ------
    ModelError
        If a configuration in the folder has ``auto_map``, which names such code.
    """
    for name in _CONFIG_NAMES:
        path = folder / name
        if path.is_file() and "auto_map" in json.loads(path.read_text(encoding="utf-8")):
            raise ModelError(
                f"{path}: auto_map names Python code that comes with the model; no code of a model is run, expected "
                "an architecture and a tokenizer that transformers has"
            )


def load_config(folder: Path) -> Any:
    """A model's config as transformers knows it; raises ModelError as `check_no_code` does."""
    check_no_code(folder)
    return AutoConfig.from_pretrained(folder, trust_remote_code=False)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """A saved tokenizer; raises ModelError as `check_no_code` does."""
    check_no_code(folder)
    return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


def load_weights(auto_class: Any, folder: Path, *, is_backbone: bool = False) -> Any:
    """A model with all of its weights, in float32, on the CPU.

    Parameters
    ----------
    auto_class : type
        Such as `AutoModelForSequenceClassification`.
    folder : Path
    is_backbone : bool
        Whether a head that the weights hold is left aside, and a pooler that they lack is no loss: no reward is read
        from it.

    Raises
    ------
    ModelError
        If the model needs code of its own, or its weights lack something, hold something that the architecture has no
        place for, or have other shapes. Transformers would draw what is missing at random.
    """
    check_no_code(folder)
    try:
        model, info = auto_class.from_pretrained(
            folder,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # to name them all below; else the first one ends in a report for the log
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelError(f"{folder}: cannot be loaded as {auto_class.__name__}: {error}") from None
    missing = sorted(name for name in info["missing_keys"] if not (is_backbone and "pooler" in name))
    unexpected = [] if is_backbone else sorted(info["unexpected_keys"])
    misshapen = [f"{name} {list(came)}, not {list(wanted)}" for name, came, wanted in info["mismatched_keys"]]
    if missing or unexpected or misshapen:
        faults = [f"the weights have no {_named(missing)}"] if missing else []
        faults += [f"the weights hold {_named(unexpected)}"] if unexpected else []
        faults += [f"the weights have the shape {_named(sorted(misshapen))}"] if misshapen else []
        raise ModelError(
            f"{folder}: {' and '.join(faults)}; expected exactly those of {type(model).__name__}, and nothing is drawn "
            "at random"
        )
    return model


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return f"{', '.join(names[:_MAX_NAMED])}{more}"
