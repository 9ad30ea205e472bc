"""Words of texts in any script."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rm.stats.clustered import Ints

# Scripts that put no space between words: Thai, Lao, Burmese, Khmer, kana, Han.
_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff"
_UNSPACED += r"\U00020000-\U0003ffff"
_ASCII_WORD = re.compile("[a-z0-9]+(?:'[a-z0-9]+)*")
_JOINERS = "\u200c\u200d"
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")
_IN_WORDS = np.zeros(256, dtype=bool)
_IN_WORDS[[*b"abcdefghijklmnopqrstuvwxyz0123456789", *range(128, 256)]] = True
"""Bytes of UTF-8 that words have besides apostrophes, once they are split and in lower case."""
_BYTES_AT_ONCE = 4_000_000


def split(text: str) -> list[str]:
    """Words of a text in order, in lower case.

    A word is letters and digits with their marks, also around an apostrophe, straight or curly. In scripts without
    spaces each character is a word.
    """
    plain = _plain(text)
    return _ASCII_WORD.findall(plain.lower().decode()) if plain is not None else _split(text)


def _split(text: str) -> list[str]:
    return _word_pattern().findall(unicodedata.normalize("NFC", text).replace("\u2019", "'").lower())


def _plain(text: str) -> bytes | None:
    """The text in ASCII with the same words, where all its other characters only separate; else None.

    The same words are found six times as fast in ASCII; most of what English texts have beside it are marks.
    """
    if not text.isascii():
        text = text.replace("\u2019", "'")
        if not all(map(_separates, set(_BEYOND_ASCII.findall(text)))):
            return None
    return text.encode("ascii", "replace")


@cache
def _separates(character: str) -> bool:
    """Whether a character ends a word and is no part of one."""
    return _split(f"a{character}a") == ["a", "a"]


@cache
def _word_pattern() -> re.Pattern[str]:
    r"""The words of `split`. ``\w`` alone leaves out marks, which are half of a syllable in many scripts of India."""
    codes = range(sys.maxunicode + 1)
    marks = "".join(re.escape(chr(code)) for code in codes if unicodedata.category(chr(code))[0] == "M") + _JOINERS
    run = rf"(?:[^\W_{_UNSPACED}]+[{marks}]*)+"
    alone = rf"(?=[^\W_])[{_UNSPACED}][{marks}]*"
    return re.compile(f"{run}(?:'{run})*|{alone}")


class Numbers(dict[str, int]):
    """Numbers words by their first appearance."""

    def __missing__(self, word: str) -> int:
        self[word] = number = len(self)
        return number


def read(texts: Iterable[str], numbers: Numbers) -> tuple[Ints, Ints]:
    """The number of each word of the texts, in order, and the text that it is in; new words get new numbers."""
    found, sizes = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for several in _several(texts):
        words, counts = _words(several)
        encoded = words.dictionary_encode()
        known = np.array([numbers[word] for word in encoded.dictionary.to_pylist()], dtype=np.int64)
        found.append(known[np.asarray(encoded.indices)])
        sizes.append(counts)
    counts = np.concatenate(sizes)
    return np.concatenate(found), np.repeat(np.arange(len(counts), dtype=np.int64), counts)


def _several(texts: Iterable[str]) -> Iterator[list[bytes]]:
    """Texts in which words are runs of `_IN_WORDS` and single apostrophes within, some megabytes at a time."""
    several, size = [], 0
    for text in texts:
        plain = _plain(text)
        several.append(" ".join(_split(text)).encode() if plain is None else plain)
        size += len(several[-1])
        if size > _BYTES_AT_ONCE:
            yield several
            several, size = [], 0
    if several:
        yield several


def _words(texts: list[bytes]) -> tuple[pa.StringArray, Ints]:
    """All words of the texts in order, and how many each text has."""
    data = np.frombuffer(b" ".join([*texts, b""]).lower(), dtype=np.uint8)
    inside = _IN_WORDS[data]
    inside[1:-1] |= (data[1:-1] == ord("'")) & inside[:-2] & inside[2:]
    starts, ends = _changes(inside)
    offsets = np.zeros(len(starts) + 1, dtype=np.int32)
    np.cumsum(ends - starts, out=offsets[1:])
    buffers = pa.py_buffer(offsets), pa.py_buffer(data[inside])
    bounds = np.cumsum([0, *(len(text) + 1 for text in texts)])
    return pa.StringArray.from_buffers(len(starts), *buffers), np.diff(np.searchsorted(starts, bounds))


def _changes(inside: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Where runs begin, and where they have ended; the last place is in none."""
    change = np.flatnonzero(inside[1:] != inside[:-1]) + 1
    change = np.concatenate([[0], change]) if inside[:1].any() else change
    return change[::2], change[1::2]
