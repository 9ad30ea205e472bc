"""The manifest of a trained model."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from rm.manifests import Manifest


class CheckpointManifest(Manifest):
    """A trained reward model in the form that transformers loads; ``num_rows`` is 1."""

    KIND: ClassVar[str] = "checkpoint"

    step: int
    """Optimizer step after which the weights were saved."""
    num_train_pairs: int
    base: str
    """Name of the base model."""
    base_digest: str
    trained_on: tuple[str, ...] = ()
    """Names of the probes whose questions remedies of this training taught."""
    controlled: tuple[str, ...] = ()
    """What this training controlled for, by the names of ``train.remedies.controlled``."""
    remedy_shares: dict[str, float] = Field(default_factory=dict)
    """Shares above 0 of the prompts to which remedies added pairs, by their keys in ``train.remedies``."""
    keeps_head: bool = False
    """Whether this training started from the head of a reward model."""
