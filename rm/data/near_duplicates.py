"""Prompts that are nearly the same text: their responses and labels are not independent."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from rm.data.preferences import Message

MIN_SIMILARITY = 0.8
"""Jaccard similarity of their shingles from which on two prompts are near-duplicates."""
MAX_SHARED = 20
"""A shingle that more different prompts have belongs to a template."""
_SHINGLE = 3
_MIN_WORDS = 5
_MARKS = ".,;:!?\"'()[]*_`\u2018\u2019\u201c\u201d\u2026"
_ROWS_AT_ONCE = 4096

_SHARED = ("system", "tools", "result_of")
"""Roles of what many prompts share, or what holds a random id."""

Ints = NDArray[np.int64]


def clusters(prompts: Sequence[Sequence[Message]]) -> Ints:
    """Number of each prompt's cluster; near-duplicates have one cluster.

    Parameters
    ----------
    prompts : sequence of C sequences of Message

    Returns
    -------
    array of shape (C,)
        Numbered from 0 in order of each cluster's first prompt.

    Notes
    -----
    Compared are the contents of all messages but the system's and the tools, which many prompts share. The user's last
    message alone would merge all conversations that end with "Go on". Case and white space never count. Texts of fewer
    than 5 words must then be equal, signs too: "C" is not "C++". In longer texts marks at the ends of words do not
    count, and texts are compared by their shingles: all sequences of three words, the first and the last words in as
    many as the others.

    Two prompts are near-duplicates if they have in common at least 0.8 of the shingles that either has, and also 0.8 of
    those that at most 20 different prompts have: what more prompts have is a template. A different word changes three
    shingles, so it makes another prompt in a text of fewer than 25 words ("Write a poem about cats" and "about dogs"),
    and in a template of any length. What is linked through a third prompt is in one cluster.

    Every pair that has one of those shingles in common is compared, so nothing is left to chance as with MinHash; since
    no more than 20 prompts have such a shingle, the time grows with the number of words. Texts without spaces between
    words are near-duplicates only if they are equal or have many phrases between spaces.

    References
    ----------
    Broder (1997), On the resemblance and containment of documents. doi:10.1109/SEQUEN.1997.666900
    """
    if not prompts:
        return np.zeros(0, dtype=np.int64)
    keys = [_key(" ".join(one.content for one in prompt if one.role not in _SHARED).casefold()) for prompt in prompts]
    number_of = _numbers(keys)
    long = [key for key in number_of if isinstance(key, tuple)]
    place = np.array([number_of[key] for key in long], dtype=np.int64)
    one, other = (place[side] for side in _near(long))
    links = coo_array((np.ones(len(one)), (one, other)), shape=(len(number_of),) * 2)
    component = connected_components(links, directed=False)[1].tolist()
    found = [component[number_of[key]] for key in keys]
    renumbered = _numbers(found)
    return np.array([renumbered[label] for label in found], dtype=np.int64)


def _numbers(values: Iterable[Hashable]) -> dict[Hashable, int]:
    """Different values with numbers in the order in which they first come."""
    return {value: number for number, value in enumerate(dict.fromkeys(values))}


def _key(text: str) -> str | tuple[str, ...]:
    """What equal prompts have in common: the words, or the whole text if it is short."""
    words = text.split()
    if len(words) < _MIN_WORDS:
        return " ".join(words)
    return tuple([word for word in [word.strip(_MARKS) for word in words] if word])


def _near(texts: Sequence[tuple[str, ...]]) -> tuple[Ints, Ints]:
    """The places of both sides of each near-duplicate pair of different texts."""
    if not texts:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    every = _shingles(texts)
    frequency = np.asarray(every.sum(axis=0))
    own = every[:, frequency <= MAX_SHARED]
    shared = every[:, (frequency > 1) & (frequency <= MAX_SHARED)]
    size, own_size = every.sum(axis=1), own.sum(axis=1)
    found = [np.zeros((2, 0), dtype=np.int64)]
    for start in range(0, len(texts), _ROWS_AT_ONCE):
        common = (shared[start : start + _ROWS_AT_ONCE] @ shared.T).tocoo()
        one, other = common.coords[0] + start, common.coords[1]
        near = (one < other) & _are_near(common.data, own_size[one], own_size[other])
        one, other = one[near], other[near]
        common = every[one].multiply(every[other]).sum(axis=1)
        near = _are_near(common, size[one], size[other])
        found.append(np.stack([one[near], other[near]]))
    one, other = np.concatenate(found, axis=1)
    return one, other


def _are_near(common: Any, size: Any, other_size: Any) -> Any:
    return common >= MIN_SIMILARITY * (size + other_size - common)


def _shingles(texts: Sequence[tuple[str, ...]]) -> Any:
    """Which text has which shingle, a sparse matrix of 0 and 1."""
    number_of = _numbers(chain.from_iterable(texts))
    ends = [""] * (_SHINGLE - 1)
    padded = [len(text) + 2 * len(ends) for text in texts]
    flat = chain.from_iterable(chain(ends, text, ends) for text in texts)
    number_of[""] = len(number_of)
    word = np.fromiter(map(number_of.__getitem__, flat), dtype=np.uint64, count=sum(padded))
    text = np.repeat(np.arange(len(texts)), padded)
    shingle = np.zeros(max(len(word) - len(ends), 0), dtype=np.uint64)
    for start in range(_SHINGLE):  # above two million different words this wraps around, and hardly ever coincides
        shingle = shingle * np.uint64(len(number_of)) + word[start : start + len(shingle)]
    inside = text[: len(shingle)] == text[len(ends) :][: len(shingle)]
    different, number = np.unique(shingle[inside], return_inverse=True)
    cell = np.unique(text[: len(shingle)][inside] * len(different) + number)
    row, column = np.divmod(cell, max(len(different), 1))
    return csr_array((np.ones(len(cell), dtype=np.int32), (row, column)), shape=(len(texts), len(different)))
