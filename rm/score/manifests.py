"""Manifests of scores, and the reference to the champion."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from rm.errors import ManifestError
from rm.files import sha256_json
from rm.manifests import MANIFEST_NAME, Manifest, digests


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

    def check(self) -> None:
        """Check that the folder holds the files of the digest, and no others.

        Raises
        ------
        ManifestError
            If it does not.
        """
        found = sha256_json(digests(self.path, beside={MANIFEST_NAME}))
        if found != self.digest:
            raise ManifestError(
                f"{self.path}: the files of {self.name} have the digest {found[:12]}, not {self.digest[:12]} as when "
                "it was registered"
            )
