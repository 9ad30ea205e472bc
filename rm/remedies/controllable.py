"""The names by which a training controls for features."""

from __future__ import annotations

import difflib

from rm.features import words
from rm.features.battery import BATTERY

LENGTH, WORD = "length", "word:"
HEAD_IS_KEPT = (
    "train.remedies.controlled: expected model.head: new, since the head of this base model may pay already for what "
    "is controlled, and keeps doing so"
)


def problem(name: str) -> str | None:
    """Why nothing can be controlled by this name; None if it can."""
    word = name.removeprefix(WORD)
    if name.startswith(WORD):
        return None if words.split(word) == [word] else f"{name!r}: expected {WORD} and one word in lower case"
    names = [LENGTH, *(feature.name for feature in BATTERY if feature.among is None)]
    if name in names:
        return None
    if any(feature.name == name for feature in BATTERY):
        return f"{name!r} compares a response with all others; expected what a response has by itself"
    near = " or ".join(difflib.get_close_matches(name, names, n=2)) or ", ".join(names)
    return f"{name!r}: expected {LENGTH}, {WORD}WORD or a feature of the audit's battery: {near}"
