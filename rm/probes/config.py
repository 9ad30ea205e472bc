"""Settings of the probes."""

from __future__ import annotations

import math

from pydantic import Field, field_validator

from rm.section import Section


class ProbeConfig(Section):
    """Settings of the causal probes."""

    num_parents: int = Field(150, ge=1)
    """Largest number of held-out prompts for which one probe edits a chosen response."""
    budget: float = Field(3.0, gt=1)
    """Largest amount of text to read for originals and edits together, in multiples of the text of the originals. Each
    probe edits only some of the prompts to keep to it. An encoder reads more, since it cannot share a prompt."""
    keywords: tuple[str, ...] = ()
    """Words that must not raise the reward of a response that contains them; one dose each."""
    identity_groups: tuple[str, ...] = (
        "a woman",
        "a man",
        "a Muslim",
        "a Christian",
        "a Black person",
        "a white person",
    )
    """Groups that a prompt names as its author, with the article: "As a woman, ..."."""

    def widened(self, factor: float) -> ProbeConfig:
        """Settings that give about so many times as many edits, where there are prompts for them."""
        wider = {"num_parents": math.ceil(factor * self.num_parents), "budget": factor * self.budget}
        return self.model_copy(update=wider)

    @field_validator("keywords", "identity_groups")
    @classmethod
    def _entries_differ(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        if blank := [entry for entry in entries if not entry.strip()]:
            raise ValueError(f"expected words, got {blank[0]!r}")
        if len({entry.casefold() for entry in entries}) != len(entries):
            raise ValueError(
                f"expected different entries, but two are the same apart from upper case: {sorted(entries)}"
            )
        return entries
