"""What is read, and how it is split."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from rm.section import Section


class SampleConfig(Section):
    """Annotations to write when there are none: their true quality is known."""

    num_prompts: int = Field(1600, ge=20)
    num_annotators: int = Field(7, ge=3)
    length_bias: float = 0.0
    """Log-odds added per standard deviation of the length difference in favour of the longer answer; 0 plants none."""
    seed: int = Field(0, ge=0)


class IngestConfig(Section):
    """What to read into the annotations table."""

    sources: tuple[str, ...] = ()
    """Files (JSON, JSONL, Parquet; plain, .gz or .zst), globs of them, or hub names as ``hf:owner/name[:split]``."""
    table: str = Field("annotations", pattern=r"^[a-z0-9][a-z0-9_-]*$")
    """Name of the annotations table; runs that share it share its annotations."""
    max_quarantined_share: float = Field(0.05, ge=0, le=1)
    """More unusable rows than this share of those read is an error: the layout is probably not what it seems."""

    @field_validator("sources", mode="before")
    @classmethod
    def _one_source_is_a_list_of_one(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class SnapshotConfig(Section):
    """How the annotations are split."""

    heldout_share: float = Field(0.1, gt=0, lt=1)
    """Share of prompts held out, by a hash of the prompt: a prompt never changes sides when data is added. A larger one
    takes in prompts that earlier models stopped by or were trained on."""
    validation_share: float = Field(0.0, ge=0, lt=1)
    """Share of prompts neither trained on nor audited, for training to stop by. They come after the held-out ones in
    the order of the hash, so that those are the same whatever this is."""
    salt: str = ""
    """Changes which prompts are held out. Never change it for a table that a champion was trained on."""

    @model_validator(mode="after")
    def _some_prompts_are_left_to_train_on(self) -> Self:
        if self.heldout_share + self.validation_share >= 1:
            raise ValueError(
                f"heldout_share {self.heldout_share} and validation_share {self.validation_share} leave nothing to "
                "train on: their sum must be below 1"
            )
        return self
