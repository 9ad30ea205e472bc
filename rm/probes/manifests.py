"""The manifest of the probes."""

from __future__ import annotations

from typing import ClassVar

from rm.manifests import Manifest


class ProbesManifest(Manifest):
    """Rewards of a checkpoint for edited responses and for pairs with a planted flaw; rows are edited responses."""

    KIND: ClassVar[str] = "probes"
    EDITS_NAME: ClassVar[str] = "probes.parquet"
    FLAWED_PAIRS_NAME: ClassVar[str] = "flawed_pairs.parquet"
    INVARIANCES_NAME: ClassVar[str] = "invariances.json"

    checkpoint_digest: str
    duration_s: float
