"""Votes of Chatbot Arena and MT-Bench, with values written by hand."""

import json

import pytest

from rm.data.formats.catalog import read_judgement, read_row
from rm.data.preferences import Message
from tests.rm.data.test_formats import refusal, turns

QUESTION, GOOD, BAD = "Name a yellow fruit.", "A banana is yellow.", "A plum, I think."
ASKED, MORE = Message("user", QUESTION), Message("user", "And a red one?")
YES, NO, CHERRY, BRICK = (Message("assistant", text) for text in (GOOD, BAD, "A cherry.", "A brick."))

VOTE = {
    "question_id": "58210e39b3fd4441a2bd4a518bb44c2d",
    "model_a": "alpaca-13b",
    "model_b": "koala-13b",
    "winner": "model_b",
    "judge": "arena_user_973",
    "conversation_a": turns(ASKED, NO),
    "conversation_b": turns(ASKED, YES),
    "turn": 1,
    "anony": True,
    "language": "English",
    "tstamp": 1682351448.5,
    "openai_moderation": {"categories": {"hate": False}, "flagged": False},
    "toxic_chat_tag": {"roberta-large": {"flagged": False, "probability": 0.01}},
}
LISTS = {
    "id": 30192,
    "model_a": "gpt-4",
    "model_b": "gpt-3.5",
    "prompt": json.dumps([QUESTION]),
    "response_a": json.dumps([GOOD]),
    "response_b": json.dumps([BAD]),
    "winner_model_a": 1,
    "winner_model_b": 0,
    "winner_tie": 0,
}
PPE = {
    "question_id": "a1",
    "model_a": "gpt-4",
    "model_b": "gpt-3.5",
    "winner": "model_a",
    "prompt": QUESTION,
    "response_1": GOOD,
    "response_2": BAD,
    "language": "English",
    "conv_metadata": {"turns": 1, "sum_user_tokens": 5},
    "is_code": False,
    "longer_won": "True",
    "hard_prompt": False,
}
TIES = ("tie", "tie (bothbad)", "both_bad", "tie (inconsistent)")


def test_a_vote_between_two_conversations():
    found = read_row(VOTE)
    (vote,) = found.judgements
    assert found.format.name == "chatbot_arena" and not found.left_out
    assert (vote.prompt, vote.first, vote.second, vote.preference) == ((ASKED,), BAD, GOOD, 0.0)
    assert (vote.annotator, vote.created_at, vote.domain) == ("arena_user_973", "1682351448.5", None)


@pytest.mark.parametrize(("winner", "preference"), [("model_a", 1.0), ("model_b", 0.0), *((tie, 0.5) for tie in TIES)])
@pytest.mark.parametrize("row", [VOTE, PPE])
def test_the_winner_is_read_strictly(row, winner, preference):
    assert read_judgement({**row, "winner": winner}).preference == preference


@pytest.mark.parametrize("row", [VOTE, PPE])
def test_no_winner_and_unknown_winners_are_refused(row):
    for nothing in (None, ""):
        assert "winner: expected model_a, model_b, tie" in refusal({**row, "winner": nothing})
        assert refusal({**row, "winner": nothing}).endswith("got none: there is no verdict")
    for unknown in ("gpt-4", "Model_A", "a", 1, True, ["model_a"]):
        assert refusal({**row, "winner": unknown}).startswith("winner: expected model_a")


def test_a_judge_of_a_later_release_is_the_annotator():
    vote = read_judgement({**{key: value for key, value in VOTE.items() if key != "judge"}, "judge_hash": "f00d"})
    assert vote.annotator == "f00d"


def test_only_the_dialogue_up_to_the_judged_turn_counts():
    row = VOTE | {
        "conversation_a": turns(ASKED, YES, MORE, CHERRY),
        "conversation_b": turns(ASKED, NO, MORE, BRICK),
        "judge": "gpt4_pair",
    }
    first = read_judgement({**row, "turn": 1})
    assert (first.prompt, first.first, first.second) == ((ASKED,), GOOD, BAD)
    assert "differ before their last message" in refusal({**row, "turn": 2})
    assert "differ before their last message" in refusal({key: value for key, value in row.items() if key != "turn"})
    same = read_judgement({**row, "turn": 2, "conversation_b": turns(ASKED, YES, MORE, BRICK)})
    assert (same.prompt, same.first, same.second) == ((ASKED, YES, MORE), "A cherry.", "A brick.")


@pytest.mark.parametrize("turn", [0, 2, 1.5, -1])
def test_a_turn_that_is_not_there_is_refused(turn):
    assert refusal({**VOTE, "turn": turn}).startswith(
        "turn: expected the number of an answer in conversation_a, 1 to 1"
    )


def parts(*messages):
    return [
        {"role": role, "content": [{"type": "text", "text": text, "image": None, "mimeType": None}], "num_tokens": 7}
        for role, text in messages
    ]


SESSION = {
    "id": "c4b9710c",
    "model_a": "x",
    "model_b": "y",
    "winner": "both_bad",
    "evaluation_session_id": "s1",
    "evaluation_order": 1,
    "conversation_a": parts(ASKED, YES),
    "conversation_b": parts(ASKED, NO),
    "full_conversation": [
        {"user": parts(ASKED)[0], "model_side_a": parts(YES)[0], "model_side_b": parts(NO)[0]},
    ],
    "conv_metadata": {"header_count_a": {"h1": 0}},
    "category_tag": {"math_v0.1": {"math": False}},
    "language": "en",
    "is_code": False,
    "timestamp": "2025-06-01 10:00:00",
}


def test_conversations_in_parts_of_text():
    found = read_row(SESSION)
    (vote,) = found.judgements
    assert (vote.prompt, vote.first, vote.second, vote.preference) == ((ASKED,), GOOD, BAD, 0.5)
    assert vote.created_at == "2025-06-01 10:00:00" and not found.left_out


def test_turns_before_the_conversation_are_refused():
    earlier = SESSION["full_conversation"] * 2
    message = refusal({**SESSION, "full_conversation": earlier, "evaluation_order": 2})
    assert message == "full_conversation: expected no turns beside those of conversation_a, got 1 earlier ones"
    assert "got 1 earlier ones" in refusal({**SESSION, "full_conversation": json.dumps(earlier)})


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image", "text": None, "image": "https://example.org/a.png", "mimeType": "image/png"},
        {"type": "text", "text": QUESTION, "image": "https://example.org/a.png", "mimeType": "image/png"},
    ],
)
def test_images_are_refused(part):
    row = {**SESSION, "conversation_a": [{"role": "user", "content": [part]}, *parts(YES)]}
    assert refusal(row).startswith("conversation_a[0].content: expected parts of text only, got dict {'type'")


# Lists of turns


@pytest.mark.parametrize(
    ("flags", "preference"), [((1, 0, 0), 1.0), ((0, 1, 0), 0.0), ((0, 0, 1), 0.5), (("0", "1", "0"), 0.0)]
)
def test_lists_of_turns_and_flags(flags, preference):
    row = LISTS | dict(zip(("winner_model_a", "winner_model_b", "winner_tie"), flags, strict=True))
    vote = read_judgement(row)
    assert (vote.prompt, vote.first, vote.second, vote.preference) == ((ASKED,), GOOD, BAD, preference)
    assert read_row(row).format.name == "chatbot_arena_lists"


def test_lists_may_be_lists_and_earlier_answers_must_be_the_same():
    row = LISTS | {
        "prompt": [QUESTION, MORE.content],
        "response_a": [GOOD, "A cherry."],
        "response_b": [GOOD, "A brick."],
    }
    vote = read_judgement(row)
    assert (vote.prompt, vote.first, vote.second) == ((ASKED, YES, MORE), "A cherry.", "A brick.")
    assert "differ before their last message" in refusal({**row, "response_b": [BAD, "A brick."]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"winner_tie": 1}, "winner_model_a, winner_model_b, winner_tie: expected a 1 and two 0, got 1, 0, 1"),
        ({"winner_model_a": 0}, "expected a 1 and two 0, got 0, 0, 0"),
        ({"winner_model_a": None}, "winner_model_a: expected a finite number, got NoneType None"),
        ({"prompt": QUESTION}, f"prompt: expected a list, got str '{QUESTION}'"),
        ({"prompt": "[]"}, "response_a: expected an answer for each of 0 turns in prompt, got 1"),
        ({"response_b": "[null]"}, "response_b[1].content: expected text, got NoneType None"),
        ({"response_b": json.dumps([BAD, BAD])}, "response_b: expected an answer for each of 1 turns in prompt, got 2"),
    ],
)
def test_lists_that_are_wrong_are_refused(change, message):
    assert message in refusal({**LISTS, **change})


# Single turns


@pytest.mark.parametrize(
    ("name", "sides"), [("ppe", ("response_1", "response_2")), ("wsdm_cup", ("response_a", "response_b"))]
)
def test_a_prompt_with_two_responses_and_a_winner(name, sides):
    found = read_row({"id": "7", "prompt": QUESTION, sides[0]: GOOD, sides[1]: BAD, "winner": "model_b", "judge": "w"})
    (vote,) = found.judgements
    assert found.format.name == name
    assert (vote.prompt, vote.first, vote.second, vote.preference) == ((ASKED,), GOOD, BAD, 0.0)
    assert vote.annotator == "w"


def test_rows_of_ppe_have_one_turn():
    assert not read_row(PPE).left_out
    assert refusal({**PPE, "conv_metadata": {"turns": 3}}).startswith("conv_metadata.turns: expected 1")
