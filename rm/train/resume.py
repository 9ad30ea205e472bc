"""The state of an unfinished training run, written by all of its processes and read by any number of processes.

Every process writes its tensors as safetensors through `torch.distributed.checkpoint`. Nothing in a step is random: the
order of the steps depends only on the seed, and there is no dropout. So weights, optimizer and the terms of
controlled features are the whole state.
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
    """Number of optimizer steps taken."""
    best_step: int = 0
    """Step after which the validation loss was lowest; 0 if it was never measured."""
    best_loss: float | None = None
    """The lowest validation loss."""
    num_worse: int = 0
    """Number of measurements since the best step."""
    control: tuple[float, ...] = ()
    """State of the controlled features (`rm.remedies.controlled.Control`)."""

    def measured(self, loss: float) -> Progress:
        """The progress with a validation loss that was measured at this step."""
        if self.best_loss is None or loss < self.best_loss:
            return self.model_copy(update={"best_step": self.step, "best_loss": loss, "num_worse": 0})
        return self.model_copy(update={"num_worse": self.num_worse + 1})

    def with_control(self, control: tuple[float, ...]) -> Progress:
        """The same progress with the state of the controlled features."""
        return self.model_copy(update={"control": control})


class _State(Section):
    """The file beside the tensors; it is written last, so a folder without it is incomplete."""

    key: str
    progress: Progress


def beside(folder: Path) -> Path:
    """Folder of a run's checkpoints, beside the run's folder, since they are removed after that is sealed."""
    return folder.with_name(f".{folder.name}.resume")


class Checkpoints:
    """The checkpoints of one run: the newest one, to resume from, and the best one.

    Parameters
    ----------
    folder : Path
    key : str
        Digest of data, base model and configuration; a run with another key cannot resume from this folder.
    world : World
    """

    def __init__(self, folder: Path, key: str, world: World) -> None:
        self.folder, self.key, self.world = folder, key, world

    def save(self, progress: Progress, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Write the state after a step, then remove the previous state.

        Raises
        ------
        TrainingError
            If it cannot be written, such as on a full disk.
        """
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
        """Restore the newest complete state.

        Returns
        -------
        Progress
            With 0 steps if there is no complete state.

        Raises
        ------
        TrainingError
            If the state is damaged, or belongs to a run on other data or with another configuration.
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
        """Remove all checkpoints, once the run has its manifest."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, folder: Path, progress: Progress, tensors: dict[str, Tensor]) -> None:
        if self.world.rank == 0 and folder.exists():
            shutil.rmtree(folder)  # left unfinished by a run that was killed
        self.world.barrier()
        try:
            with _quiet():
                writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
                save(tensors, storage_writer=writer, no_dist=self.world.size == 1)
        except CheckpointException as error:  # it is no Exception, so that nothing else would say it in a sentence
            raise TrainingError(f"{folder}: the checkpoint cannot be written: {_reasons(error)}") from None
        self.world.barrier()
        if self.world.rank == 0:
            state = _State(key=self.key, progress=progress)
            replace_text(folder / _STATE_NAME, state.model_dump_json(indent=2) + "\n")

    def _read_state(self, folder: Path) -> Progress:
        try:
            state = _State.model_validate_json((folder / _STATE_NAME).read_bytes())
        except ValidationError as error:
            raise _not_resumable(folder, error) from None
        if state.key != self.key:
            raise TrainingError(
                f"{folder}: belongs to a run on other data or with another configuration; remove it to start again"
            )
        return state.progress

    def _read(self, folder: Path, tensors: dict[str, Tensor]) -> None:
        try:
            with _quiet():
                reader = HuggingFaceStorageReader(str(folder))
                load(tensors, storage_reader=reader, no_dist=self.world.size == 1)
        except CheckpointException as error:
            raise _not_resumable(folder, _reasons(error)) from None
        except (SafetensorError, OSError, RuntimeError, KeyError, ValueError) as error:
            raise _not_resumable(folder, repr(error)) from None


def _reasons(error: CheckpointException) -> str:
    return "; ".join(str(reason) for reason, _ in error.failures.values())


def _not_resumable(folder: Path, reason: object) -> TrainingError:
    return TrainingError(f"{folder}: the checkpoint cannot be read: {reason}; remove it to start again")


def _best_name(progress: Progress) -> str:
    return f"best-{progress.best_step:08d}"


def _tensors(model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> dict[str, Tensor]:
    """Name to tensor of everything that training changes; the tensors themselves, so that reading fills them."""
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    tensors = {f"model.{name}": parameter.detach() for name, parameter in named.items()}
    if optimizer is not None:
        for name, parameter in named.items():
            for field in ("exp_avg", "exp_avg_sq"):
                # A parameter that the loss does not depend on (BERT's pooler) has no moments.
                moment = optimizer.state[parameter].get(field) if parameter in optimizer.state else None
                tensors[f"optimizer.{name}.{field}"] = torch.zeros_like(parameter) if moment is None else moment
    return tensors


def _fill(optimizer: torch.optim.Optimizer, step: int) -> None:
    """Give a new AdamW the tensors of the state after some steps, for their values to be read into."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            optimizer.state[parameter] = {
                "step": torch.tensor(float(step), device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the warning that there is only one process."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"torch\.distributed")
        yield
