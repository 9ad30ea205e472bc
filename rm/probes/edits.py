"""Edits of a response that keep to its own words: its length, its order, its spelling.

Every edit is a pure function of a text, and of a random source where it chooses. It gives None where it does not apply,
such as shuffling a text of one sentence; what it gives otherwise may still be the text itself, which
`rm.probes.variants` counts as not applicable too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

_SENTENCE_BREAK = re.compile(r"((?<=[.!?])\s+|\n+)")
_STRUCTURE = re.compile(r"^\s*(?:[-*•]\s|\d+[.)]\s|#{1,6}\s|\||```)", re.MULTILINE)
_WORD = re.compile(r"\S+")
_LETTER_PAIR = re.compile(r"([A-Za-z])(?!\1)(?=[A-Za-z])")
_MIN_WORDS = 5
_MAX_TRIES = 10


def sentences(text: str) -> list[str]:
    """Sentences and non-empty lines of a text, in order."""
    return [piece for piece in _SENTENCE_BREAK.split(text.strip())[::2] if piece]


def has_structure(text: str) -> bool:
    """Whether a text holds a list, a header, a table or a block of code: its lines are more than sentences."""
    return bool(_STRUCTURE.search(text))


def ending_repeated(text: str, times: int) -> str | None:
    """The text, then its last sentence so many times more; None if it is the only one."""
    own = sentences(text)
    return " ".join([text.rstrip(), *own[-1:] * times]) if len(own) > 1 else None


def repeated(text: str, times: float) -> str | None:
    """The text said so many times over, the last time perhaps only its first part."""
    whole, rest = int(times), times % 1
    parts = [text.strip()] * whole + ([first_words(text, rest)] if rest else [])
    return ("\n\n" if "\n" in text.strip() else " ").join(part for part in parts if part)


def first_words(text: str, share: float) -> str:
    """The first words of a text, so many that they are at most that share of all."""
    words = list(_WORD.finditer(text))
    count = int(len(words) * share)
    return text[: words[count - 1].end()] if count else ""


def truncated(text: str, percent: float) -> str | None:
    """The first part of a text, broken off inside a sentence; None below five words."""
    if len(text.split()) < _MIN_WORDS:
        return None
    kept = first_words(text, percent / 100)
    while kept.endswith((".", "!", "?")) and " " in kept:
        kept = kept.rsplit(None, 1)[0]  # one that ends where a sentence does might pass for a shorter response
    return kept or None


def sentences_shuffled(text: str, draw: Random) -> str | None:
    """The sentences in another order; None below three, or where lines have a structure."""
    return None if has_structure(text) else _pieces_shuffled(_SENTENCE_BREAK.split(text.strip()), 3, draw)


def words_scrambled(text: str, draw: Random) -> str | None:
    """The words in another order, spaces and line breaks where they were; None below five words."""
    return _pieces_shuffled(re.split(r"(\s+)", text.strip()), _MIN_WORDS, draw)


def _pieces_shuffled(pieces: list[str], at_least: int, draw: Random) -> str | None:
    """Every second piece in another order; those between them stay."""
    moving = pieces[::2]
    if len(moving) < at_least:
        return None
    for _ in range(_MAX_TRIES):  # few sentences often fall back into their old order
        draw.shuffle(moving)
        if moving != pieces[::2]:
            return "".join([*_alternating(moving, pieces[1::2])])
    return None


def _alternating(some: list[str], between: list[str]) -> list[str]:
    return [piece for pair in zip(some, [*between, ""], strict=True) for piece in pair]


def mistyped(text: str, percent: float, draw: Random) -> str | None:
    """Typing errors in that share of the characters, at least one: letters swapped, doubled or left out."""
    places = [match.start() for match in _LETTER_PAIR.finditer(text)]
    if not places:
        return None
    count = min(len(places), max(1, round(len(text) * percent / 100)))
    parts, end = [], 0
    for place in sorted(draw.sample(places, count)):
        if place >= end:  # else the error before it already took this letter
            one, other = text[place], text[place + 1]
            parts += [text[end:place], draw.choice([other + one, one + one + other, other])]
            end = place + 2
    return "".join([*parts, text[end:]])


def spaces_doubled(text: str) -> str | None:
    """Every single space between words made two."""
    return re.sub(r"(?<=\S) (?=\S)", "  ", text)


def whitespace_trailing(text: str) -> str | None:
    """Spaces and line breaks at the end, which nobody sees."""
    return text + "  \n\n"


def each_sentence(text: str, change: Callable[[str], str], count: int | None = None) -> str:
    """A text with its first sentences changed one by one, or all of them where no count is given."""
    pieces = _SENTENCE_BREAK.split(text)
    own = [place for place in range(0, len(pieces), 2) if pieces[place].strip()]
    for place in own[:count]:
        pieces[place] = change(pieces[place])
    return "".join(pieces)
