"""Settings of the bootstrap."""

from __future__ import annotations

from pydantic import Field

from rm.section import Section


class BootstrapConfig(Section):
    """How often the prompts are resampled, and with which seed."""

    num_resamples: int = Field(1000, ge=100)
    """Bootstrap resamples of the prompts for each interval."""
    seed: int = 0
    """Seed of the resampling."""
