"""What a trained model hands on."""

from __future__ import annotations

from typing import ClassVar

from rm.manifests import Manifest


class CheckpointManifest(Manifest):
    """A trained reward model as transformers loads it; one row."""

    KIND: ClassVar[str] = "checkpoint"

    step: int
    num_train_pairs: int
    base: str
    """Name of the base model."""
    base_digest: str
