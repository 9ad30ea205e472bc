"""Manifests of scores, and the reference to the champion."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from rm.manifests import Manifest


class ScoresManifest(Manifest):
    """Rewards of a checkpoint for the held-out responses; rows are responses."""

    KIND: ClassVar[str] = "scores"
    SCORES_NAME: ClassVar[str] = "scores.parquet"

    checkpoint_digest: str
    duration_s: float


class ChampionManifest(ScoresManifest):
    """Rewards of the champion for the same held-out responses, with the champion's tokenizer."""

    KIND: ClassVar[str] = "champion_scores"

    name: str
    """Name of the model in reports."""


class ChampionRef(BaseModel):
    """The champion: the model that is in use."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """Name in reports, such as ``reward-model version 3``."""
    path: Path
    """Folder of its checkpoint."""
    digest: str
    """Digest of its checkpoint."""
