"""Settings of the audit of labels, and what each check holds against its limit."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from pydantic import Field, field_validator, model_validator

from rm.section import Section
from rm.stats.config import BootstrapConfig

Action = Literal["warn", "stop"]

MEASURES: Mapping[str, str] = MappingProxyType(
    {
        "longer_wins": "share of votes for the longer response, or for the shorter one if that is larger",
        "mark": "largest effect of a mark of style beside length, as a share of win probability",
        "style_accuracy": "share of labels that a regression on style guesses",
        "words_accuracy": "share of labels that a regression on words guesses, without any prompt",
        "giveaways": "number of marks and phrases that nearly decide the label",
        "order": "distance from one half of how often the first response of the snapshot wins",
        "swap": "how far a model of flipped labels is from one minus the accuracy",
        "disagreement": "share of two votes on one pair that differ",
        "annotators": "number of annotators who are far from the others",
        "source_contradictions": "share of the pairs in several sources on which these disagree",
        "near_duplicates": "share of held-out prompts that are near-duplicates of training prompts",
        "benchmarks": "largest share of a benchmark's prompts that are trained on",
        "drift": "largest change since the last snapshot, in standard deviations",
    }
)
"""Name of a check to what must not be above its limit. What is estimated must be above it with its whole interval."""


class LabelCheck(Section):
    """A limit, and what happens beyond it."""

    name: str
    """One of `rm.labels.config.MEASURES`."""
    limit: float = Field(ge=0)
    """Largest value that is fine; where the value is an estimate, only a whole interval above the limit is not."""
    action: Action = "warn"
    """Whether the run goes on with a warning, or ends as rejected before anything is tokenized."""

    @field_validator("name")
    @classmethod
    def _is_measured(cls, name: str) -> str:
        if name not in MEASURES:
            raise ValueError(f"there is no check of labels {name!r}; known: {', '.join(MEASURES)}")
        return name


DEFAULT_CHECKS = (
    LabelCheck(name="longer_wins", limit=0.6),
    LabelCheck(name="mark", limit=0.15),
    LabelCheck(name="style_accuracy", limit=0.7),
    LabelCheck(name="words_accuracy", limit=0.8),
    LabelCheck(name="words_accuracy", limit=0.97, action="stop"),
    LabelCheck(name="giveaways", limit=0),
    LabelCheck(name="order", limit=0.1, action="stop"),
    LabelCheck(name="swap", limit=0.02, action="stop"),
    LabelCheck(name="disagreement", limit=0.4),
    LabelCheck(name="annotators", limit=0),
    LabelCheck(name="source_contradictions", limit=0.3),
    LabelCheck(name="near_duplicates", limit=0.05),
    LabelCheck(name="near_duplicates", limit=0.5, action="stop"),
    LabelCheck(name="benchmarks", limit=0.01),
    LabelCheck(name="drift", limit=0.2),
)


class LabelsConfig(BootstrapConfig):
    """How labels are audited before a training, and which findings warn or stop it."""

    benchmarks: dict[str, str] = Field(default_factory=dict)
    """Benchmarks that must not be trained on: name to a file with their prompts, in any format that annotations or
    benchmarks have; such as ``{rewardbench: filtered.parquet}``. A path is relative to the current folder."""
    checks: tuple[LabelCheck, ...] = DEFAULT_CHECKS
    """Limits; a name may have one that warns and one that stops. A list replaces all of the defaults."""

    @model_validator(mode="after")
    def _each_once(self) -> LabelsConfig:
        known = [(check.name, check.action) for check in self.checks]
        if twice := [name for name, action in known if known.count((name, action)) > 1]:
            raise ValueError(f"check {twice[0]!r} is there twice with one action")
        return self
