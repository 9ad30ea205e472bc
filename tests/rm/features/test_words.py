import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm.features import words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't STOP--now, 3.5!", ["don't", "stop", "now", "3", "5"]),
        ("snake_case 'quoted' x'", ["snake", "case", "quoted", "x"]),
        ("l\u2019été à Paris", ["l'été", "à", "paris"]),
        (unicodedata.normalize("NFD", "café"), ["café"]),
        ("हिन्दी भाषा।", ["हिन्दी", "भाषा"]),
        ("क्\u200dष x", ["क्\u200dष", "x"]),
        ("日本語です。", ["日", "本", "語", "で", "す"]),
        ("ดี api", ["ดี", "api"]),
        ("Привет, мир", ["привет", "мир"]),
        ("😀 ... ", []),
    ],
)
def test_words_are_those_of_any_script(text, expected):
    assert words.split(text) == expected


@given(st.text(alphabet=st.characters(max_codepoint=127), max_size=40))
def test_the_short_way_for_ascii_is_no_other_way(text):
    assert words.split(text) == [word for word in words.split(text + " é") if word != "é"]


def test_words_are_numbered_as_they_come_and_know_their_text():
    numbers = words.Numbers()
    number, row = words.read(["b a b", "", "c a"], numbers)
    assert list(numbers) == ["b", "a", "c"]
    assert number.tolist() == [0, 1, 0, 2, 1]
    assert row.tolist() == [0, 0, 0, 2, 2]


MIXED = st.text(
    st.characters(codec="utf-8") | st.sampled_from("ab1 '\u2019\u201c\u2026\u200d\u0301\u0130\u212a日ดี"), max_size=30
)


@given(st.lists(MIXED, max_size=6))
def test_many_texts_read_at_once_have_the_words_of_each_split_alone(texts):
    numbers = words.Numbers()
    number, row = words.read(texts, numbers)
    names = list(numbers)
    found = [[names[each] for each in number[row == index]] for index in range(len(texts))]
    assert found == [words._word_pattern().findall(slowly_prepared(text)) for text in texts]
    assert list(numbers) == list(dict.fromkeys(word for several in found for word in several))


def slowly_prepared(text):
    return unicodedata.normalize("NFC", text).replace("\u2019", "'").lower()


def test_texts_are_read_some_at_a_time_without_a_seam(monkeypatch):
    texts = ["one's two", "", "three", "d\u00e9j\u00e0 vu", "two"]
    whole = words.read(texts, words.Numbers())
    monkeypatch.setattr(words, "_BYTES_AT_ONCE", 4)
    for one, other in zip(whole, words.read(texts, words.Numbers()), strict=True):
        np.testing.assert_array_equal(one, other)
