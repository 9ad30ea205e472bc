"""Settings of the remedies."""

from __future__ import annotations

from pydantic import Field, field_validator

from rm.section import Section

FOREIGN_PAIRS, STOCK_PAIRS, WORSENED_PAIRS = 3, 2, 1
"""Pairs that a prompt gets with the responses of another one, with a stock response, and with a worsened one."""


class RemediesConfig(Section):
    """What training does against biases of the annotations; see docs/remedies.md."""

    controlled: tuple[str, ...] = ()
    """What labels ask of these is learnt beside the model and left out of the reward: `length`, `word:WORD`, or a
    feature of the audit's battery by its name, such as `bold`."""
    foreign_share: float = Field(0.0, ge=0, le=1)
    """Share of the prompts that also get both responses of another prompt, whose preferred one is about as long as
    theirs: own ones win, and the two foreign ones tie."""
    worsened_share: float = Field(0.0, ge=0, le=1)
    """Share of the prompts of which one response also comes said twice, cut off or with its words scrambled, and loses
    to itself."""
    stock_share: float = Field(0.0, ge=0, le=1)
    """Share of the prompts that also get a stock response, made of the shortest responses to other prompts: one of
    them, its first words, or many in a row. It loses to both of their own."""

    @field_validator("controlled")
    @classmethod
    def _named_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"expected each name once, got {name!r} {names.count(name)} times")
        return names

    @property
    def pairs_per_prompt(self) -> float:
        """Pairs that a prompt has on average beside those of its labels."""
        shares = (self.foreign_share, self.stock_share, self.worsened_share)
        return sum(
            count * share for count, share in zip((FOREIGN_PAIRS, STOCK_PAIRS, WORSENED_PAIRS), shares, strict=True)
        )
