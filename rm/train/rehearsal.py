"""What a training ends with, done before its first step: adapters merged, the model saved, loaded and compared."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast

from rm.errors import RmflowError, TrainingError
from rm.model import export
from rm.model.padding import pad
from rm.model.reward_model import RewardModel
from rm.model.token_ids import TokenIds

_ADAPTER_STD = 0.02
_SAME = 1e-3
"""Largest difference of outputs, relative to their size, that rounding explains."""


def rehearse(
    model: RewardModel, tokenizer: PreTrainedTokenizerFast, sequences: Sequence[TokenIds], folder: Path
) -> None:
    """Merge, save and load a model that is ready for training, and compare what it gives before and after.

    What would fail after the last step fails here.

    Parameters
    ----------
    model : RewardModel
        With its adapters, if it has any; it is of no use afterwards.
    tokenizer : PreTrainedTokenizerFast
    sequences : sequence of TokenIds
        Some short texts.
    folder : Path
        Of the run: the model is saved on the same disk, and removed.

    Raises
    ------
    TrainingError
        If a part fails, or the loaded model gives other rewards.
    """
    model.eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:  # new adapters change nothing, so that a wrong merge would not be seen
                parameter.normal_(std=_ADAPTER_STD, generator=torch.Generator().manual_seed(0))
    before = _rewards(model, sequences)
    if any("lora_B" in name for name, _ in model.named_parameters()):
        from rm.model import lora

        with _named("merging its adapters"):
            lora.merge(model.backbone)
    with _place(folder) as place:
        with _named("saving it"):
            export.save(model, tokenizer, place)
        with _named("loading what was saved"):
            loaded, _ = export.load(place, torch.device("cpu"))
        assert isinstance(loaded, RewardModel)
        after = _rewards(loaded, sequences)
    if not torch.allclose(after, before, rtol=_SAME, atol=_SAME * float(before.abs().max())):
        raise TrainingError(
            f"before the first step the model was saved as it will be at the end; loaded again it gives the reward "
            f"{float(after[0, 0]):.4f} where it was {float(before[0, 0]):.4f}"
        )


@contextmanager
def _place(folder: Path) -> Iterator[Path]:
    place = folder.with_name(f".{folder.name}.rehearsal")
    shutil.rmtree(place, ignore_errors=True)  # of a process that was killed
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


@torch.inference_mode()
def _rewards(model: RewardModel, sequences: Sequence[TokenIds]) -> torch.Tensor:
    return model.outputs(pad(sequences))[:, : model.config.num_heads].mean(dim=1, keepdim=True)


@contextmanager
def _named(part: str) -> Iterator[None]:
    try:
        yield
    except RmflowError:
        raise
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise TrainingError(
            f"before the first step, {part} failed: {type(error).__name__}: {reason}; it would fail at the end too"
        ) from error
