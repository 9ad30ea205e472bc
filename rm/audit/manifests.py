"""What an audit hands on."""

from __future__ import annotations

from typing import ClassVar

from rm.audit.parts import Part
from rm.manifests import Manifest


class AuditManifest(Manifest):
    """What an audit measured, and the scored pairs that it measured; rows are held-out pairs."""

    KIND: ClassVar[str] = "audit"
    FINDINGS_NAME: ClassVar[str] = "findings.json"
    PAIRS_NAME: ClassVar[str] = "scores.parquet"

    checkpoint_digest: str
    part: Part = "whole"
    """Of the held-out prompts."""
    num_clusters: int
    """Number of clusters of near-duplicate prompts with a pair."""
