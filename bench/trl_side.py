"""TRL's RewardTrainer as `training.py` runs it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset
from transformers import AutoTokenizer, TrainerCallback
from trl import RewardConfig, RewardTrainer

from rm.train.step import learning_rate

if TYPE_CHECKING:
    from meter import Meter
    from training_sides import Sides

    from rm.train.config import TrainConfig


def train_trl(
    pairs: list[Sides], initial: Path, config: TrainConfig, folder: Path, meter: Meter, *, per_forward: int, tuned: bool
) -> dict[str, float]:
    """Train on pairs of token ids, save the model into the folder, and return what was measured."""
    chosen, rejected = zip(*pairs, strict=True)
    lengths = [max(map(len, sides)) for sides in pairs]
    trainer = Trainer(
        model=str(initial),
        args=reward_config(config, folder, per_forward, tuned),
        # Columns of these names make TRL skip its own tokenization.
        train_dataset=Dataset.from_dict({"chosen_ids": chosen, "rejected_ids": rejected, "length": lengths}),
        processing_class=AutoTokenizer.from_pretrained(initial),
        callbacks=[Clock(meter)],
    )
    trainer.schedule = config
    trainer.train()
    trainer.save_model(str(folder))
    numbers = {"num_steps": trainer.state.global_step, "tokens": trainer.num_tokens}
    return {"first_loss": trainer.first_loss, **numbers, **meter.measured}


def reward_config(config: TrainConfig, folder: Path, per_forward: int, tuned: bool) -> RewardConfig:
    """What must be equal, and for the tuned trainer what makes it fast."""
    cuda = torch.cuda.is_available()
    faster = {
        "gradient_checkpointing": False,
        "train_sampling_strategy": "group_by_length",
        "length_column_name": "length",
        "remove_unused_columns": False,  # otherwise `length` is gone when the sampler wants it, and TRL stops
        "logging_nan_inf_filter": False,  # waits for the GPU after every forward pass
        "dataloader_num_workers": 4 if cuda else 0,  # on a CPU they would take cores from the model
        "dataloader_persistent_workers": cuda,
    }
    return RewardConfig(
        output_dir=str(folder),
        per_device_train_batch_size=per_forward,
        gradient_accumulation_steps=config.pairs_per_step // per_forward,
        num_train_epochs=config.num_epochs,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        max_length=None,  # all pairs were made to fit
        bf16=config.precision == "bfloat16",
        seed=config.seed,
        use_cpu=not cuda,
        dataloader_pin_memory=cuda,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        **(faster if tuned else {}),
    )


class Trainer(RewardTrainer):
    """TRL's trainer with our learning rate at every step and a count of the tokens it lays out."""

    schedule: TrainConfig
    num_tokens = 0
    first_loss = math.nan

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        # Its own linear warmup begins at 0, one step behind ours.
        peak = self.schedule.learning_rate
        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda done: learning_rate(self.schedule, done + 1, num_training_steps) / peak
        )
        return self.lr_scheduler

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        self.num_tokens += inputs["input_ids"].numel()  # 2 B sequences as long as the longest
        loss = super().compute_loss(model, inputs, *args, **kwargs)
        if math.isnan(self.first_loss):
            self.first_loss = loss.item()
        return loss


class Clock(TrainerCallback):
    """Starts the meter before the first batch is loaded, and reads it after every step."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 0:
            self.meter.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.meter.step(last=state.global_step == state.max_steps)
