"""The differences between two texts, word by word."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

Kind = Literal["same", "removed", "added", "cut"]

_PIECE = re.compile(r"\w+|\s+|[^\w\s]")
_MOST_COMPARISONS = 4_000_000
"""Comparisons of a word of one text with a word of the other; with more, the texts are shown as entirely different."""
_SIZES = {True: (600, 240), False: (3000, 1400)}
"""By whether both texts have a stretch: most characters shown whole; characters kept at each end of a longer one."""


class Change(NamedTuple):
    """A stretch of text."""

    kind: Kind
    """In both texts, only in the first, or only in the second; ``cut`` is a note in place of omitted text."""
    text: str


def changes(original: str, edited: str) -> list[Change]:
    """The two texts merged into one list.

    Parameters
    ----------
    original, edited : str

    Returns
    -------
    list of Change
        The "same" and "removed" stretches together are exactly the original, the "same" and "added" ones exactly the
        edited text. Not always the shortest list: that would take too long for long texts.
    """
    one, other = _PIECE.findall(original), _PIECE.findall(edited)
    start = _num_shared(one, other)
    end = _num_shared(one[start:][::-1], other[start:][::-1])
    woven = [Change("same", "".join(one[:start]))]
    woven += _between(one[start : len(one) - end], other[start : len(other) - end])
    woven.append(Change("same", "".join(one[len(one) - end :])))
    return [change for change in woven if change.text]


def _num_shared(one: list[str], other: list[str]) -> int:
    """Number of equal pieces at the start."""
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
    """The first text and the second, each with marks on what the other does not have."""
    woven = changes(original, edited)
    return (
        [change for change in woven if change.kind != "added"],
        [change for change in woven if change.kind != "removed"],
    )


def shortened(woven: list[Change]) -> list[Change]:
    """The changes, with long stretches cut to their ends and a note of how much is left out."""
    return [part for change in woven for part in _shortened(change, *_SIZES[change.kind == "same"])]


def excerpt(text: str) -> list[Change]:
    """One text, cut if it is very long."""
    return _shortened(Change("same", text), *_SIZES[False])


def _shortened(change: Change, longest: int, kept: int) -> list[Change]:
    if len(change.text) <= longest:
        return [change]
    note = f"[{len(change.text) - 2 * kept:,} characters left out]"
    return [Change(change.kind, change.text[:kept]), Change("cut", note), Change(change.kind, change.text[-kept:])]
