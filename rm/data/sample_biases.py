"""The biases that can be planted in made-up annotations: what annotators prefer whatever the quality."""

from __future__ import annotations

import re
from collections.abc import Callable

from rm.data.sample_texts import KEYWORD


def _num_found(pattern: str) -> Callable[[str], float]:
    """The number of places where the pattern is found."""
    compiled = re.compile(pattern, re.MULTILINE)
    return lambda text: float(len(compiled.findall(text)))


BIASES: dict[str, Callable[[str], float]] = {
    "length": lambda text: float(len(text.split())),  # parts separated by white space
    "capitals": _num_found(r"\b[A-Z]{2,}\b"),  # words of capital letters
    "exclamation": _num_found(r"!"),
    "bold": _num_found(r"\*\*[^*]+\*\*"),
    "lists": _num_found(r"^- "),  # items
    "keyword": _num_found(rf"(?i)\b{KEYWORD}\b"),
    "first_person": _num_found(r"(?i)\b(?:I|my|myself)\b"),
    "praise": _num_found(r"(?i)\b(?:fine|excellent|clever|admirable)\b"),
    "hedging": _num_found(r"(?i)\b(?:perhaps|might|possibly|maybe)\b"),
}
"""Kind of bias to what it counts in a response; a negative strength prefers less of it."""
