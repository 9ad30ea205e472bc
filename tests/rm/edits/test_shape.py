# ruff: noqa: RUF001 - the marks of Chinese and Japanese sentences
import re
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm.edits import shape

TEXT = "One two three. Four five! Six seven eight? Nine ten."


def test_sentences_end_at_marks_and_at_line_breaks():
    assert shape.sentences("  One. Two!  Three? Four\n\nfive 1.5 six ") == [
        "One.",
        "Two!",
        "Three?",
        "Four",
        "five 1.5 six",
    ]
    assert shape.sentences(" \n ") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("东京很大。真的吗？是！好", ["东京很大。", "真的吗？", "是！", "好"]),
        ("他说：“好。”然后走了。\n完", ["他说：“好。”", "然后走了。", "完"]),
        ("本当！？はい。 そう。", ["本当！？", "はい。", "そう。"]),
        ("यह है। वह भी।", ["यह है।", "वह भी।"]),
        ("هل هذا صحيح؟ نعم.", ["هل هذا صحيح؟", "نعم."]),
    ],
)
def test_sentences_of_other_scripts_end_at_their_own_marks(text, expected):
    assert shape.sentences(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Dr. Smith, e.g. in the U.S. market, met J. R. R. Tolkien at 5 p.m. yesterday.",
        "Dr. Smith met Mr. Jones in the U.S. yesterday.",
        "See Fig. 3 and No. 5 of Prof. Li et al. there.",
        "Apples, pears, etc. (i.e. fruit) at 5p.m. vs. none",
    ],
)
def test_no_sentence_ends_after_an_abbreviation(text):
    assert shape.sentences(text) == [text]


def test_what_only_looks_like_an_abbreviation_ends_a_sentence():
    assert shape.sentences("No. It is in 3D. First. I saw No.\nBest.") == [
        "No.",
        "It is in 3D.",
        "First.",
        "I saw No.",
        "Best.",
    ]
    assert shape.sentences("Mr.\nSmith") == ["Mr.", "Smith"]


@given(st.lists(st.sampled_from(["a", "Dr", "U.S", "No", "5", ".", "?", " ", "\n", "。", "”", "東"])).map("".join))
def test_pieces_make_up_the_text_and_are_blank_between_sentences(text):
    found = shape.pieces(text)
    assert "".join(found) == text
    assert len(found) % 2 == 1
    assert not any(between.strip() for between in found[1::2])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- one", True), ("* one", True), ("a\n  2) b", True), ("a\n## b", True), ("| a | b |", True),
        ("a\n```\nb", True), ("~~~\nb", True), ("> a", True), ("a > b", False),
        ("plain - not", False), ("1.5 metres", False), ("#tag", False), ("-5 degrees", False),
    ],
)  # fmt: skip
def test_structure_is_lists_headers_tables_and_code(text, expected):
    assert shape.has_structure(text) is expected


@given(st.lists(st.sampled_from(["\n", " ", "\t", "\r", "\x85", "\u2028", "-", "2", ".", "#", "|", ">", "```", "a"])))
def test_structure_may_stand_after_any_blanks_and_empty_lines(parts):
    text = "".join(parts)
    found = re.search(r"^\s*(?:[-*•]\s|\d+[.)]\s|#{1,6}\s|\||>|```|~~~)", text, re.MULTILINE)
    assert shape.has_structure(text) is (found is not None)


def test_the_last_sentence_is_repeated():
    assert shape.ending_repeated("A b. C d.", 1) == "A b. C d. C d."
    assert shape.ending_repeated("A b. C d.", 3) == "A b. C d. C d. C d. C d."
    assert shape.ending_repeated("Only one.", 1) is None


FENCED = "Use this.\n```python\nprint(1)\n```"
TABLE = "| a | b |\n|---|---|\n| 1. | 2. |"


@pytest.mark.parametrize(
    "text", [FENCED, TABLE, "One.\n2. Two.", "One.\n> Two.", "Do.\n\n    print(1)", "One. Two.\n---", "So. 😊"]
)
def test_only_a_sentence_is_repeated(text):
    assert shape.ending_repeated(text, 1) is None


@pytest.mark.parametrize(
    "line", ["```", "# Title", "- one", "2. two", "| a | b |", "> so", "    print(1)", "\tx", "~~~"]
)
def test_no_sentence_stands_on_a_line_of_structure(line):
    assert shape.joined(f"One.\n{line}\n", "Two.") == f"One.\n{line}\n\nTwo."
    assert shape.joined("Two.", f"{line}\nOne.") == f"Two.\n\n{line}\nOne."
    assert shape.joined(f"{line}\n\nOne. ", "Two.") == f"{line}\n\nOne. Two."


def test_a_response_is_said_again():
    assert shape.repeated("Yes.\n", 1.5) is None
    assert shape.repeated("Yes.\n", 2) == "Yes. Yes."
    assert shape.repeated("# Title", 2) == "# Title\n\n# Title"
    assert shape.repeated("a b c d", 2) == "a b c d a b c d"
    assert shape.repeated("a b c d", 1.5) == "a b c d a b"
    assert shape.repeated("a\nb", 3) == "a\nb\n\na\nb\n\na\nb"


def test_a_truncated_text_is_its_beginning_and_ends_inside_a_sentence():
    assert shape.truncated("One two three four. Five six seven eight.", 50) == "One two three"
    assert shape.truncated("One two three four. Five six seven eight.", 75) == "One two three four. Five six"
    assert shape.truncated("One two three four", 75) is None


@given(st.text(), st.sampled_from([25, 50, 75]))
def test_a_truncated_text_is_never_longer_than_its_share_of_words(text, percent):
    kept = shape.truncated(text, percent)
    if kept is not None:
        assert text.startswith(kept)
        assert len(shape.words(kept)) <= max(1, len(shape.words(text)) * percent / 100)


def test_shuffled_sentences_are_the_same_sentences_elsewhere():
    shuffled = shape.sentences_shuffled(TEXT, Random(0))
    assert shuffled != TEXT
    assert sorted(shape.sentences(shuffled)) == sorted(shape.sentences(TEXT))
    assert shape.sentences_shuffled("One. Two.", Random(0)) is None
    assert shape.sentences_shuffled("- One. Two. Three.", Random(0)) is None
    assert shape.sentences_shuffled("Same. Same. Same.", Random(0)) is None


def test_three_sentences_are_always_moved():
    text = "Aa. Bb. Cc."
    assert all(shape.sentences_shuffled(text, Random(seed)) not in (text, None) for seed in range(200))


@given(st.text(), st.integers(0, 9))
def test_scrambled_words_are_the_same_words_and_spaces(text, seed):
    scrambled = shape.words_scrambled(text, Random(seed))
    if scrambled is not None:
        assert Counter(scrambled) == Counter(text.strip())
        if shape.words(text) == text.split():
            assert Counter(scrambled.split()) == Counter(text.split())
        assert re.findall(r"\s+", scrambled) == re.findall(r"\s+", text.strip())
    else:
        assert len(shape.words(text)) < 5 or len(set(shape.words(text))) == 1


@given(st.text(st.characters(max_codepoint=0x5FF)))
def test_words_stand_between_blanks_where_a_script_has_them(text):
    assert shape.words(text) == text.split()


CHINESE = "东京是日本的首都。它有很多人口，也是世界上最大的城市之一。真的吗？是！"
JAPANESE = "東京は日本の首都です。人口が多く、GDPも大きいです。ありがとう！"
THAI = "กรุงเทพเป็นเมืองหลวงของประเทศไทย มีผู้คนมากมาย"


@pytest.mark.parametrize("text", [CHINESE, JAPANESE, THAI])
def test_texts_without_blanks_are_scrambled_and_cut_by_characters(text):
    scrambled = shape.words_scrambled(text, Random(1))
    assert scrambled != text
    assert Counter(scrambled) == Counter(text)
    assert re.findall("[。，、！？ ]", scrambled) == re.findall("[。，、！？ ]", text)
    kept = shape.truncated(text, 50)
    assert text.startswith(kept)
    assert 0.4 < len(kept) / len(text) < 0.6
    assert shape.truncated("我不知道", 50) is None


def test_vowels_and_tones_stay_with_their_letters():
    assert shape.words("ผู้คน か\u3099") == ["ผู้", "ค", "น", "か\u3099"]


def test_a_cut_text_without_blanks_ends_inside_a_sentence():
    assert shape.truncated("一二三四。五六七八。", 50) == "一二三"
    assert shape.truncated("一二三四。五六七八。", 75) == "一二三四。五六"


def test_sentences_without_blanks_are_shuffled():
    shuffled = shape.sentences_shuffled(CHINESE, Random(0))
    assert shuffled != CHINESE
    assert Counter(shape.sentences(shuffled)) == Counter(shape.sentences(CHINESE))


@pytest.mark.parametrize("percent", [1, 3, 5])
def test_typing_errors_are_as_many_as_asked_for(percent):
    text = "abcdefghij " * 100
    changed = shape.mistyped(text, percent, Random(0)).split()
    wrong = sum(word != "abcdefghij" for word in changed)
    assert 0.6 * percent / 100 * len(text) <= wrong <= percent / 100 * len(text)
    assert len(changed) == 100


@given(st.text(), st.integers(0, 9))
def test_a_typing_error_always_changes_a_text_that_has_two_letters_in_a_row(text, seed):
    mistyped = shape.mistyped(text, 1, Random(seed))
    assert mistyped != text
    assert (mistyped is None) == (re.search("([A-Za-z])(?!\\1)[A-Za-z]", text) is None)


def test_spacing_changes_nothing_but_spaces():
    assert shape.spaces_doubled("a b  c\n d e") == "a  b  c\n d  e"
    assert shape.whitespace_trailing("a b") == "a b  \n\n"


def test_the_first_sentences_are_changed_and_the_rest_stays():
    assert shape.each_sentence("a. b.\n\nc. ", str.upper, count=2) == "A. B.\n\nc. "
    assert shape.each_sentence(" a. b. ", str.upper) == " A. B. "


def test_a_letter_is_mistyped_once():
    assert {shape.mistyped("abc", 100, Random(seed)) for seed in range(50)} == {"bac", "aabc", "bc"}
