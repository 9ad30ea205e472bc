# ruff: noqa: RUF001 - the marks of Chinese sentences
import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm.edits import rewrites

THREE = "One two. Three four! Five six."


def test_openers_stand_first_and_only_once():
    opened = rewrites.opened("Yes.", rewrites.FLATTERIES, Random(0))
    assert opened.removesuffix(" Yes.") in rewrites.FLATTERIES
    assert rewrites.opened(opened, rewrites.FLATTERIES, Random(0)) is None


@pytest.mark.parametrize("text", ["Sure, it is.", " of course not", "CERTAINLY", "Great, so"])
def test_what_begins_affirmatively_gets_no_affirmative_opener(text):
    assert rewrites.affirmed(text, Random(0)) is None
    assert rewrites.affirmed(f"No. {text}", Random(0)).endswith(f" No. {text}")


def test_closings_stand_last_and_only_once():
    closed = rewrites.closed("It is. \n", rewrites.INSULTS, Random(0))
    assert closed.removeprefix("It is. ") in rewrites.INSULTS
    assert rewrites.closed(closed, rewrites.INSULTS, Random(1)) is None


FENCED = "Use:\n```python\nprint(1)\n```"
TABLE = "| a | b |\n|---|---|\n| 1 | 2 |"


@pytest.mark.parametrize("text", [FENCED, "# Title", "1. One\n2. Two", TABLE, "> So."])
def test_what_is_added_breaks_no_structure(text):
    added = [
        rewrites.closed(text, rewrites.HEDGES, Random(0)),
        rewrites.closed(text, rewrites.NEUTRAL_CLOSINGS, Random(0)),
        rewrites.with_emoji(text, 1),
        rewrites.word_added(text, "indeed"),
        rewrites.own_word_added(text, "indeed", Random(0)),
    ]
    assert all(each.startswith(f"{text}\n\n") for each in added)
    assert len({each.count("\n") for each in added}) == 1


@pytest.mark.parametrize(
    "text", [FENCED.removeprefix("Use:\n"), "# Title", "1. One\n2. Two", TABLE, "> So.", "    x = 1"]
)
def test_what_is_put_first_breaks_no_structure(text):
    for openers in (rewrites.AGREEMENTS, rewrites.NEUTRAL_OPENERS):
        assert rewrites.opened(text, openers, Random(0)).removesuffix(f"\n\n{text}") in openers
    assert rewrites.affirmed(text, Random(0)).endswith(f"\n\n{text}")


def test_sentences_become_a_list_whose_placebo_has_no_marks():
    assert rewrites.bulleted(THREE) == "- One two.\n- Three four!\n- Five six."
    assert rewrites.on_lines(THREE) == "One two.\nThree four!\nFive six."
    assert rewrites.bulleted("One. Two.") is None
    assert rewrites.bulleted(rewrites.bulleted(THREE)) is None


def test_bold_and_stripping_it_undo_each_other():
    text = "The quick fox. It jumped over. A lazy dog. A fourth sentence."
    bold = "The **quick** fox. It **jumped** over. A **lazy** dog. A fourth sentence."
    assert rewrites.bolded(text) == bold
    assert rewrites.markdown_stripped(bold) == text
    assert rewrites.bolded(bold) is None
    assert rewrites.bolded("some `code` here") is None


def test_marks_of_headers_and_bullets_are_stripped_but_no_code():
    assert rewrites.markdown_stripped("## Title\n- one\n  * two\n__b__ 2 * 3 * 4") == "Title\none\n  two\nb 2 * 3 * 4"
    assert rewrites.markdown_stripped("- `a`") is None


@pytest.mark.parametrize(
    "text",
    [
        "Python calls __init__ and then __str__.",
        "2**3 + 4**2 = 24",
        "a ** b ** c",
        "snake__case__name",
        "Call it:\n\n    # add one\n    x += 1",
        "[a](https://b.c)\n| a | b |\n> c",
    ],
)
def test_what_only_looks_like_bold_or_a_header_stays(text):
    assert rewrites.markdown_stripped(text) == text


def test_bold_of_three_stars_and_of_scripts_without_blanks_is_stripped():
    assert rewrites.markdown_stripped("***both*** and __Note this:__ (**so**)") == "both and Note this: (so)"
    assert rewrites.markdown_stripped("东京**很大**的") == "东京很大的"
    assert rewrites.markdown_stripped("~~~\n# add one\n~~~") is None


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com/some/longword.",
        "snake_case_name (kilo_byte)",
        "someone@example.com",
        '{"description": "beautiful"}',
        "path/to/directory, getElementName",
        "东京是日本的首都 กรุงเทพเป็นเมืองหลวงของประเทศไทย",
        "Pneumonoultramicroscopic",
        "Do:\n\n    return value",
    ],
)
def test_only_plain_words_are_bold(text):
    assert rewrites.bolded(text) in (text, None)


def test_a_plain_word_beside_others_is_bold():
    assert rewrites.bolded("See https://example.com/longer (again), please_do.") == (
        "See https://example.com/longer (**again**), please_do."
    )


def test_no_sentence_is_taken_apart_at_an_abbreviation():
    text = "Dr. Smith, e.g. in the U.S. market, met J. R. R. Tolkien at 5 p.m. yesterday."
    assert rewrites.exclaimed(text) == f"{text[:-1]}!"
    assert rewrites.bulleted("Dr. Smith met Mr. Jones in the U.S. yesterday.") is None


@pytest.mark.parametrize("code", ["    print(1)", "```\nprint(1)\n```", "~~~\nprint(1)\n~~~"])
def test_code_becomes_no_list(code):
    assert rewrites.bulleted(f"One two. Three four. Five six.\n\n{code}") is None
    assert rewrites.on_lines(f"One two. Three four. Five six.\n\n{code}") is None


def test_exclamation_marks_replace_full_stops_only():
    assert rewrites.exclaimed("One. Two? Three... 1.5 four.") == "One! Two? Three... 1.5 four!"
    assert rewrites.exclaimed("1. one.\n2. two.") is None


def test_emoji_are_counted():
    assert rewrites.with_emoji("One. \n", 3) == "One. 😊😊😊"


@pytest.mark.parametrize("number", ["1,234,567.89", "0.05", "007", "1987", "100.00", "50", "100", "3"])
def test_a_number_is_wrong_by_10_to_50_percent_in_the_same_format(number):
    for seed in range(30):
        wrong = rewrites.numbers_corrupted(f"It is {number}.", Random(seed)).removeprefix("It is ").removesuffix(".")
        value, was = (float(text.replace(",", "")) for text in (wrong, number))
        last = 10.0 ** -len(number.partition(".")[2])
        assert max(0.1 * was - last, 0.99 * last) <= abs(value - was) <= max(0.5 * was + last / 2, last) + 1e-9
        assert len(wrong.partition(".")[2]) == len(number.partition(".")[2])
        assert ("," in wrong) == ("," in number)
        assert wrong.startswith("0") == number.startswith("0")


@pytest.mark.parametrize(
    "text",
    [
        "1. one\n2) two", "GPT4 and v1.2.3", "9" * 40, "٣", "H2O", "no digits",
        "### 1. Intro\n**2. Body**\n- 3) More\n**4.** End\n## 5.1 Scope\n**Step 6:** Go",
    ],
)  # fmt: skip
def test_what_is_no_number_stays(text):
    assert rewrites.numbers_corrupted(text, Random(0)) == text


def test_numbers_beside_characters_without_blanks_are_numbers():
    found = rewrites.numbers_corrupted("人口为1400万人，面积2194平方公里", Random(0))
    assert re.fullmatch(r"人口为\d{3,4}万人，面积\d{4}平方公里", found)
    assert not {"1400", "2194"} & set(re.findall(r"\d+", found))


def test_numbers_before_commas_and_in_brackets_are_numbers():
    found = rewrites.numbers_corrupted("1. from 10, 20 (30) to 40.", Random(3))
    assert found.startswith("1. from ")
    assert not set(re.findall(r"\d+", found)[1:]) & {"10", "20", "30", "40"}


@pytest.mark.parametrize(
    ("text", "flipped", "stressed"),
    [
        ("it is so", "it is not so", "it is indeed so"),
        ("it is not so", "it is so", "it indeed is not so"),
        ("he can go", "he cannot go", "he can indeed go"),
        ("he can't go", "he can go", "he indeed can't go"),
        ("we don't know", "we do know", "we indeed don't know"),
        ("this island", None, None),
        ("Open a can of soup.", None, None),
        (
            "Put out the trash can. So can you.",
            "Put out the trash can. So cannot you.",
            "Put out the trash can. So can indeed you.",
        ),
        ("the will of all will win", "the will of all will not win", "the will of all will indeed win"),
        ("How are you?", None, None),
        (
            'He asks: "Who is it?"\nit is me',
            'He asks: "Who is it?"\nit is not me',
            'He asks: "Who is it?"\nit is indeed me',
        ),
        ("你 are？ it is", "你 are？ it is not", "你 are？ it is indeed"),
        ("Is it? it can\u2019t", None, None),
    ],
)
def test_a_claim_becomes_its_opposite_and_its_placebo_stresses_it(text, flipped, stressed):
    assert rewrites.negation_flipped(text, Random(0)) == flipped
    assert rewrites.claim_stressed(text, Random(0)) == stressed


@given(st.integers(0, 99))
def test_the_placebo_of_a_negation_is_at_the_same_claim(seed):
    text = "a is b and c is d and e can f"
    flipped, stressed = (edit(text, Random(seed)) for edit in (rewrites.negation_flipped, rewrites.claim_stressed))
    assert stressed.replace(" indeed", "") == text
    assert stressed.index("indeed") == len(re.match(r"(.*?)(?: not|not)", flipped)[1]) + 1


def test_a_word_is_added_where_it_is_not_yet():
    assert rewrites.word_added("It is.", "wonderful") == "It is. wonderful"
    assert rewrites.word_added("Wonderful!", "wonderful") is None
    assert rewrites.own_word_added("a b", "wonderful", Random(0)) in ("a b a", "a b b")
    assert rewrites.own_word_added("Wonderful!", "wonderful", Random(0)) is None
