"""Biases to plant on pairs: one feature of each family, and some that no feature describes."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rm.audit.pair_features import PairFeatures
from rm.audit.records import OverpaidRow
from rm.audit.sizes import common
from rm.features.battery import LOG_LENGTH
from rm.features.words import split
from rm.stats.clustered import Floats
from rm.stats.sufficiency import usual


@dataclass(frozen=True, slots=True)
class Plant:
    """What a biased reward pays for."""

    name: str
    family: str | None
    """None: no feature describes it."""
    differences: Floats
    """(B,), usual differences, chosen minus rejected."""


Term = Callable[[str, str], float]
"""What is paid for a response (second) to a prompt (first)."""


def _hashed(text: str) -> int:
    return int(hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8], 16)


def _some_words(_: str, response: str) -> float:
    """Share of words of a tenth of all words, drawn by hash: no list holds them."""
    words = split(response.lower())
    return sum(_hashed(word) % 10 == 0 for word in words) / max(len(words), 1)


def _length_by_prompt(prompt: str, response: str) -> float:
    """Longer is better for every second prompt, shorter for the others."""
    return math.log1p(len(response)) * (1 if _hashed(prompt) % 2 else -1)


def _middle_length(_: str, response: str) -> float:
    """A response of about eighty words is best."""
    return -abs(math.log1p(len(response.split())) - math.log(80))


def _early_letters(_: str, response: str) -> float:
    """Share of words that begin with a letter of the first half of the alphabet."""
    words = split(response.lower())
    return sum(word < "n" for word in words) / max(len(words), 1)


UNDESCRIBED: tuple[tuple[str, Term], ...] = (
    ("words drawn by hash", _some_words),
    ("length, by prompt", _length_by_prompt),
    ("a middle length", _middle_length),
    ("early letters", _early_letters),
)
"""Biases that the battery has no feature for."""


def plants(
    features: PairFeatures,
    rows: Sequence[OverpaidRow],
    prompts: Sequence[str],
    chosen: Sequence[str],
    rejected: Sequence[str],
) -> list[Plant]:
    """The length, of each other family the common feature that is seen as well as half of them, and `UNDESCRIBED`.

    Parameters
    ----------
    features : PairFeatures
        Of B pairs.
    rows : sequence of OverpaidRow
        What a sound reward's audit found.
    prompts, chosen, rejected : sequences of str
        Texts of the B pairs.
    """
    names = [feature.name for feature in features.features]
    found = []
    for family in dict.fromkeys(feature.family for feature in features.features):
        members = sorted(common(rows, family, len(prompts)), key=lambda row: row.visible)
        name = LOG_LENGTH if family == "length" else members[len(members) // 2].feature if members else None
        if name is not None:
            found.append(Plant(name, family, usual(features.differences[:, names.index(name)])))
    for name, term in UNDESCRIBED:
        differences = [
            term(prompt, one) - term(prompt, other)
            for prompt, one, other in zip(prompts, chosen, rejected, strict=True)
        ]
        found.append(Plant(name, None, usual(np.array(differences, dtype=np.float64))))
    return found
