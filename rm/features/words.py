"""Words of texts in any script."""

from __future__ import annotations

import re
import sys
import unicodedata
from array import array
from collections.abc import Iterable
from functools import cache

import numpy as np

from rm.stats.clustered import Ints

# Scripts that put no space between words: Thai, Lao, Burmese, Khmer, kana, Han.
_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff"
_UNSPACED += r"\U00020000-\U0003ffff"
_ASCII_WORD = re.compile("[a-z0-9]+(?:'[a-z0-9]+)*")
_JOINERS = "\u200c\u200d"


def split(text: str) -> list[str]:
    """Words of a text in order, in lower case.

    A word is letters and digits with their marks, also around an apostrophe, straight or curly. In scripts without
    spaces each character is a word.
    """
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())  # the same result, six times as fast
    return _word_pattern().findall(unicodedata.normalize("NFC", text).replace("\u2019", "'").lower())


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
    found, sizes = array("q"), []
    for text in texts:
        several = split(text)
        found.extend(map(numbers.__getitem__, several))
        sizes.append(len(several))
    return np.array(found, dtype=np.int64), np.repeat(np.arange(len(sizes), dtype=np.int64), sizes)
