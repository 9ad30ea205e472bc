"""What stands in one text and not in another, word by word."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

Kind = Literal["same", "removed", "added", "cut"]

_PIECE = re.compile(r"\w+|\s+|[^\w\s]")
_MOST_COMPARISONS = 4_000_000
"""Of words of one text with words of the other; beyond it the texts are called different from end to end."""
_SIZES = {True: (600, 240), False: (3000, 1400)}
"""By whether it is in both texts: the longest stretch shown whole, in characters, and what is kept of either end."""


class Change(NamedTuple):
    """A stretch of text."""

    kind: Kind
    """Where it stands: in both texts, in the first, in the second; ``cut`` is a note in place of a longer stretch."""
    text: str


def changes(original: str, edited: str) -> list[Change]:
    """The two texts woven into one.

    Parameters
    ----------
    original, edited : str

    Returns
    -------
    list of Change
        What is "same" or "removed" makes up the original, what is "same" or "added" the edited text, to the character.
        Not always the shortest list: that would take too long for long texts.
    """
    one, other = _PIECE.findall(original), _PIECE.findall(edited)
    start = _num_shared(one, other)
    end = _num_shared(one[start:][::-1], other[start:][::-1])
    woven = [Change("same", "".join(one[:start]))]
    woven += _between(one[start : len(one) - end], other[start : len(other) - end])
    woven.append(Change("same", "".join(one[len(one) - end :])))
    return [change for change in woven if change.text]


def _num_shared(one: list[str], other: list[str]) -> int:
    """Pieces from the start on that are the same."""
    differs = (index for index, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differs, min(len(one), len(other)))


def _between(one: list[str], other: list[str]) -> Iterator[Change]:
    if len(one) * len(other) > _MOST_COMPARISONS:
        yield from (Change("removed", "".join(one)), Change("added", "".join(other)))
        return
    for kind, start, end, other_start, other_end in SequenceMatcher(None, one, other).get_opcodes():
        if kind == "equal":
            yield Change("same", "".join(one[start:end]))
        else:
            yield Change("removed", "".join(one[start:end]))
            yield Change("added", "".join(other[other_start:other_end]))


def sides(original: str, edited: str) -> tuple[list[Change], list[Change]]:
    """The first text alone and the second alone, each with what only it has marked."""
    woven = changes(original, edited)
    return (
        [change for change in woven if change.kind != "added"],
        [change for change in woven if change.kind != "removed"],
    )


def shortened(woven: list[Change]) -> list[Change]:
    """The same with long stretches cut down to their ends, and a note of how much is left out."""
    return [part for change in woven for part in _shortened(change, *_SIZES[change.kind == "same"])]


def excerpt(text: str) -> list[Change]:
    """One text, cut down if it is very long."""
    return _shortened(Change("same", text), *_SIZES[False])


def _shortened(change: Change, longest: int, kept: int) -> list[Change]:
    if len(change.text) <= longest:
        return [change]
    note = f"[{len(change.text) - 2 * kept:,} characters left out]"
    return [Change(change.kind, change.text[:kept]), Change("cut", note), Change(change.kind, change.text[-kept:])]
