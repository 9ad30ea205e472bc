import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm.report import changes
from rm.report.changes import Change

TEXTS = st.text(st.sampled_from("ab \n.\u202e<\ud800"), max_size=40)


def original(woven):
    return "".join(change.text for change in woven if change.kind != "added")


def edited(woven):
    return "".join(change.text for change in woven if change.kind != "removed")


@given(TEXTS, TEXTS)
def test_without_the_marks_both_texts_are_as_they_were(one, other):
    woven = changes.changes(one, other)
    assert (original(woven), edited(woven)) == (one, other)
    left, right = changes.sides(one, other)
    assert ("".join(part.text for part in left), "".join(part.text for part in right)) == (one, other)


@given(TEXTS)
def test_equal_texts_have_no_marks(text):
    assert {change.kind for change in changes.changes(text, text)} <= {"same"}


@pytest.mark.parametrize(
    ("one", "other", "woven"),
    [
        ("It is so.", "It is not so.", [("same", "It is "), ("added", "not "), ("same", "so.")]),
        ("one two three", "one three", [("same", "one "), ("removed", "two "), ("same", "three")]),
        ("cat", "dog", [("removed", "cat"), ("added", "dog")]),
        ("", "new", [("added", "new")]),
    ],
)
def test_whole_words_are_marked(one, other, woven):
    assert changes.changes(one, other) == [Change(*change) for change in woven]


def test_texts_too_long_to_compare_are_different_from_end_to_end():
    one, other = "a b " * 1500, "c d " * 1500
    assert changes.changes(one, other) == [
        Change("removed", one[:-1]),
        Change("added", other[:-1]),
        Change("same", " "),
    ]


def test_a_long_stretch_is_cut_to_its_ends_and_says_by_how_much():
    woven = changes.changes("word " * 2000 + "end", "word " * 2000 + "fin")
    first, note, last, *rest = changes.shortened(woven)
    assert first.kind == last.kind == "same"
    assert note == Change("cut", f"[{10_000 - len(first.text) - len(last.text):,} characters left out]")
    assert rest == [Change("removed", "end"), Change("added", "fin")]
    assert changes.shortened([Change("added", "short")]) == [Change("added", "short")]
    assert sum(len(part.text) for part in changes.excerpt("x" * 100_000)) < 4000
