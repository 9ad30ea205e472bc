"""What a self-test found."""

from __future__ import annotations

from pydantic import Field

from rm.stats.finding import Record


class CheckRate(Record):
    """How often one check passed or failed a toy reward model, over all repeats."""

    name: str
    kind: str
    """Kind of the finding that the check is about; `labels` are that finding's labels."""
    labels: dict[str, str] = Field(default_factory=dict)
    passed: float
    failed: float
    inconclusive: float
    """Shares of the repeats."""
    num_repeats: int


class PlantedBias(Record):
    """A toy reward model with a planted bias, audited several times."""

    name: str
    strength: float
    """A strength of 1 weighs as much as one more right sentence; 0 for a model without bias."""
    passed: float
    failed: float
    inconclusive: float
    """Shares of the repeats in which the hard checks gave this verdict. Checks on edits and on a champion do not count
    here, since not every audit has them."""
    warned: float
    """Share of the repeats in which at least one of these checks, hard or soft, did not pass."""
    checks: tuple[CheckRate, ...]
    """Every check that could be tried, also those on edits and on a champion."""


class SelfTest(Record):
    """Which planted biases an audit of this size would have found."""

    num_pairs: int
    num_prompts: int
    num_repeats: int
    planted: tuple[PlantedBias, ...]
    smallest_seen: dict[str, float | None]
    """For each kind of bias, the smallest strength from which on the gate fails it in at least 80 % of the repeats;
    None if no tried strength does."""
    not_simulated: tuple[str, ...]
    """Checks on findings that the toys do not have."""
