import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rm.audit import style_features

PLAIN = "the answer is no"


def counts(text):
    """Features by name, counts undone from their logarithms."""
    found = dict(zip(style_features.FEATURE_NAMES, style_features.features(text), strict=True))
    characters = (found.pop("characters"), found.pop("log characters"))
    return {name: round(float(np.expm1(value)), 6) for name, value in found.items()}, characters


def test_plain_text_has_its_length_and_nothing_else():
    found, characters = counts(PLAIN)
    assert set(found.values()) == {0}
    assert characters == (16, pytest.approx(np.log(17)))
    assert style_features.features("") == (0.0,) * len(style_features.FEATURE_NAMES)


@pytest.mark.parametrize(
    ("text", "name", "count"),
    [
        ("- one\n* two\n• three\n1. four\n 2) five", "list items", 5),
        ("3-4 - no list, 1.5 neither", "list items", 0),
        ("**one** and **two words**, 2 ** 3", "bold", 2),
        ("# One\n### Two\n#hashtag\nnot # this", "headers", 2),
        ("`one` and `two`", "code", 2),
        ("```\nx = 1\n```", "code", 0),
        ("a\n```python\nx = `1`\n```\nb\n  ```\ny\n  ```", "code blocks", 2),
        ("```\nnever closed", "code blocks", 1),
        ("inline ```x``` is none", "code blocks", 0),
        ("😀 ☀️ 👍🏽 ⭐", "emoji", 4),
        ("👩‍👩‍👧 🇩🇪🇫🇷", "emoji", 3),
        ("plain: 1 + 2 → §, №, 日本, ©", "emoji", 0),
        ("http://a and https://b and [c](d)", "links", 3),
        ("Yes!! No!", "exclamation marks", 3),
        ("Why? Who?", "question marks", 2),
        ("a\n\nb\n", "line breaks", 3),
        ("  Of course, it is.", "affirmative opener", 1),
        ("SURE thing", "affirmative opener", 1),
        ("Surely not. Sure.", "affirmative opener", 0),
        ("Maybe it might, I think, possibly.", "hedges", 4),
        ("mighty", "hedges", 0),
        ("I'm sorry, but as an AI I cannot.", "refusal", 3),
        ("I\u2019m sorry, I can\u2019t and won\u2019t.", "refusal", 2),
    ],
)
def test_a_feature_counts_what_its_name_says(text, name, count):
    assert counts(text)[0][name] == count


FRAGMENTS = "- |* |• |1. |23) |**a b**|** **|# |## t|`c`|```|\n|  |https://x|](|!|?|Sure|yes|maybe|I THINK|not sure|"
FRAGMENTS += "i'm sorry|As an AI|can't|i cannot|word|é|\u2019|😀|.|\t|probablyx|:"


@given(st.lists(st.sampled_from(FRAGMENTS.split("|")), max_size=12).map("".join))
def test_the_short_way_for_ascii_is_no_other_way(text):
    patterns = [len(pattern.findall(text)) for pattern in style_features._PATTERNS.values()]
    np.testing.assert_allclose(np.expm1(style_features.features(text)[2:]), patterns, rtol=1e-12)


def test_differences_are_of_the_chosen_minus_the_rejected_response():
    chosen, rejected = ["**a**!", "b"], ["a", "b\n- c"]
    found = style_features.differences(chosen, rejected)
    assert found.shape == (2, len(style_features.FEATURE_NAMES))
    assert found[0, 0] == 5
    np.testing.assert_array_equal(style_features.differences(rejected, chosen), -found)
    assert style_features.differences([], []).shape == (0, len(style_features.FEATURE_NAMES))


@given(hnp.arrays(np.float64, (7, 3), elements=st.floats(-1e3, 1e3).map(lambda value: round(value, 3))))
def test_standardised_differences_have_unit_size_and_keep_their_signs_and_zeros(rows):
    found = style_features.standardised(rows)
    np.testing.assert_array_equal(np.sign(found), np.sign(rows))
    sizes = (found**2).mean(axis=0)
    np.testing.assert_allclose(sizes, rows.any(axis=0).astype(float), atol=1e-12)
    np.testing.assert_allclose(style_features.standardised(-rows * [1, 10, 100]), -found, rtol=1e-9)


def test_no_differences_are_standardised_to_none():
    assert style_features.standardised(np.empty((0, 3))).shape == (0, 3)


@given(st.lists(st.sampled_from(["\n", " ", "\t", "\r", "\f", "\x1c", "\x85", "\u2028", "-", "*", "1", ".", ")", "a"])))
def test_list_items_are_those_with_any_blanks_and_empty_lines_before_them(parts):
    text = "".join(parts)
    found = len(re.findall(r"^\s*(?:[-*•]|\d+[.)])\s", text, re.MULTILINE))
    assert counts(text)[0]["list items"] == found
