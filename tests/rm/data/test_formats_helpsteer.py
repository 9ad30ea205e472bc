"""HelpSteer's ratings and preferences."""

import pytest

from rm.data.formats.catalog import format_of, read_judgement, read_row
from rm.data.preferences import Message, group
from tests.rm.data.test_formats import refusal, turns

QUESTION, GOOD, BAD = "Name a yellow fruit.", "A banana is yellow.", "A plum, I think."
ASKED = Message("user", QUESTION)
TWO = {"split": "train", "prompt": QUESTION, "response_1": GOOD, "response_2": BAD, "preference_strength": -2}
THREE = {"domain": "general", "language": "english", "context": turns(ASKED), "response1": GOOD, "response2": BAD}
THREE |= {"overall_preference": -2}


@pytest.mark.parametrize(
    ("strength", "preference", "margin"),
    [(-3, 1.0, 3.0), (-1, 1.0, 1.0), (0, 0.5, 0.0), (1, 0.0, 1.0), ("2", 0.0, 2.0), (3.0, 0.0, 3.0)],
)
def test_a_strength_below_0_prefers_the_first_response_and_its_size_is_the_margin(strength, preference, margin):
    for row, name in ((TWO, "preference_strength"), (THREE, "overall_preference")):
        found = read_judgement({**row, name: strength})
        assert (found.prompt, found.first, found.second) == ((ASKED,), GOOD, BAD)
        assert (found.preference, found.target_margin, found.annotator) == (preference, margin, None)


def test_helpsteer_2_and_3_are_told_apart_and_nothing_of_them_is_left_out():
    reasons = {"preference_statement": "@Response 1 is better.", "preference_elaboration": "It names one."}
    raw = {"all_preferences_unprocessed": [{"strength": -100, "justification": "Neither is any good."}]}
    found = read_row({**TWO, **reasons, **raw, "annotator": "a7", "created_at": "2024-10-01"})
    assert found.format.name == "helpsteer2_preference" and not found.left_out
    assert (found.judgements[0].annotator, found.judgements[0].created_at) == ("a7", "2024-10-01")
    found = read_row(THREE)
    assert found.format.name == "helpsteer3_preference" and not found.left_out
    assert found.judgements[0].domain == "general"


@pytest.mark.parametrize(
    ("row", "column", "strength", "reasons"),
    [
        (TWO, "three_most_similar_preferences", "strength", {"statement": "@Response 1.", "elaboration": "It is so."}),
        (
            THREE,
            "individual_preference",
            "score",
            {"reasoning": "It is so.", "feedback1": "Good.", "feedback2": "Bad."},
        ),
    ],
)
def test_each_vote_is_a_judgement_with_an_annotator(row, column, strength, reasons):
    votes = [{strength: value, **reasons} for value in (-3, -1, -1, 0)]
    found = read_row({**row, column: votes})
    assert not found.left_out
    assert [(each.annotator, each.preference, each.target_margin) for each in found.judgements] == [
        ("vote 1", 1.0, 3.0),
        ("vote 2", 1.0, 1.0),
        ("vote 3", 1.0, 1.0),
        ("vote 4", 0.5, 0.0),
    ]
    assert len({each.judgement_id for each in found.judgements}) == 4
    (merged,) = group(found.judgements)[0].comparisons
    assert merged.num_judgements == 4 and sorted([merged.preference, 1 - merged.preference]) == [0.125, 0.875]
    assert merged.target_margin == 1.25
    assert "so one of them is wrong" in refusal({**row, column: [{strength: 1}, {strength: 3}]})
    assert f"{column}[0].{strength}: expected -3" in refusal({**row, column: [{strength: -100}]})
    assert f"{column}[0].{strength}: expected a finite number, got NoneType" in refusal({**row, column: [reasons]})
    assert f"{column}[0].note: may be a part" in refusal({**row, column: [{strength: -1, "note": "See above."}]})
    assert f"{column}: expected a list of objects" in refusal({**row, column: "all of them"})


def test_the_context_is_a_dialogue_and_the_prompt_has_nemos_marks():
    earlier = (Message("user", "Hi."), Message("assistant", "Hello."))
    assert read_judgement({**THREE, "context": turns(*earlier, ASKED)}).prompt == (*earlier, ASKED)
    assert read_judgement({**THREE, "context": QUESTION}).prompt == (ASKED,)
    marked = f"Hi.\n<extra_id_1>Assistant\nHello.\n<extra_id_1>User\n{QUESTION}"
    assert read_judgement({**TWO, "prompt": marked}).prompt == (*earlier, ASKED)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({**TWO, "preference_strength": None}, "preference_strength: expected a finite number, got NoneType"),
        ({**TWO, "preference_strength": -100}, "preference_strength: expected -3 (the first is much better) to 3"),
        ({**THREE, "overall_preference": 4}, "overall_preference: expected -3 (the first is much better) to 3"),
        ({**THREE, "overall_preference": "A"}, "overall_preference: expected a finite number, got str 'A'"),
        ({**THREE, "response2": None}, "response2: expected text, got NoneType"),
        ({**THREE, "context": []}, "the prompt must end with a user message"),
    ],
)
def test_what_is_no_preference_is_refused(row, expected):
    assert expected in refusal(row)


def test_ratings_of_single_responses_are_no_comparison():
    row = {"prompt": QUESTION, "response": GOOD, "helpfulness": 3, "correctness": 4, "coherence": 4, "complexity": 2}
    for verbosity in (1, [1, 2, 1]):
        assert refusal({**row, "verbosity": verbosity}).startswith(
            "one response with its ratings, as in HelpSteer, is no comparison: expected both responses to a prompt"
        )
    with pytest.raises(ValueError, match="is no comparison"):
        format_of(row)
