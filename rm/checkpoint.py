"""The state of an unfinished training run: everything that the next step depends on, in one safetensors file."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from rm.errors import TrainingError
from rm.files import replacing

RESUME_NAME = "resume.safetensors"


def save(path: Path, step: int, key: str, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write model, optimizer and random state after a step, in place of the state before it.

    Parameters
    ----------
    path : Path
    step : int
        Number of optimizer steps taken.
    key : str
        Digest of what is trained on what; a run with another key cannot resume from here.
    model, optimizer
    """
    tensors = {f"model.{name}": value.detach().cpu().clone() for name, value in model.state_dict().items()}
    for place, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{place}.{name}": value.detach().cpu().clone() for name, value in state.items()}
    tensors["random.cpu"] = torch.random.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    with replacing(path) as partial:
        save_file(tensors, partial, metadata={"state": json.dumps({"step": step, "key": key})})


def load(path: Path, key: str, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Restore what `save` wrote; return the number of steps taken, 0 if there is no file.

    Raises
    ------
    TrainingError
        If the file is damaged, or belongs to a run on other data or with another configuration.
    """
    if not path.is_file():
        return 0
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads((file.metadata() or {})["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        step, found, random_state = int(state["step"]), state["key"], tensors["random.cpu"]
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise TrainingError(f"{path}: cannot be resumed from: {error!r}; remove it to train from the start") from None
    if found != key:
        raise TrainingError(f"{path}: belongs to a run on other data or with another configuration; remove it first")
    model.load_state_dict(_with_prefix(tensors, "model."))
    _load_optimizer(optimizer, _with_prefix(tensors, "optimizer."))
    torch.random.set_rng_state(random_state)
    if torch.cuda.is_available() and "random.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random.cuda"])
    return step


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        place, _, field = name.partition(".")
        state.setdefault(int(place), {})[field] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
