"""The table of the remedies: what to set, against which biases, what it costs, and which probes it trains on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rm.remedies.config import RemediesConfig

Bias = Literal["length", "structure", "surface", "words", "prompt", "evasion"]
"""What a reward may be paid for: ``surface`` is everything that can be seen without understanding a response,
``prompt`` what a response earns without its prompt, ``evasion`` that it says next to nothing."""


Setting = float | tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """One remedy, or several together."""

    name: str
    settings: tuple[tuple[str, Setting], ...]
    """Keys below ``train.remedies``, each with the value to try."""
    against: tuple[Bias, ...]
    """The biases that it is for."""
    tokens: float = 1.0
    """Tokens read in a training, at most, relative to one without remedies."""
    trains_on: tuple[str, ...] = ()
    """Names of the probes (`rm.probes.catalog`) that ask what it teaches: passing them is no evidence any more."""


# Stock responses are responses to other prompts, too, if only short ones.
_STOCK = ("dont_know", "empty", "foreign", "prompt_shuffled")

REMEDIES: tuple[Remedy, ...] = (
    Remedy(
        name="controlled length",
        settings=(("controlled", ("length",)),),
        against=("length",),
    ),
    Remedy(
        name="foreign responses",
        settings=(("foreign_share", 0.5),),
        against=("prompt", "words", "structure", "surface"),
        tokens=1.5,  # half of the prompts have twice the responses
        trains_on=("foreign", "prompt_shuffled"),
    ),
    Remedy(
        name="stock responses",
        settings=(("stock_share", 0.5),),
        against=("evasion", "prompt"),
        tokens=1.3,  # half of the prompts have a response more: half of these are very short, half long
        trains_on=_STOCK,
    ),
    Remedy(
        name="worsened responses",
        settings=(("worsened_share", 0.5),),
        against=("length", "surface"),
        tokens=1.5,  # an encoder reads half of the prompts once more, with a response of 0.5 to 2 times the length
        trains_on=("double", "truncate", "word_scramble"),
    ),
    Remedy(
        name="controlled length, worsened responses",
        settings=(("controlled", ("length",)), ("worsened_share", 0.5)),
        against=("length", "surface"),
        tokens=1.5,
        trains_on=("double", "truncate", "word_scramble"),
    ),
    Remedy(
        name="controlled length, foreign responses",
        settings=(("controlled", ("length",)), ("foreign_share", 0.5)),
        against=("length", "prompt", "words", "structure", "surface"),
        tokens=1.5,
        trains_on=("foreign", "prompt_shuffled"),
    ),
)


def trained_on(config: RemediesConfig) -> tuple[str, ...]:
    """Names of the probes that a training with these settings teaches, in order."""
    used = (each for each in REMEDIES if all(getattr(config, key) for key, _ in each.settings))
    return tuple(sorted({name for each in used for name in each.trains_on}))
