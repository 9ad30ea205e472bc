"""What scoring hands on, and the model in use."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from rm.manifests import Manifest


class ScoresManifest(Manifest):
    """Rewards of a checkpoint; rows are held-out responses."""

    KIND: ClassVar[str] = "scores"
    SCORES_NAME: ClassVar[str] = "scores.parquet"

    checkpoint_digest: str
    duration_s: float


class ChampionManifest(ScoresManifest):
    """Rewards of the model in use for the same held-out responses, by its own tokenizer."""

    KIND: ClassVar[str] = "champion_scores"

    name: str
    """As people call the model."""


class ChampionRef(BaseModel):
    """The model that is in use."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """As people call it, such as ``reward-model version 3``."""
    path: Path
    """Folder of its checkpoint."""
    digest: str
    """Its checkpoint's digest."""
