"""Features of a response that can be seen without understanding it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from rm.stats.clustered import Floats

_EMOJI = "[\U0001f000-\U0001faff\u2600-\u27bf\u2b1b\u2b1c\u2b50\u2b55]"
_EMOJI_CHANGES = "[\ufe0f\U0001f3fb-\U0001f3ff]*"
_FLAG = "[\U0001f1e6-\U0001f1ff]{2}"

_PATTERNS = {
    # Blanks of the item's own line: with those of lines before it, time grows with the square of the empty lines.
    "list items": re.compile(r"^[^\S\n]*(?:[-*•]|\d+[.)])\s", re.MULTILINE),
    "bold": re.compile(r"\*\*[^*\n]+\*\*"),
    "headers": re.compile(r"^#{1,6} ", re.MULTILINE),
    "code": re.compile(r"(?<!`)`[^`\n]+`(?!`)"),
    "code blocks": re.compile(r"^[ \t]*```.*?(?:^[ \t]*```|\Z)", re.MULTILINE | re.DOTALL),
    "links": re.compile(r"https?://|\]\("),
    # Several symbols joined by zero-width joiners, or a symbol and its colour, are seen as one emoji.
    "emoji": re.compile(rf"{_FLAG}|{_EMOJI}{_EMOJI_CHANGES}(?:\u200d{_EMOJI}{_EMOJI_CHANGES})*"),
    "exclamation marks": re.compile("!"),
    "question marks": re.compile(r"\?"),
    "line breaks": re.compile(r"\n"),
    "affirmative opener": re.compile(r"\A\s*(?:sure|certainly|of course|absolutely|yes|great)\b", re.IGNORECASE),
    "hedges": re.compile(r"\b(?:maybe|perhaps|might|possibly|i think|not sure|probably)\b", re.IGNORECASE),
    "refusal": re.compile(
        r"\b(?:i['\u2019]m sorry|i am sorry|i can['\u2019]t|i cannot|i won['\u2019]t|as an ai)\b", re.IGNORECASE
    ),
}
_HINTS = {
    "list items": ("",),  # in every text: the pattern itself is as fast
    "bold": ("**",),
    "headers": ("# ",),
    "code": ("`",),
    "code blocks": ("```",),
    "links": ("://", "]("),
    "emoji": (),
    "exclamation marks": ("!",),
    "question marks": ("?",),
    "line breaks": ("\n",),
    "affirmative opener": ("",),
    "hedges": ("maybe", "perhaps", "might", "possibly", "i think", "not sure", "probably"),
    "refusal": ("sorry", "i can't", "i cannot", "i won't", "as an ai"),
}
"""If a pattern is in an ASCII text, one of its hints is in the text's lower case. This check is five times as fast."""

FEATURE_NAMES = ("characters", "log characters", *_PATTERNS)


_SEARCHES = tuple((pattern, _HINTS[name]) for name, pattern in _PATTERNS.items())
_log1p = lru_cache(maxsize=1024)(math.log1p)  # equal numbers are one object


@lru_cache(maxsize=2**20)  # an audit reads a text several times
def features(text: str) -> tuple[float, ...]:
    """Surface features, in the order of `FEATURE_NAMES`: the number of characters, then log(1 + count) of each."""
    plain = text.lower() if text.isascii() else None
    counts = [
        len(pattern.findall(text)) if plain is None or _has_one(hints, plain) else 0 for pattern, hints in _SEARCHES
    ]
    return (float(len(text)), *map(_log1p, (len(text), *counts)))


def _has_one(hints: tuple[str, ...], text: str) -> bool:
    for hint in hints:  # noqa: SIM110 - any() of a generator takes four times as long
        if hint in text:
            return True
    return False


def differences(chosen: Sequence[str], rejected: Sequence[str]) -> Floats:
    """Features of the chosen response minus those of the rejected one, shape (B, F)."""
    if len(chosen) != len(rejected):
        raise ValueError(f"expected as many rejected as chosen responses, got {len(rejected)} and {len(chosen)}")
    if not chosen:
        return np.empty((0, len(FEATURE_NAMES)))
    sides = [np.array([features(text) for text in texts], dtype=np.float64) for texts in (chosen, rejected)]
    found: Floats = sides[0] - sides[1]
    return found


def standardised(differences: Floats) -> Floats:
    """Differences in units of their root mean square, shape (B, F); a column of zeros stays a column of zeros.

    They are not centred, since zero means that both responses are alike: swapping the sides of a pair flips the sign of
    its row and changes nothing else.
    """
    scale = np.sqrt((differences**2).mean(axis=0)) if len(differences) else np.ones(differences.shape[1])
    units: Floats = differences / np.where(scale > 0, scale, 1.0)
    return units
