"""The state of an unfinished training run, written by all of its processes and read by any number of them.

Every process writes its own tensors as safetensors through `torch.distributed.checkpoint`. Steps draw nothing at
random: their order follows from the seed, and there is no dropout, so weights and optimizer are the whole state.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from rm.errors import TrainingError
from rm.files import replace_text
from rm.section import Section
from rm.train.distributed import World

_STATE_NAME = "state.json"


class Progress(Section):
    """How far a run has come."""

    step: int = 0
    """Optimizer steps taken."""
    best_step: int = 0
    """After which the validation loss was lowest; 0: it was never measured."""
    best_loss: float | None = None
    num_worse: int = 0
    """Measurements since then."""

    def measured(self, loss: float) -> Progress:
        """After the validation loss was measured at this step."""
        if self.best_loss is None or loss < self.best_loss:
            return self.model_copy(update={"best_step": self.step, "best_loss": loss, "num_worse": 0})
        return self.model_copy(update={"num_worse": self.num_worse + 1})


class _State(Section):
    """What lies beside the tensors; a folder without it is unfinished."""

    key: str
    progress: Progress


def beside(folder: Path) -> Path:
    """Where a run that fills a folder keeps its checkpoints: not within, so that they may go after it is sealed."""
    return folder.with_name(f".{folder.name}.resume")


class Checkpoints:
    """The checkpoints of one run in a folder; the newest complete one counts, and the best one is kept beside it.

    Parameters
    ----------
    folder : Path
    key : str
        Digest of what is trained on what; a run with another key cannot resume from here.
    world : World
    """

    def __init__(self, folder: Path, key: str, world: World) -> None:
        self.folder, self.key, self.world = folder, key, world

    def save(self, progress: Progress, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Write the state after a step, then remove the one before it."""
        folder = self.folder / f"step-{progress.step:08d}"
        self._write(folder, progress, _tensors(model, optimizer))
        if self.world.rank == 0:
            keep = {folder.name, _best_name(progress)}
            for other in self.folder.iterdir():
                if other.name not in keep:
                    shutil.rmtree(other)

    def save_best(self, progress: Progress, model: nn.Module) -> None:
        """Write the weights of the best step so far."""
        self._write(self.folder / _best_name(progress), progress, _tensors(model))

    def load(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
        """Restore the newest complete state; with none, `Progress` says 0 steps.

        Raises
        ------
        TrainingError
            If it is damaged, or belongs to a run on other data or with another configuration.
        """
        for folder in sorted(self.folder.glob("step-*"), reverse=True):
            if (folder / _STATE_NAME).is_file():
                progress = self._read_state(folder)
                _fill(optimizer, progress.step)
                self._read(folder, _tensors(model, optimizer))
                return progress
        return Progress()

    def load_best(self, progress: Progress, model: nn.Module) -> None:
        """Restore the weights of the best step."""
        self._read(self.folder / _best_name(progress), _tensors(model))

    def remove(self) -> None:
        """Remove them all, once the run has its manifest."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, folder: Path, progress: Progress, tensors: dict[str, Tensor]) -> None:
        if self.world.rank == 0 and folder.exists():
            shutil.rmtree(folder)  # left unfinished by a run that was killed
        self.world.barrier()
        with _quiet():
            writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
            save(tensors, storage_writer=writer, no_dist=self.world.size == 1)
        self.world.barrier()
        if self.world.rank == 0:
            state = _State(key=self.key, progress=progress)
            replace_text(folder / _STATE_NAME, state.model_dump_json(indent=2) + "\n")

    def _read_state(self, folder: Path) -> Progress:
        try:
            state = _State.model_validate_json((folder / _STATE_NAME).read_bytes())
        except ValidationError as error:
            raise TrainingError(f"{folder}: cannot be resumed from: {error}; remove it to train anew") from None
        if state.key != self.key:
            raise TrainingError(
                f"{folder}: belongs to a run on other data or with another configuration; remove it first"
            )
        return state.progress

    def _read(self, folder: Path, tensors: dict[str, Tensor]) -> None:
        try:
            with _quiet():
                reader = HuggingFaceStorageReader(str(folder))
                load(tensors, storage_reader=reader, no_dist=self.world.size == 1)
        except CheckpointException as error:
            reasons = "; ".join(str(reason) for reason, _ in error.failures.values())
            raise TrainingError(f"{folder}: cannot be resumed from: {reasons}; remove it to train anew") from None
        except (SafetensorError, OSError, RuntimeError, KeyError, ValueError) as error:
            raise TrainingError(f"{folder}: cannot be resumed from: {error!r}; remove it to train anew") from None


def _best_name(progress: Progress) -> str:
    return f"best-{progress.best_step:08d}"


def _tensors(model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> dict[str, Tensor]:
    """What training changes, by name; tensors are the live ones, so that reading fills them in place."""
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    tensors = {f"model.{name}": parameter.detach() for name, parameter in named.items()}
    if optimizer is not None:
        for name, parameter in named.items():
            for field in ("exp_avg", "exp_avg_sq"):
                # A parameter that no loss depends on (BERT's pooler) has none.
                moment = optimizer.state[parameter].get(field) if parameter in optimizer.state else None
                tensors[f"optimizer.{name}.{field}"] = torch.zeros_like(parameter) if moment is None else moment
    return tensors


def _fill(optimizer: torch.optim.Optimizer, step: int) -> None:
    """Give a fresh AdamW the state that it would have after some steps, to be overwritten."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            optimizer.state[parameter] = {
                "step": torch.tensor(float(step), device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warning that a run of one process is one."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"torch\.distributed")
        yield
