"""What a self-test found."""

from __future__ import annotations

from pydantic import Field

from rm.stats.finding import Record


class CheckRate(Record):
    """What one check said of a toy reward model, over all repeats."""

    name: str
    kind: str
    """Kind and labels of the finding that it is about."""
    labels: dict[str, str] = Field(default_factory=dict)
    passed: float
    failed: float
    inconclusive: float
    """Shares of the repeats."""
    num_repeats: int


class PlantedBias(Record):
    """A toy reward model with a planted bias, audited again and again."""

    name: str
    strength: float
    """In units in which one more right sentence is worth 1; 0 for a model without bias."""
    passed: float
    failed: float
    inconclusive: float
    """Shares of the repeats in which the verdict, by the hard checks, was this. Checks on edits and on a champion have
    no part in it, since not every audit has these."""
    warned: float
    """Share of the repeats in which one of these checks, hard or soft, did not pass."""
    checks: tuple[CheckRate, ...]
    """Every check that could be tried, those on edits and on a champion too."""


class SelfTest(Record):
    """What an audit of this size would have found, had it been there."""

    num_pairs: int
    num_prompts: int
    num_repeats: int
    planted: tuple[PlantedBias, ...]
    smallest_seen: dict[str, float | None]
    """Smallest strength at which a kind of bias fails the gate in 80 % of the repeats; None if none that was tried
    does."""
    not_simulated: tuple[str, ...]
    """Checks on findings that the toys do not have."""
