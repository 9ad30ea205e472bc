"""What was published to train or test judges, with values written by hand."""

import pytest

from rm.data.formats.catalog import read_judgement, read_row
from rm.data.formats.row import RowError
from rm.data.preferences import Message
from tests.rm.data.test_formats import refusal

QUESTION, GOOD, BAD = "Name a yellow fruit.", "A banana is yellow.", "A plum, I think."
ASKED = Message("user", QUESTION)

PANDALM = {
    "idx": 0,
    "motivation_app": "Grammarly",
    "cmp_key": "bloom-7b_llama-7b",
    "instruction": "Answer the question.",
    "input": QUESTION,
    "response1": GOOD,
    "response2": BAD,
    "annotator1": 1,
    "annotator2": 2,
    "annotator3": 0,
}
AUTO_J = {"scenario": "open_question", "label": 1, "prompt": QUESTION, "response 1": BAD, "response 2": GOOD}
JUDGELM = {
    "review_id": "HZKJ",
    "question_id": 0,
    "answer1_id": "",
    "answer2_id": "",
    "reviewer_id": 1,
    "metadata": {},
    "text": "2 8\nThe second one is right.",
    "score": [2.0, 8.0],
    "question_body": QUESTION,
    "answer1_body": BAD,
    "answer2_body": GOOD,
    "answer1_model_id": "koala",
    "answer2_model_id": "vicuna",
    "answer1_metadata": {"decoding_method": "top_p sampling"},
    "answer2_metadata": {"decoding_method": "top_p sampling"},
    "reference": {"text": "A lemon, say."},
    "text_w_reference": "3 9\nNo lemon.",
    "score_w_reference": [3.0, 9.0],
}
PROMETHEUS = {
    "orig_criteria": "Is the fruit yellow?",
    "orig_instruction": QUESTION,
    "orig_response_A": BAD,
    "orig_response_B": GOOD,
    "orig_reference_answer": "A lemon, say.",
    "orig_feedback_A": "It is not.",
    "orig_feedback_B": "It is.",
    "orig_score_A": "2",
    "orig_score_B": "5",
    "orig_preference": "B",
    "instruction": "###Task Description: compare them.",
    "output": "B is better. [RESULT] B",
    "input": "",
    "orig_feedback": "B is better.",
}


def test_each_vote_of_pandalm_is_a_judgement_of_its_own():
    found = read_row(PANDALM)
    assert [(vote.annotator, vote.preference) for vote in found.judgements] == [
        ("annotator1", 1.0),
        ("annotator2", 0.0),
        ("annotator3", 0.5),
    ]
    assert {(vote.prompt, vote.first, vote.second) for vote in found.judgements} == {
        ((Message("user", f"Answer the question.\n\n{QUESTION}"),), GOOD, BAD)
    }
    assert found.format.name == "pandalm" and not found.left_out
    some = read_row({**PANDALM, "annotator1": None, "annotator2": "", "annotator3": "2"}).judgements
    assert [(vote.annotator, vote.preference) for vote in some] == [("annotator3", 0.0)]


@pytest.mark.parametrize(("label", "preference"), [(0, 1.0), (1, 0.0), (2, 0.5), ("0", 1.0), (1.0, 0.0)])
def test_labels_of_auto_j(label, preference):
    found = read_row({**AUTO_J, "label": label})
    (vote,) = found.judgements
    assert (vote.prompt, vote.first, vote.second, vote.preference) == ((ASKED,), BAD, GOOD, preference)
    assert (vote.domain, found.format.name, found.left_out) == ("open_question", "auto_j", ())


@pytest.mark.parametrize(("score", "preference"), [([2.0, 8.0], 0.0), ([8, 2], 1.0), ([7, 7.0], 0.5), ("[9, 0]", 1.0)])
def test_scores_of_judgelm(score, preference):
    found = read_row({**JUDGELM, "score": score})
    (vote,) = found.judgements
    assert (vote.prompt, vote.first, vote.second, vote.preference) == ((ASKED,), BAD, GOOD, preference)
    assert found.format.name == "judgelm" and not found.left_out


def test_the_rubric_of_prometheus_is_a_system_message():
    found = read_row(PROMETHEUS)
    (vote,) = found.judgements
    assert vote.prompt == (Message("system", "Is the fruit yellow?"), ASKED)
    assert (vote.first, vote.second, vote.preference) == (BAD, GOOD, 0.0)
    assert found.format.name == "prometheus" and not found.left_out
    assert read_row(PROMETHEUS, ignored=("orig_criteria",)).judgements[0].prompt == (ASKED,)
    swapped = {**PROMETHEUS, "orig_preference": "A", "orig_score_A": 4, "orig_score_B": 1}
    assert read_judgement(swapped).preference == 1.0
    assert read_judgement({**PROMETHEUS, "orig_score_B": "2"}).preference == 0.5


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**PANDALM, "annotator2": 3}, "annotator2: expected 1, 2 or 0, got int 3"),
        ({**PANDALM, "annotator1": True}, "annotator1: expected 1, 2 or 0, got bool True"),
        (
            {**PANDALM, **dict.fromkeys(("annotator1", "annotator2", "annotator3"))},
            "annotator1: expected at least one vote, got none",
        ),
        ({**PANDALM, "response1": True}, "response1: expected text, got bool True"),
        ({**AUTO_J, "label": None}, "label: expected 0, 1 or 2, got none: there is no verdict"),
        ({**AUTO_J, "label": -1}, "label: expected 0, 1 or 2, got int -1"),
        ({**AUTO_J, "label": 0.5}, "label: expected 0, 1 or 2, got float 0.5"),
        ({**AUTO_J, "label": "tie"}, "label: expected 0, 1 or 2, got str 'tie'"),
        ({**JUDGELM, "score": [-1, -1]}, "score: expected two numbers from 0 up, got list [-1, -1]"),
        ({**JUDGELM, "score": [2, None]}, "score: expected two numbers from 0 up"),
        ({**JUDGELM, "score": [2, 8, 3]}, "score: expected two numbers from 0 up"),
        ({**JUDGELM, "score": ["good", "bad"]}, "score: expected a finite number, got str 'good'"),
        ({**JUDGELM, "score": 2}, "score: expected a list, got int 2"),
        ({**JUDGELM, "answer3_body": "A lemon, perhaps."}, "answer3_body: text or messages"),
        ({**PROMETHEUS, "orig_preference": "C"}, "orig_preference: expected A or B, got str 'C'"),
        ({**PROMETHEUS, "orig_preference": None}, "orig_preference: expected A or B, got none: there is no verdict"),
        ({**PROMETHEUS, "orig_preference": "A"}, "orig_preference: expected the response with the higher score, got A"),
        ({**PROMETHEUS, "orig_score_B": "five"}, "orig_score_B: expected a finite number, got str 'five'"),
        ({**PROMETHEUS, "input": "Bananas are yellow."}, "input: text or messages"),
    ],
)
def test_what_is_wrong_is_refused_by_name(row, message):
    with pytest.raises(RowError) as caught:
        read_row(row)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("row", "column", "file"),
    [
        ({"usermsg": "[Query]: a", "target_output": "b", "gt_label": 0}, "usermsg", "Auto-J's test set"),
        ({"usrmsg": "[Query]: a", "target_output": "b", "pred_score": 3.0}, "usrmsg", "Auto-J's test set"),
        ({"input_sequence": "### Response 1: a", "output_sequence": "1"}, "input_sequence", "PandaLM's test set"),
    ],
)
def test_prompts_of_judges_are_refused_with_the_file_to_read_instead(row, column, file):
    assert refusal(row).startswith(f"{column}: ") and file in refusal(row)


def test_votes_of_alpaca_farm_are_rows_of_alpaca_eval():
    row = {"instruction": "Answer the question.", "input": QUESTION, "output_1": GOOD, "output_2": BAD, "preference": 2}
    found = [read_row({**row, "raw_preference": 4, "annotator_index": who}) for who in (3, 5)]
    assert [each.judgements[0].annotator for each in found] == ["3", "5"]
    assert found[0].judgements[0].prompt == (Message("user", f"Answer the question.\n\n{QUESTION}"),)
    assert (found[0].judgements[0].preference, found[0].left_out) == (0.0, ("raw_preference",))
