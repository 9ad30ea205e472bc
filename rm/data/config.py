"""Settings of the annotations: what is read, and how prompts are split."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from rm.data.formats.catalog import FORMATS
from rm.data.formats.fields import FIELDS
from rm.data.sample_biases import BIASES
from rm.locations import Url, is_url
from rm.section import Section

MAX_UNUSABLE_SHARE = 0.05
"""If a larger share of a source's rows is unusable, the source probably has another format than it seems to have."""


class SampleConfig(Section):
    """Made-up annotations whose true quality is known, for use without real ones."""

    num_prompts: int = Field(1800, ge=20)
    """Prompts that are made up."""
    num_annotators: int = Field(7, ge=3)
    """Made-up annotators, who differ in skill."""
    biases: dict[str, float] = Field(default_factory=dict)
    """What annotators prefer whatever the quality: kind (one of `rm.data.sample_biases.BIASES`) to its strength, in
    log-odds of a vote per usual difference, which is the standard deviation of the difference between the two
    responses. A negative strength prefers less of it; ``length: -2`` prefers the shorter response."""
    seed: int = Field(0, ge=0)
    """Another seed makes up other annotations."""

    @field_validator("biases")
    @classmethod
    def _kinds_are_known(cls, biases: dict[str, float]) -> dict[str, float]:
        if unknown := sorted(biases.keys() - BIASES.keys()):
            raise ValueError(f"there is no bias {unknown[0]!r}; known: {', '.join(BIASES)}")
        return biases


class IngestConfig(Section):
    """Which annotations are read into which table."""

    sources: tuple[str, ...] = ()
    """Files (JSON, JSONL, CSV, TSV, Parquet; plain, .gz or .zst) or globs of them, also as ``s3://``, ``gs://`` or
    ``az://``, or data sets of the hub as ``hf:OWNER/NAME[/CONFIG][:SPLIT][@REVISION]``."""
    fields: dict[str, str] = Field(default_factory=dict)
    """Your own columns: name (one of `rm.data.formats.fields.FIELDS`) to the column that holds it, ``a.b`` for a part
    of an object; such as ``{prompt: question, chosen: good_answer, rejected: bad_answer}``."""
    ignore: tuple[str, ...] = ()
    """Columns that are no part of what the annotators compared, although they hold text."""
    format: str | None = None
    """Name of the format of all rows (docs/formats.md), where their columns would let another one read them."""
    table: str = Field("annotations", pattern=r"^[a-z0-9][a-z0-9_-]*$")
    """Name of the annotations table; runs with the same table share its annotations."""
    on_bad_source: Literal["stop", "skip"] = "stop"
    """What a training does if a source cannot be read; the others are stored in any case."""
    max_quarantined_share: float = Field(MAX_UNUSABLE_SHARE, ge=0, le=1)
    """Largest share of a source's rows that may be unusable; more is an error."""

    @field_validator("sources", "ignore", mode="before")
    @classmethod
    def _one_is_a_list_of_one(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("sources")
    @classmethod
    def _urls_can_be_read(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        for name in filter(is_url, sources):
            Url.parse(name)
        return sources

    @field_validator("fields")
    @classmethod
    def _fields_are_known(cls, fields: dict[str, str]) -> dict[str, str]:
        if unknown := sorted(fields.keys() - set(FIELDS)):
            raise ValueError(f"there is no field {unknown[0]!r}; known: {', '.join(FIELDS)}")
        return fields

    @field_validator("format")
    @classmethod
    def _format_is_known(cls, name: str | None) -> str | None:
        if name is not None and name not in (names := [format_.name for format_ in FORMATS]):
            raise ValueError(f"there is no format {name!r}; known: {', '.join(names)}")
        return name


class SnapshotConfig(Section):
    """How prompts are split into training, validation and held-out prompts."""

    heldout_share: float = Field(0.1, gt=0, lt=1)
    """Share of prompts that are held out for the audit. A hash of the prompt decides, so that a prompt keeps its split
    when data is added. If you raise the share, prompts that earlier models were trained or validated on are held out
    too."""
    validation_share: float = Field(0.0, ge=0, lt=1)
    """Share of prompts for early stopping, neither trained on nor audited. They follow the held-out prompts in the
    order of the hash, so that this share does not change which prompts are held out."""
    exclude: Path | None = None
    """A file with a judgement_id a line: these judgements are left out, such as those that were found to teach a bias.
    A path is relative to the current folder."""
    salt: str = ""
    """Another salt holds out other prompts. Never change it for a table that a champion was trained on."""

    @model_validator(mode="after")
    def _some_prompts_are_left_to_train_on(self) -> Self:
        if self.heldout_share + self.validation_share >= 1:
            raise ValueError(
                f"heldout_share {self.heldout_share} and validation_share {self.validation_share} leave nothing to "
                "train on: their sum must be below 1"
            )
        return self
