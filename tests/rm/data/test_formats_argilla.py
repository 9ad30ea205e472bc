"""Rows of Argilla's data sets and of distilabel."""

import pytest

from rm.data.formats.catalog import format_of, read_judgement, read_row
from rm.data.preferences import Message
from tests.rm.data.test_formats import refusal, turns

QUESTION, GOOD, BAD, LEMON = "Name a yellow fruit.", "A banana is yellow.", "A plum, I think.", "A lemon."
BRIEF, ASKED = Message("system", "Be brief."), Message("user", QUESTION)
ANSWER, WORSE = Message("assistant", GOOD), Message("assistant", BAD)
ORIGIN = {"annotator": "a7", "created_at": "2025-01-02", "domain": "fruit"}


def parts(found):
    return found.prompt, found.first, found.second, found.preference


DPO = {"source": "quiz", "instruction": QUESTION, "chosen_response": GOOD, "rejected_response": BAD}


def test_argilla_pairs_with_responses_are_read_and_their_ratings_decide_about_ties():
    assert format_of(DPO).name == "argilla_dpo"
    assert parts(read_judgement(DPO)) == ((ASKED,), GOOD, BAD, 1.0)
    ratings = ("chosen_avg_rating", "rejected_avg_rating")
    assert read_judgement({**DPO, ratings[0]: 4.5, ratings[1]: 4.5}).preference == 0.5
    assert "so one of label and ratings is wrong" in refusal({**DPO, ratings[0]: 4, ratings[1]: 4.5})
    assert read_judgement({**DPO, "system": "Be brief.", "input": "Now."}).prompt == (
        BRIEF,
        Message("user", f"{QUESTION}\n\nNow."),
    )


def test_argillas_dpo_mix_has_whole_dialogues_and_ratings():
    row = {"dataset": "a b", "chosen": turns(ASKED, ANSWER), "rejected": turns(ASKED, WORSE)}
    assert parts(read_judgement({**row, "chosen_rating": 5, "rejected_rating": 4})) == ((ASKED,), GOOD, BAD, 1.0)
    assert read_judgement({**row, "chosen_rating": 5, "rejected_rating": 5}).preference == 0.5


# distilabel's lists


LIST = {"instruction": QUESTION, "generations": [GOOD, BAD, LEMON], "ratings": [5, "2", 5.0]}
ORCA = {
    "system": "Be brief.",
    "input": QUESTION,
    "chosen": GOOD,
    "rejected": BAD,
    "generations": [BAD, GOOD],
    "order": ["rejected", "chosen"],
    "labelling_model": "judge-1",
    "labelling_prompt": turns(Message("user", "Which of them is better?")),
    "raw_labelling_response": "3 9 The second names a fruit that is yellow.",
    "rating": [3.0, 9.0],
    "rationale": "The second names a fruit that is yellow.",
    "status": "swapped",
    "original_chosen": BAD,
    "original_rejected": GOOD,
    "chosen_score": 9.0,
    "in_gsm8k_train": False,
}


def test_every_two_generations_are_compared_by_their_ratings():
    found = read_row({**LIST, **ORIGIN, "system_prompt": "Be brief.", "rationales": ["Yes.", "Not at all.", "Yes."]})
    assert [(each.first, each.second, each.preference) for each in found.judgements] == [
        (GOOD, BAD, 1.0),
        (GOOD, LEMON, 0.5),
        (BAD, LEMON, 0.0),
    ]
    assert {each.prompt for each in found.judgements} == {(BRIEF, ASKED)}
    assert {(each.annotator, each.created_at, each.domain) for each in found.judgements} == {tuple(ORIGIN.values())}
    assert found.format.name == "distilabel" and not found.left_out


def test_a_pair_that_was_made_of_the_list_stands_beside_it():
    pair = {"prompt": QUESTION, "chosen": turns(ASKED, ANSWER), "rejected": turns(ASKED, WORSE), "chosen_rating": 5}
    found = read_row({**LIST, **pair, "model_names": ["a b", "c", "d"], "distilabel_metadata": {"raw": "It is so."}})
    assert found.format.name == "distilabel" and len(found.judgements) == 3 and found.left_out == ("prompt",)
    assert "chosen and rejected contradict ratings: 2 is below 5" in refusal({**LIST, "chosen": BAD, "rejected": GOOD})
    assert "chosen: expected one of the generations" in refusal({**LIST, "chosen": "A fig.", "rejected": BAD})


def test_the_distilled_orca_pairs_follow_their_ratings():
    found = read_row(ORCA)
    assert found.format.name == "distilabel_orca" and not found.left_out
    (judgement,) = found.judgements
    assert parts(judgement) == ((BRIEF, ASKED), BAD, GOOD, 0.0)
    assert read_judgement({**ORCA, "rating": [9.0, 9.0], "status": "tie"}).preference == 0.5


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            {**ORCA, "rating": None},
            "rating: expected a rating for each generation, got none: the judge gave no verdict",
        ),
        ({**LIST, "ratings": []}, "ratings: expected a rating for each generation, got none"),
        ({**LIST, "ratings": [5, None, 3]}, "ratings[1]: expected a finite number, got NoneType"),
        ({**LIST, "ratings": [5, "good", 3]}, "ratings[1]: expected a finite number, got str 'good'"),
        ({**LIST, "ratings": [5, 2]}, "expected a value for each response, got 2 for 3 responses"),
        ({**LIST, "ratings": 5}, "ratings: expected a list of numbers, got int 5"),
        ({**LIST, "generations": [GOOD, None, BAD]}, "generations: expected a list of texts"),
        ({**LIST, "generations": [GOOD] * 3}, "expected at least two different responses to compare"),
        ({**LIST, "input": "It is round and long."}, "input: text or messages"),
        ({**ORCA, "chosen": "A fig."}, "chosen: expected one of the generations"),
        ({**ORCA, "chosen": BAD, "rejected": GOOD}, "chosen and rejected contradict rating: 3 is below 9"),
    ],
)
def test_lists_that_are_no_comparison_say_why(row, expected):
    assert expected in refusal(row)


# Capybara and Orca


CAPYBARA = {
    "source": "quiz",
    "conversation": [{"input": "Hi.", "output": "Hello."}, {"input": QUESTION, "output": BAD}],
    "original_response": BAD,
    "generation_prompt": ["User: Hi. Say it again."],
    "raw_generation_responses": ["So be it: a fig."],
    "new_generations": ["A fig.", GOOD],
    "prompt": "User: Hi.\nAssistant: Hello.\nUser: Name a yellow fruit.",
    "chosen": turns(Message("user", "Hi."), Message("assistant", "Hello."), ASKED, ANSWER),
    "rejected": turns(Message("user", "Hi."), Message("assistant", "Hello."), ASKED, WORSE),
    "rating_chosen": 5,
    "rating_rejected": 3,
    "chosen_model": "a",
    "rejected_model": "b",
}


def test_capybara_has_its_prompt_in_the_conversation():
    found = read_row(CAPYBARA)
    assert found.format.name == "capybara_dpo" and not found.left_out
    earlier = (Message("user", "Hi."), Message("assistant", "Hello."))
    assert parts(found.judgements[0]) == ((*earlier, ASKED), GOOD, BAD, 1.0)
    assert read_judgement({**CAPYBARA, "rating_rejected": 5}).preference == 0.5
    assert "below rating_rejected" in refusal({**CAPYBARA, "rating_chosen": 1})
    other = [{"input": "Hi.", "output": "Hello."}, {"input": "Name a blue fruit.", "output": BAD}]
    assert "the prompt is not among the messages" in refusal({**CAPYBARA, "conversation": other})
    broken = [{"input": QUESTION, "output": None}]
    assert "conversation[0].output: expected text" in refusal({**CAPYBARA, "conversation": broken})


def test_a_conversation_of_messages_is_read_as_before():
    row = {"conversation": turns(ASKED), "chosen": GOOD, "rejected": BAD}
    assert format_of(row).name == "conversation"
    assert read_judgement(row).prompt == (ASKED,)


def test_orca_pairs_have_system_and_question():
    row = {"system": "Be brief.", "question": QUESTION, "chosen": GOOD, "rejected": BAD}
    assert format_of(row).name == "orca_dpo"
    assert parts(read_judgement(row)) == ((BRIEF, ASKED), GOOD, BAD, 1.0)
    assert read_judgement({**row, "system": ""}).prompt == (ASKED,)
