"""Edits that change a response's length, order or spelling, but not its words.

An edit is a pure function of a text, and of a random number generator if it makes a choice. It gives None if it does
not apply, such as shuffling a text of one sentence. It may also give the text unchanged; who edits treats that as not
applicable, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

_SENTENCE_BREAK = re.compile(r"((?<=[.!?])\s+|\n+)")
_STRUCTURE = re.compile(r"^[^\S\n]*(?:[-*•]\s|\d+[.)]\s|#{1,6}\s|\||```)", re.MULTILINE)
"""Without the empty lines before it, which would cost time by their square."""
_WORD = re.compile(r"\S+")
_LETTER_PAIR = re.compile(r"([A-Za-z])(?!\1)(?=[A-Za-z])")
_MIN_WORDS = 5
_MAX_TRIES = 10


def sentences(text: str) -> list[str]:
    """Sentences and non-empty lines of a text, in order."""
    return [piece for piece in _SENTENCE_BREAK.split(text.strip())[::2] if piece]


def has_structure(text: str) -> bool:
    """Whether a text contains a list, a header, a table or a code block, so that its lines are not only sentences."""
    return bool(_STRUCTURE.search(text))


def ending_repeated(text: str, times: int) -> str | None:
    """The text followed by its last sentence, ``times`` times; None if it has only one sentence."""
    own = sentences(text)
    return " ".join([text.rstrip(), *own[-1:] * times]) if len(own) > 1 else None


def repeated(text: str, times: float) -> str | None:
    """The text repeated ``times`` times; a fraction repeats only the first words."""
    whole, rest = int(times), times % 1
    parts = [text.strip()] * whole + ([first_words(text, rest)] if rest else [])
    return ("\n\n" if "\n" in text.strip() else " ").join(part for part in parts if part)


def first_words(text: str, share: float) -> str:
    """The first words of a text, at most that share of all its words."""
    words = list(_WORD.finditer(text))
    count = int(len(words) * share)
    return text[: words[count - 1].end()] if count else ""


def truncated(text: str, percent: float) -> str | None:
    """The first part of a text, cut off within a sentence; None for fewer than five words."""
    if len(text.split()) < _MIN_WORDS:
        return None
    kept = first_words(text, percent / 100)
    while kept.endswith((".", "!", "?")) and " " in kept:
        kept = kept.rsplit(None, 1)[0]  # a part that ends with a sentence could be a complete, shorter response
    return kept or None


def sentences_shuffled(text: str, draw: Random) -> str | None:
    """The sentences in another order; None for fewer than three, or if the text has structure."""
    return None if has_structure(text) else _pieces_shuffled(_SENTENCE_BREAK.split(text.strip()), 3, draw)


def words_scrambled(text: str, draw: Random) -> str | None:
    """The words in another order, between the same spaces and line breaks; None for fewer than five words."""
    return _pieces_shuffled(re.split(r"(\s+)", text.strip()), _MIN_WORDS, draw)


def _pieces_shuffled(pieces: list[str], at_least: int, draw: Random) -> str | None:
    """Every second piece in another order; the pieces between them stay."""
    moving = pieces[::2]
    if len(moving) < at_least:
        return None
    for _ in range(_MAX_TRIES):  # a few sentences are often shuffled into their old order
        draw.shuffle(moving)
        if moving != pieces[::2]:
            return "".join([*_alternating(moving, pieces[1::2])])
    return None


def _alternating(some: list[str], between: list[str]) -> list[str]:
    return [piece for pair in zip(some, [*between, ""], strict=True) for piece in pair]


def mistyped(text: str, percent: float, draw: Random) -> str | None:
    """Typing errors in ``percent`` of the characters, at least one: letters swapped, doubled or left out."""
    starts = [match.start() for match in _LETTER_PAIR.finditer(text)]
    if not starts:
        return None
    count = min(len(starts), max(1, round(len(text) * percent / 100)))
    parts, end = [], 0
    for start in sorted(draw.sample(starts, count)):
        if start >= end:  # otherwise the previous error has changed this letter already
            one, other = text[start], text[start + 1]
            parts += [text[end:start], draw.choice([other + one, one + one + other, other])]
            end = start + 2
    return "".join([*parts, text[end:]])


def spaces_doubled(text: str) -> str | None:
    """Two spaces in place of every single space between words."""
    return re.sub(r"(?<=\S) (?=\S)", "  ", text)


def whitespace_trailing(text: str) -> str | None:
    """Spaces and line breaks after the text, which are invisible."""
    return text + "  \n\n"


def each_sentence(text: str, change: Callable[[str], str], count: int | None = None) -> str:
    """A text with a change made to its first ``count`` sentences, or to all of them."""
    pieces = _SENTENCE_BREAK.split(text)
    own = [index for index in range(0, len(pieces), 2) if pieces[index].strip()]
    for index in own[:count]:
        pieces[index] = change(pieces[index])
    return "".join(pieces)
