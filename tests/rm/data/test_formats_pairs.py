"""Pairs of PKU-SafeRLHF, SHP, WebGPT, UltraInteract and known mixtures, and rows of one response."""

import pytest

from rm.data.formats.catalog import format_of, read_judgement, read_row
from rm.data.formats.row import RowError
from rm.data.preferences import Message
from tests.rm.data.test_formats import refusal, turns

QUESTION, GOOD, BAD = "Name a yellow fruit.", "A banana is yellow.", "A plum, I think."
ASKED, ANSWER, WORSE = Message("user", QUESTION), Message("assistant", GOOD), Message("assistant", BAD)
ORIGIN = {"annotator": "a7", "created_at": "2025-01-02", "domain": "fruit"}


def parts(found):
    return found.prompt, found.first, found.second, found.preference


def origin(found):
    return found.annotator, found.created_at, found.domain


# PKU-SafeRLHF


PKU = {
    "prompt": QUESTION,
    "response_0": GOOD,
    "response_1": BAD,
    "is_response_0_safe": False,
    "is_response_1_safe": True,
    "better_response_id": 0,
    "safer_response_id": 1,
}
PKU_LATER = PKU | {
    "prompt_source": "Kaggle dump of prompts",
    "response_0_source": "Alpaca3-8B",
    "response_1_source": "Alpaca 2",
    "response_0_harm_category": {"Violence": False, "Cyber Crime": True},
    "response_1_harm_category": {"Violence": False},
    "response_0_severity_level": 2,
    "response_1_severity_level": 0,
    "response_0_sha256": "ab12",
    "response_1_sha256": "cd34",
}


@pytest.mark.parametrize("row", [PKU, PKU_LATER])
def test_pku_is_read_by_the_better_response_unless_the_safer_one_is_asked_for(row):
    found = read_row({**row, **ORIGIN})
    assert found.format.name == "pku_saferlhf" and not found.left_out
    assert parts(found.judgements[0]) == ((ASKED,), GOOD, BAD, 1.0)
    assert origin(found.judgements[0]) == tuple(ORIGIN.values())
    safer = read_row(row, format_name="pku_saferlhf_safer")
    assert safer.format.name == "pku_saferlhf_safer" and not safer.left_out
    assert parts(safer.judgements[0]) == ((ASKED,), GOOD, BAD, 0.0)


def test_pku_with_one_of_the_two_labels_is_read_by_it():
    for name, other in (("better_response_id", "safer_response_id"), ("safer_response_id", "better_response_id")):
        row = {key: value for key, value in PKU.items() if key != other}
        assert read_judgement({**row, name: 0}).preference == 1.0
        assert read_judgement({**row, name: "1"}).preference == 0.0


@pytest.mark.parametrize("verdict", [2, -1, 0.5, "0.5", "A", True])
def test_another_number_is_no_verdict_of_pku(verdict):
    assert refusal({**PKU, "better_response_id": verdict}).startswith("better_response_id: expected")


def test_pku_without_a_verdict_is_refused():
    message = "better_response_id: expected one of 0, 1, got none: no verdict"
    assert refusal({**PKU, "better_response_id": None}) == message
    assert "response_1: expected text" in refusal({**PKU, "response_1": None})


# SHP


SHP = {
    "post_id": "qt3nxl",
    "domain": "askculinary_train",
    "upvote_ratio": 0.98,
    "history": QUESTION,
    "c_root_id_A": "hk1",
    "c_root_id_B": "hk2",
    "created_at_utc_A": 1636822112,
    "created_at_utc_B": 1636822110,
    "score_A": 340,
    "score_B": 166,
    "human_ref_A": GOOD,
    "human_ref_B": BAD,
    "labels": 1,
    "seconds_difference": 2.0,
    "score_ratio": 2.048,
}


def test_shp_labels_1_for_a_and_0_for_b():
    found = read_row(SHP)
    assert found.format.name == "shp" and not found.left_out
    assert parts(found.judgements[0]) == ((ASKED,), GOOD, BAD, 1.0)
    assert found.judgements[0].domain == "askculinary_train"
    other = read_judgement({**SHP, "labels": 0, "score_A": 3, "score_B": 4})
    assert (other.first, other.preference) == (GOOD, 0.0)
    silent = {key: value for key, value in SHP.items() if not key.startswith("score")}
    assert read_judgement({**silent, "system": "Be brief."}).prompt == (Message("system", "Be brief."), ASKED)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"labels": None}, "labels: expected one of 1, 0, got none: no verdict"),
        ({"labels": 2}, "labels: expected one of 1, 0, got int 2"),
        ({"labels": "A"}, "labels: expected a finite number, got str 'A'"),
        ({"labels": 0}, "labels 0 contradicts score_A 340 and score_B 166"),
        ({"score_B": 341}, "labels 1 contradicts score_A 340 and score_B 341"),
        ({"history": ""}, "the user message in the prompt is empty"),
        ({"history": None}, "history: expected text or a list of messages"),
        ({"human_ref_B": 3}, "human_ref_B: expected text, got int 3"),
    ],
)
def test_shp_rows_without_a_verdict_or_with_a_contradiction_are_refused(change, expected):
    assert expected in refusal({**SHP, **change})


def test_equal_scores_leave_the_label_of_shp():
    assert read_judgement({**SHP, "score_B": 340}).preference == 1.0


# WebGPT


WEBGPT = {
    "question": {"dataset": "eli5", "id": "q 1", "full_text": QUESTION},
    "quotes_0": {"title": ["Bananas (fruit.example)", "Fruit"], "extract": ["Ripe bananas are yellow.", "It grows."]},
    "answer_0": "A banana is yellow [1, 2].",
    "tokens_0": {"prefix": [1, 2], "completion": [3]},
    "score_0": 0.5,
    "quotes_1": {"title": [], "extract": []},
    "answer_1": BAD,
    "tokens_1": {"prefix": [1, 2], "completion": [4]},
    "score_1": -0.5,
}


def test_an_answer_of_webgpt_has_its_quotes_below_it():
    found = read_row(WEBGPT)
    assert found.format.name == "webgpt" and not found.left_out
    (judgement,) = found.judgements
    expected = (
        "A banana is yellow [1, 2].\n\n[1] Bananas (fruit.example)\nRipe bananas are yellow.\n\n[2] Fruit\nIt grows."
    )
    assert parts(judgement) == ((ASKED,), expected, BAD, 1.0)
    assert judgement.domain == "eli5" and judgement.target_margin == 0.0
    assert origin(read_judgement({**WEBGPT, **ORIGIN})) == tuple(ORIGIN.values())
    alone = read_row(WEBGPT, ignored=("quotes_0", "quotes_1")).judgements[0]
    assert (alone.first, alone.second) == ("A banana is yellow [1, 2].", BAD)


@pytest.mark.parametrize(("score", "preference"), [(1, 1.0), (0.25, 1.0), (0, 0.5), (-0.25, 0.0), (-1, 0.0)])
def test_the_sign_of_webgpts_score_is_the_label(score, preference):
    assert read_judgement({**WEBGPT, "score_0": score, "score_1": -score}).preference == preference


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"score_0": None}, "score_0: expected a finite number, got NoneType"),
        ({"score_1": 0.5}, "score_0 and score_1: expected numbers that sum to 0, got 0.5 and 0.5"),
        ({"score_0": 2, "score_1": -2}, "score_0: expected -1 to 1, got 2"),
        ({"question": QUESTION}, "question: expected an object, got str"),
        ({"question": {"id": "q1"}}, "question.full_text: expected text, got NoneType"),
        (
            {"question": {"full_text": QUESTION, "hint": "It is long."}},
            "question.hint: may be a part of what was compared",
        ),
        ({"quotes_0": "Ripe bananas are yellow."}, "quotes_0: expected an object, got str"),
        ({"quotes_0": {"title": ["a"], "extract": []}}, "extract: expected a list of texts, got list []"),
        (
            {"quotes_0": {"title": ["a"], "extract": ["b", "c"]}},
            "quotes_0: expected a title for each extract, got 1 for 2",
        ),
        ({"answer_1": None}, "answer_1: expected text, got NoneType"),
    ],
)
def test_webgpt_rows_that_are_no_comparison_say_why(change, expected):
    assert expected in refusal({**WEBGPT, **change})


# UltraInteract, HH and mixtures


def test_ultrainteract_goes_on_from_its_trajectory():
    trajectory = [{"from": role, "value": text} for role, text in (("user", "Hi."), ("assistant", "Hm."))]
    row = {"task": "Math_CoT", "dataset": "a b", "id": "x_5_3", "parent_id": "y", "chosen": GOOD, "rejected": BAD}
    found = read_row({**row, "trajectory": [*trajectory, {"from": "user", "value": QUESTION}]})
    assert found.format.name == "ultrainteract" and not found.left_out
    before = (Message("user", "Hi."), Message("assistant", "Hm."))
    assert parts(found.judgements[0]) == ((*before, ASKED), GOOD, BAD, 1.0)
    assert found.judgements[0].domain == "Math_CoT"
    assert "the prompt must end with a user message" in refusal({**row, "trajectory": trajectory})


DIALOGUES = {"chosen": turns(ASKED, ANSWER), "rejected": turns(ASKED, WORSE)}


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({**DIALOGUES, "source": "magpie ultra v0.1"}, "trl_implicit"),  # Skywork
        ({**DIALOGUES, "prompt": QUESTION, "id": "a", "source": "ai2/x y"}, "trl"),  # Tulu 3, 8B and 70B
        (
            {**DIALOGUES, "prompt": QUESTION, "chosen_rating": 4.5, "rejected_rating": 1.5, "chosen_model": "a"},
            "trl",  # Tulu 3, 405B
        ),
        ({**DIALOGUES, "chosen_score": 9.0, "rejected_score": 2.0}, "trl_implicit"),  # OpenRLHF, RLHFlow
        (
            {"prompt": turns(ASKED), "chosen": turns(ANSWER), "rejected": turns(WORSE)},
            "trl",
        ),  # trl-lib's HH helpful-base
        (
            {
                "prompt": f"\n\nHuman: {QUESTION}\n\nAssistant:",
                **{"response": f" {GOOD}", "chosen": f" {GOOD}", "rejected": f" {BAD}"},
            },
            "trl",  # Dahoas/full-hh-rlhf
        ),
        (
            {
                side: f"\n\nHuman: {QUESTION}\n\nAssistant: {text}"
                for side, text in (("chosen", GOOD), ("rejected", BAD))
            },
            "trl_implicit",  # Anthropic/hh-rlhf, all of its folders
        ),
    ],
)
def test_known_mixtures_are_read_whole(row, name):
    found = read_row(row)
    assert found.format.name == name and not set(found.left_out) - {"response"}
    assert parts(found.judgements[0]) == ((ASKED,), GOOD, BAD, 1.0)


def test_a_dialogue_of_a_mixture_whose_prompt_is_its_first_or_last_question_stands_once():
    earlier = (Message("user", "Hi."), Message("assistant", "Hello."))
    sides = {name: turns(*earlier, ASKED, side) for name, side in (("chosen", ANSWER), ("rejected", WORSE))}
    for prompt in ("Hi.", QUESTION):
        assert read_judgement({**sides, "prompt": prompt, "id": "a"}).prompt == (*earlier, ASKED)


def test_ratings_of_a_mixture_make_ties_and_find_contradictions():
    for kind in ("score", "rating"):
        row = {**DIALOGUES, f"chosen_{kind}": 3, f"rejected_{kind}": 3}
        assert read_judgement(row).preference == 0.5
        assert "so one of label and ratings is wrong" in refusal({**row, f"rejected_{kind}": 4})


# One response


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ({"prompt": QUESTION, "completion": GOOD, "label": True}, "one response with a label"),
        (
            {"prompt": turns(ASKED), "completion": turns(ANSWER), "label": False, "rating": 3},
            "one response with a label",
        ),
        ({"messages": turns(ASKED, ANSWER), "label": False}, "one response with a label"),
        ({"instruction": QUESTION, "output": GOOD, "kto_tag": True}, "one response with a label"),
        (
            {"prompt": QUESTION, "completions": ["It is round.", GOOD], "labels": [False, True]},
            "the steps of one response",
        ),
        ({"prompt": QUESTION, "response": GOOD, "helpfulness": 3}, "one response with its ratings"),
    ],
)
def test_a_row_of_one_response_is_refused_with_what_was_expected(row, kind):
    message = refusal(row)
    assert message.startswith(kind)
    assert "is no comparison: expected both responses to a prompt in one row" in message
    assert len(message) < 250


def test_two_responses_beside_a_label_are_a_comparison():
    row = {"prompt": QUESTION, "chosen": GOOD, "rejected": BAD, "completion": GOOD}
    assert format_of({**row, "label": 1}).name == "trl"
    assert read_row(row).left_out == ("completion",)
    assert refusal({**row, "label": 0}).startswith("label: a label that is not read, got int 0")


# Verdicts in words


@pytest.mark.parametrize(
    ("first", "second", "tie"),
    [
        ("A", "B", "tie"),
        ("model_a", "model_b", "Tie"),
        ("first", "Second ", "tie (bothbad)"),
        ("chosen_1", "chosen_2", "draw"),
        ("Response A", "response-b", "tied"),
        ("left", "right", "equal"),
        ("1.0", "0", "5e-1"),
    ],
)
def test_a_verdict_may_be_a_word(first, second, tie):
    row = {"prompt": "Hi", "answer_x": "Hello.", "answer_y": "Go away."}
    fields = {"first": "answer_x", "second": "answer_y", "preference": "winner"}
    found = [read_row({**row, "winner": word}, fields).judgements[0] for word in (first, second, tie)]
    assert [each.preference for each in found] == [1.0, 0.0, 0.5]
    assert {(each.first, each.second) for each in found} == {("Hello.", "Go away.")}


def test_a_verdict_may_be_the_name_of_a_column():
    fields = {"first": "response_0", "second": "response_1", "preference": "winner"}
    row = {"prompt": "Hi", "response_0": "Hello.", "response_1": "Go away."}
    found = [read_row({**row, "winner": word}, fields).judgements[0] for word in ("response_0", "response_1")]
    assert [each.preference for each in found] == [1.0, 0.0]
    with pytest.raises(RowError, match="which may be counted from 0 or from 1"):
        read_row({**row, "winner": "model_1"}, fields)
    assert read_row({**row, "winner": "1"}, fields).judgements[0].preference == 1.0


def test_a_verdict_ends_like_the_column_that_it_means_also_if_the_second_is_named_first():
    fields = {"first": "answer_b", "second": "answer_a", "preference": "winner"}
    row = {"prompt": "Hi", "answer_a": "Hello.", "answer_b": "Go away."}
    for word in ("A", "model_a", "answer_a"):
        (found,) = read_row({**row, "winner": word}, fields).judgements
        assert (found.first, found.preference) == ("Go away.", 0.0)


@pytest.mark.parametrize("word", ["model_c", "A or B", "better", "none", "response_0", "2", "nan", "1 of 2"])
def test_a_verdict_that_may_mean_either_is_refused(word):
    with pytest.raises(RowError, match=r"^preference:? "):
        read_row({"prompt": "Hi", "first": "Hello.", "second": "Go away.", "preference": word})
