"""Loading saved models, also other people's: complete, from safetensors, and without running code from their folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerFast

from rm.errors import ModelError
from rm.model import architecture, model_folder

_MAX_NAMED = 3


def load_config(folder: Path) -> Any:
    """A model's config, as a class of transformers.

    Raises
    ------
    ModelError
        As `rm.model.model_folder.check` and `rm.model.architecture.check` do.
    """
    model_folder.check(folder)
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        architecture.check(config)
    except (ModelError, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ModelError(f"{folder}: {reason}") from None
    return config


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """A saved tokenizer; raises ModelError as `rm.model.model_folder.check` does."""
    model_folder.check(folder)
    return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


def load_weights(auto_class: Any, folder: Path, *, is_backbone: bool = False) -> Any:
    """A model with all of its weights, in float32, on the CPU.

    Parameters
    ----------
    auto_class : type
        Such as `AutoModelForSequenceClassification`.
    folder : Path
    is_backbone : bool
        True to load a backbone only: the file may hold weights of a head, which are ignored, and may lack a pooler,
        which is not used. Weights for more layers than the config says are no head.

    Raises
    ------
    ModelError
        If the model needs Python code from its folder; or if weights are missing, are not part of the architecture, or
        have other shapes. Transformers would set missing weights to random values.
    """
    load_config(folder)
    try:
        model, info = auto_class.from_pretrained(
            folder,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that all of them are named below
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelError(f"{folder}: cannot be loaded as {auto_class.__name__}: {error}") from None
    missing = sorted(name for name in info["missing_keys"] if not (is_backbone and "pooler" in name))
    unexpected = sorted(name for name in info["unexpected_keys"] if not (is_backbone and _is_outside(model, name)))
    misshapen = [f"{name} {list(came)}, not {list(wanted)}" for name, came, wanted in info["mismatched_keys"]]
    if missing or unexpected or misshapen:
        faults = [f"the weights have no {_named(missing)}"] if missing else []
        faults += [f"the weights hold {_named(unexpected)}"] if unexpected else []
        faults += [f"the weights have the shape {_named(sorted(misshapen))}"] if misshapen else []
        raise ModelError(
            f"{folder}: {' and '.join(faults)}; expected exactly the weights of {type(model).__name__}, since missing "
            "ones would be random"
        )
    return model


def _is_outside(model: Any, name: str) -> bool:
    """Whether a weight is not of a part that the model has, such as its layers.

    Old files of GPT-2 and its like hold masks as weights of attention, which has no weights of its own.
    """
    own = name.removeprefix(f"{model.base_model_prefix}.")
    if own.split(".")[0] not in dict(model.named_children()):
        return True
    holder = dict(model.named_modules()).get(own.rpartition(".")[0])
    return holder is not None and not list(holder.parameters(recurse=False))


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return f"{', '.join(names[:_MAX_NAMED])}{more}"
