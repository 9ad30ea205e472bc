"""The typed configuration of a pipeline.

Every section is frozen and refuses unknown keys, so that a misspelt key is an error. A recipe in ``configs/`` holds
only the values that differ from the defaults here.
"""

from __future__ import annotations

import re
from typing import Literal, Self, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from rm.audit.config import AuditConfig
from rm.data.config import IngestConfig, SampleConfig, SnapshotConfig
from rm.gate.policy import GatePolicy
from rm.labels.config import LabelsConfig
from rm.model.config import ComputeConfig, ModelConfig
from rm.section import Section
from rm.tokens.config import TokenizeConfig
from rm.train.config import TrainConfig


class RegistryConfig(Section):
    """Where a model that has passed the gate is registered."""

    name: str = Field("reward-model", min_length=1)
    """Name of the registered model in MLflow."""
    experiment: str = Field("rmflow", min_length=1)
    """MLflow experiment of the runs; slashes divide it into folders."""
    champion: Literal["passed", "passed_with_warnings"] = "passed"
    """With which verdict a model may become champion by itself; others are challenger until a person promotes them."""

    @field_validator("name")
    @classmethod
    def _names_a_model(cls, name: str) -> str:
        """MLflow refuses a slash and a colon, and cannot search for a quote: both only after the training."""
        if not re.fullmatch(r"\w[\w .-]{0,199}", name) or name != name.strip():
            raise ValueError("expected letters, digits, spaces and ._- after a first letter or digit, at most 200")
        return name

    @field_validator("experiment")
    @classmethod
    def _names_a_place(cls, name: str) -> str:
        """On this machine its artifacts lie in a folder of that name."""
        parts = name.removeprefix("/").split("/")
        if not name.isprintable() or any(part.strip() in ("", ".", "..") for part in parts) or len(name) > 200:
            raise ValueError("expected printable names between slashes, none of them . or .., at most 200 characters")
        return name


Ending = Literal["registered", "rejected", "inconclusive", "failed", "crashed"]


class NotifyConfig(Section):
    """Who is told how retrainings end."""

    block: str = Field(pattern=r"^[a-z0-9-]+/[a-z0-9-]+$")
    """Kind and name of a notification block of Prefect, which holds the address, such as ``slack-webhook/team``."""
    when: tuple[Ending, ...] = Field(get_args(Ending), min_length=1)
    """The endings that are told; all by default."""


class ScheduleConfig(Section):
    """When `rmflow up` retrains: at a time, and when enough new judgements are in the table. And who is told."""

    cron: str | None = None
    """Such as ``0 3 * * *``: minute, hour, day of the month, month, day of the week."""
    timezone: str = "UTC"
    """Name of a time zone, such as Europe/Berlin."""
    min_new_judgements: int = Field(100, ge=1)
    """New judgements since the last retraining that start the next one."""
    quiet_s: float = Field(60.0, ge=0)
    """Seconds without a new judgement before it starts, so that files that come together are trained on together."""
    remedy: bool = False
    """Whether a retraining whose model the gate fails searches for a remedy."""
    max_restarts: int = Field(2, ge=0)
    """Times in a row that a crashed retraining is started again."""
    notify: tuple[NotifyConfig, ...] = ()
    """One entry for each block."""

    @field_validator("timezone")
    @classmethod
    def _is_a_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("expected the name of a time zone, such as Europe/Berlin") from None
        return name

    @field_validator("notify")
    @classmethod
    def _each_block_once(cls, entries: tuple[NotifyConfig, ...]) -> tuple[NotifyConfig, ...]:
        blocks = [entry.block for entry in entries]
        if len(set(blocks)) != len(blocks):
            raise ValueError(f"expected one entry for each block, got {blocks}")
        return entries


class RemedyConfig(Section):
    """How much the search for a remedy may spend after the gate has failed a model (`rmflow run --remedy`)."""

    max_runs: int = Field(4, ge=1)
    """Challengers that are trained, at most."""
    max_minutes: float = Field(240.0, gt=0)
    """Minutes of all challengers together, also of those that a search has trained before it is repeated. One more is
    taken to need as long as the longest before it."""


class RetentionConfig(Section):
    """What `rmflow clean` leaves."""

    days: float = Field(30.0, ge=0)
    """Days that what nothing has used or changed stays: stages of no registered version, old versions of tables."""


class PipelineConfig(Section):
    """A whole pipeline, from annotations to a registered model."""

    sample: SampleConfig | None = None
    """If set, `rm.data.sample` makes up the annotations, in a separate table; ingest.sources must be empty then."""
    ingest: IngestConfig = IngestConfig()
    snapshot: SnapshotConfig = SnapshotConfig()
    labels: LabelsConfig = LabelsConfig()
    model: ModelConfig
    tokenize: TokenizeConfig = TokenizeConfig()
    train: TrainConfig = TrainConfig()
    compute: ComputeConfig = ComputeConfig()
    audit: AuditConfig = AuditConfig()
    gate: GatePolicy = GatePolicy()
    remedy: RemedyConfig = RemedyConfig()
    registry: RegistryConfig = RegistryConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    retention: RetentionConfig = RetentionConfig()

    @model_validator(mode="after")
    def _sample_or_sources(self) -> Self:
        if self.sample is not None and self.ingest.sources:
            raise ValueError("sample and ingest.sources are both set; made-up and real annotations must not be mixed")
        return self

    @model_validator(mode="after")
    def _validation_has_prompts(self) -> Self:
        if self.train.validation is not None and not self.snapshot.validation_share:
            raise ValueError(
                "train.validation is set, but snapshot.validation_share is 0: there is nothing to measure on"
            )
        return self
