"""Letters of texts: each letter and mark, and each two and three that follow each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

_LONGEST = 3
_BITS = 6
_BLANK, _LINE, _DIGIT, _END, _MARK = range(26, 31)
_BEYOND = 32
_SHOWN = "abcdefghijklmnopqrstuvwxyz_|0.," + "*" * (1 + _BEYOND)
"""Kinds of bytes, by number: a to z, blank, end of a line, digit, end of a sentence, other mark, beyond ASCII."""
_STARTS = (0, 1 << _BITS, (1 << _BITS) + (1 << 2 * _BITS))
NUM_RUNS = _STARTS[-1] + (1 << _LONGEST * _BITS)
"""Different runs of one to three bytes."""


def _kinds() -> NDArray[np.int64]:
    """The kind of each byte of UTF-8."""
    kinds = np.full(256, _MARK, dtype=np.int64)
    kinds[128:] = _BEYOND + np.arange(128) % _BEYOND  # so that three of them tell most characters apart
    kinds[[*b" \t\r\0"]], kinds[[*b"\n"]], kinds[[*b".!?"]] = _BLANK, _LINE, _END
    kinds[ord("0") : ord("9") + 1] = _DIGIT
    kinds[ord("a") : ord("z") + 1] = kinds[ord("A") : ord("Z") + 1] = np.arange(26)
    return kinds


_KIND_OF = _kinds()


def counts(texts: Sequence[str]) -> Any:
    """How often each run of one to three bytes of UTF-8 comes up: in English those are characters.

    Parameters
    ----------
    texts : sequence of str, T of them

    Returns
    -------
    sparse array (`scipy.sparse.csr_array`) of float64, shape (T, NUM_RUNS)
        Upper and lower case are one, and so are all digits and all marks.
    """
    encoded = [text.encode("utf-8", "replace") for text in texts]
    sizes = np.array([len(each) for each in encoded], dtype=np.int64)
    kinds = _KIND_OF[np.frombuffer(b"".join(encoded), dtype=np.uint8)]
    text = np.repeat(np.arange(len(texts)), sizes)
    keys = []
    for length in range(1, min(_LONGEST, len(kinds)) + 1):
        last = len(kinds) - length + 1
        run = np.zeros(last, dtype=np.int64)
        for start in range(length):
            run = (run << _BITS) + kinds[start : start + last]
        within = text[:last] == text[length - 1 :]
        keys.append((text[:last] * NUM_RUNS + _STARTS[length - 1] + run)[within])
    found, times = np.unique(np.concatenate(keys or [np.empty(0, dtype=np.int64)]), return_counts=True)
    places = found // NUM_RUNS, found % NUM_RUNS
    return scipy.sparse.csr_array((times.astype(np.float64), places), shape=(len(texts), NUM_RUNS))


def name(run: int) -> str:
    """A run as text.

    `_` is a blank, `|` the end of a line, `0` a digit, `.` ends a sentence, `,` is another mark, `*` beyond ASCII.
    """
    length = max(place for place, start in enumerate(_STARTS, start=1) if run >= start)
    code = run - _STARTS[length - 1]
    return "".join(_SHOWN[code >> _BITS * place & (1 << _BITS) - 1] for place in reversed(range(length)))
