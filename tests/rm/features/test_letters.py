"""Runs of letters, against counting them one by one."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rm.features import letters

SHOWN = {" ": "_", "\t": "_", "\r": "_", "\0": "_", "\n": "|", ".": ".", "!": ".", "?": "."}


def character(byte: int) -> str:
    if byte >= 128:
        return "*"
    one = chr(byte).lower()
    if one.isalpha():
        return one
    return "0" if one.isdigit() else SHOWN.get(one, ",")


def slowly(text: str) -> Counter[str]:
    shown = "".join(map(character, text.encode("utf-8", "replace")))
    return Counter(shown[start : start + size] for size in (1, 2, 3) for start in range(len(shown) - size + 1))


@given(st.lists(st.text(max_size=30), max_size=5))
def test_every_run_of_each_text_is_counted(texts):
    counts = letters.counts(texts)
    assert counts.shape == (len(texts), letters.NUM_RUNS)
    for row, text in zip(counts.toarray() if texts else [], texts, strict=True):
        found: Counter[str] = Counter()
        for run in np.flatnonzero(row):
            found[letters.name(run)] += int(row[run])
        assert found == slowly(text)


def test_case_digits_and_marks_are_kinds():
    one, other = letters.counts(["Ab 1!", "aB\t7?"]).toarray()
    assert (one == other).all()
    assert one.sum() == 5 + 4 + 3


def test_every_run_of_ascii_has_a_name_of_its_own():
    names = [name for run in range(letters.NUM_RUNS) if "*" not in (name := letters.name(run))]
    assert len(set(names)) == len(names) == 31 + 31**2 + 31**3


def test_characters_of_other_scripts_are_told_apart():
    texts = [*"\u0436\u0448\u00e9\u00f1\u4f60\u597d\u4eec\u0e01\u0e02"]
    rows = letters.counts(texts).toarray()
    assert len({tuple(np.flatnonzero(row)) for row in rows}) == len(texts)
