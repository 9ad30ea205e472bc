"""How the report writes numbers, which ones it shows first, and how it shows misleading characters."""

from __future__ import annotations

import math

from rm.stats.finding import Finding

HEADLINES = (
    ("accuracy", "Accuracy on held-out pairs"),
    ("accuracy_style_only", "Accuracy of length and formatting alone"),
    ("accuracy_words_only", "Accuracy of a bag of words"),
    ("gain_without_length", "Gain in accuracy without length"),
    ("accuracy_without_surface", "Accuracy without any surface"),
    ("surface_share", "Share of surface in the reward"),
)
"""Names and titles of the findings that are shown first."""
UNDEFINED = "undefined"
_DIRECTION = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_CONTROL = tuple(code for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n\r")
_NO_CHARACTERS = (*range(0xD800, 0xE000), 0xFFFE, 0xFFFF)
_WRITTEN_OUT = {code: f"[U+{code:04X}]" for code in (*_DIRECTION, *_CONTROL, *_NO_CHARACTERS)}


def visible(text: str) -> str:
    """The text with control characters written as ``[U+202E]``, so that it is shown in the order that a model reads."""
    return text.translate(_WRITTEN_OUT)


def number(value: float) -> str:
    """A number with three decimals and a true minus sign."""
    if math.isnan(value):
        return UNDEFINED
    if math.isinf(value):
        return "infinite" if value > 0 else "\N{MINUS SIGN}infinite"
    return f"{value:z,.3f}".replace("-", "\N{MINUS SIGN}")  # z: what rounds to 0 has no sign


def interval(finding: Finding) -> str:
    """The bounds of its 95 % interval."""
    return f"{number(finding.ci_low)} to {number(finding.ci_high)}"


def count(value: int) -> str:
    """A count with commas between thousands."""
    return f"{value:,}"


def things(number: int, noun: str) -> str:
    """A count with its noun, which has an s unless it is one."""
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def percent(share: float) -> str:
    """A share as a whole percentage."""
    return f"{share:z.0%}".replace("-", "\N{MINUS SIGN}") if math.isfinite(share) else UNDEFINED


def points(share: float) -> str:
    """A share in points of a hundred, with one decimal."""
    return f"{100 * share:z.1f}".replace("-", "\N{MINUS SIGN}") if math.isfinite(share) else UNDEFINED


def plain(name: str) -> str:
    """A name for people: identifiers are written with blanks."""
    return name.replace("_", " ")


def tiny(value: float) -> str:
    """A probability with two significant digits, since it may be too small for three decimals."""
    return UNDEFINED if math.isnan(value) else f"{value:.2g}"
