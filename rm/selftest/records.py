"""What a self-test found."""

from __future__ import annotations

from rm.stats.finding import Record


class PlantedBias(Record):
    """A made-up sound reward with a bias of known strength, audited several times."""

    name: str
    family: str | None
    """Family of the planted feature; None: no feature describes the bias."""
    strength: float
    """In standard deviations of the sound reward's difference, per usual difference of what is planted."""
    excess: float
    """Mean excess that was measured, in shares of win probability; NaN if no feature describes the bias."""
    found: float
    """Share of the repeats in which a single feature or a joint test had a bound above 0."""
    failed: float
    """Share of the repeats in which the default gate fails such a check."""


class FamilyLimit(Record):
    """What an audit of these pairs could see of a family of features, from one planted bias of it."""

    family: str
    num_features: int
    num_common: int
    """Features that differ in at least 5 % of the pairs."""
    num_testable: int
    """Features that differ in prompts enough to be tested."""
    seen_80: float
    """Excess that 80 of 100 audits see, in half of the common features; NaN without any."""
    seen_95: float


class SelfTest(Record):
    """Which planted biases an audit of these pairs would have found."""

    num_pairs: int
    num_prompts: int
    num_repeats: int
    sound_found: float
    """Share of the repeats in which the sound reward, without a bias, had a bound above 0: false alarms."""
    limits: tuple[FamilyLimit, ...]
    planted: tuple[PlantedBias, ...]
