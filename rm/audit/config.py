"""Settings of the audit."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rm.probes.config import ProbeConfig
from rm.stats.config import BootstrapConfig

Selection = Literal["unknown", "all", "random", "curated", "best_against_random", "model_disagreed"]


class AuditConfig(BootstrapConfig):
    """How the audit measures."""

    bucket_tokens: int = Field(100, ge=1)
    """Width of the length buckets, in response tokens (in characters where tokens are not known)."""
    num_examples: int = Field(8, ge=0)
    """Most confident mistakes shown in the report."""
    selection: Selection = "unknown"
    """How the pairs were chosen: ``all`` that there are, at ``random``, ``curated`` by people, the best response
    against a random one, or because a model disagreed with the label (refused without sampling probabilities)."""
    features: tuple[str, ...] = ()
    """Features of your own, each ``FILE:FUNCTION`` (`rm.features.own`); a path is relative to the current folder."""
    probes: ProbeConfig = ProbeConfig()
    """How responses are edited and scored again."""
