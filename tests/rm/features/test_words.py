import unicodedata

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
