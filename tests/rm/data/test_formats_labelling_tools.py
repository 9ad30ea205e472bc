"""Exports of Argilla and Label Studio, with values written by hand."""

import pytest

from rm.data.formats.catalog import read_judgement, read_row
from rm.data.formats.row import RowError
from rm.data.preferences import Message

QUESTION, GOOD, BAD = "Name a yellow fruit.", "A banana is yellow.", "A plum, I think."
ASKED = Message("user", QUESTION)


def refusal(row, **settings):
    with pytest.raises(RowError) as caught:
        read_row(row, **settings)
    return str(caught.value)


def ranked(*names_by_rank):
    return [{"rank": rank, "value": name} for rank, names in enumerate(names_by_rank, 1) for name in names.split()]


def answer(value, user="u1", status="submitted"):
    return {"user_id": user, "value": value, "status": status}


RANKED = {
    "prompt": QUESTION,
    "response1": BAD,
    "response2": GOOD,
    "preference": [
        answer(ranked("response2", "response1"), "u1"),
        answer(ranked("response1 response2"), "u2"),
        answer(ranked("response1", "response2"), "u3", "discarded"),
        answer(ranked("response1", "response2"), "u4", "draft"),
    ],
    "preference-suggestion": ranked("response1", "response2"),
    "preference-suggestion-metadata": {"type": None, "score": None, "agent": "a judge of mine"},
    "why": [answer("It is not yellow.")],
    "external_id": "r1",
    "metadata": '{"topic": "fruit of the south"}',
}


# Argilla 1


def test_a_ranking_is_a_vote_of_each_user_who_submitted_it():
    found = read_row(RANKED)
    assert [(vote.annotator, vote.first, vote.second, vote.preference) for vote in found.judgements] == [
        ("u1", BAD, GOOD, 0.0),
        ("u2", BAD, GOOD, 0.5),
    ]
    assert {vote.prompt for vote in found.judgements} == {(ASKED,)}
    assert found.format.name == "argilla_1" and not found.left_out


def test_lists_of_objects_may_be_objects_of_lists():
    """As Parquet files have them."""
    lists = {key: [one[key] for one in ranked("response2", "response1")] for key in ("rank", "value")}
    row = {**RANKED, "preference": [answer(lists)]}
    assert [vote.preference for vote in read_row(row).judgements] == [0.0]
    row["preference"] = {"user_id": ["u1"], "value": [lists], "status": ["submitted"]}
    assert [vote.preference for vote in read_row(row).judgements] == [0.0]


def test_names_of_fields_and_questions_are_your_own_and_context_ends_the_prompt():
    row = {
        "instruction": QUESTION,
        "context": "Think of monkeys.",
        "reply_1": GOOD,
        "reply_2": BAD,
        "reply_3": "A lemon.",
        "reply-ranking": [answer(ranked("reply_3", "reply_1", "reply_2"))],
        "external_id": None,
        "metadata": "{}",
    }
    found = read_row(row)
    assert [(vote.first, vote.second, vote.preference) for vote in found.judgements] == [
        (GOOD, BAD, 1.0),
        (GOOD, "A lemon.", 0.0),
        (BAD, "A lemon.", 0.0),
    ]
    assert found.judgements[0].prompt == (Message("user", f"{QUESTION}\n\nThink of monkeys."),)
    assert not found.left_out


def test_ratings_of_each_response_compare_what_one_user_rated():
    row = {
        "id": "i1",
        "instruction": QUESTION,
        "generations-0": GOOD,
        "generations-1": BAD,
        "generations-0-rating": [answer(4, "u1"), answer(3, "u2"), answer(5, "u3")],
        "generations-1-rating": [answer(2, "u1"), answer(3, "u2")],
        "generations-0-rationale": [answer("It is yellow.", "u1")],
        "external_id": None,
        "metadata": None,
    }
    found = read_row(row)
    assert [(vote.annotator, vote.first, vote.second, vote.preference) for vote in found.judgements] == [
        ("u1", GOOD, BAD, 1.0),
        ("u2", GOOD, BAD, 0.5),
    ]
    assert not found.left_out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"preference": [answer(ranked("response1", "response2"), status="discarded")]},
            "expected a submitted ranking",
        ),
        ({"preference": []}, "expected a submitted ranking of fields, or ratings named FIELD-rating"),
        ({"preference": [answer(ranked("reply1", "reply2"))]}, "preference, why: expected a submitted ranking"),
        ({"preference": [answer("response1")]}, "preference, why: expected a submitted ranking"),
        ({"preference": [answer(ranked("response1", "response2"), status="done")]}, "preference: expected a status of"),
        (
            {"preference": [answer([{"rank": None, "value": "response1"}, {"rank": 1, "value": "response2"}])]},
            "preference: expected a finite number, got NoneType None",
        ),
        ({"safety": [answer(ranked("response1", "response2"))]}, "preference, safety: expected one ranking"),
        ({"response2": None}, "response2: expected text, got NoneType None"),
        ({"prompt": None}, "prompt: expected one prompt under prompt, instruction, question, query and at most one"),
        ({"instruction": "Be kind."}, "and at most one of context, input, got prompt, instruction"),
        ({"document": "Bananas are yellow."}, "document: text or messages that may be a part of the prompt"),
    ],
)
def test_what_cannot_be_read_of_argilla_is_refused(change, message):
    assert message in refusal({**RANKED, **change})


# Argilla 2

RESPONSES = {
    "id": "r1",
    "status": "completed",
    "_server_id": "s1",
    "inserted_at": "2024-10-01 10:00:00",
    "instruction": QUESTION,
    "response1": BAD,
    "response2": GOOD,
    "ranking.responses": [["response2", "response1"], ["response1", "response2"], ["response1", "response2"]],
    "ranking.responses.users": ["u1", "u2", "u3"],
    "ranking.responses.status": ["submitted", "submitted", "draft"],
    "ranking.suggestion": ["response1", "response2"],
    "ranking.suggestion.score": None,
    "ranking.suggestion.agent": "a judge of mine",
    "why.responses": ["It is not yellow."],
    "why.responses.users": ["u1"],
    "why.responses.status": ["submitted"],
}


def test_a_ranking_of_argilla_2_is_the_order_of_the_fields():
    found = read_row(RESPONSES)
    votes = {vote.annotator: vote for vote in found.judgements}
    assert found.format.name == "argilla_2" and not found.left_out and set(votes) == {"u1", "u2"}
    assert (votes["u1"].prompt, votes["u1"].first, votes["u1"].second) == ((ASKED,), BAD, GOOD)
    assert votes["u1"].preference == 0.0
    assert (votes["u2"].first, votes["u2"].second, votes["u2"].preference) == (BAD, GOOD, 1.0)


def test_ranks_and_numbered_statuses_of_argilla_2():
    row = RESPONSES | {
        "status": 1,
        "ranking.responses": [ranked("response1 response2"), ranked("response1", "response2")],
        "ranking.responses.users": ["u1", "u2"],
        "ranking.responses.status": [1, 2],
    }
    assert [(vote.annotator, vote.preference) for vote in read_row(row).judgements] == [("u1", 0.5)]


def test_ratings_of_argilla_2():
    ratings = {
        f"response{place}-rating.responses{end}": [value]
        for place, rating in ((1, 2), (2, 5))
        for end, value in (("", rating), (".users", "u1"), (".status", "submitted"))
    }
    row = {key: value for key, value in RESPONSES.items() if not key.startswith("ranking")} | ratings
    found = read_row(row)
    assert [(vote.first, vote.second, vote.preference) for vote in found.judgements] == [(BAD, GOOD, 0.0)]
    assert not found.left_out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ranking.responses": None}, "ranking.responses: expected as many users and status as responses"),
        ({"ranking.responses.status": ["submitted"]}, "ranking.responses: expected as many users and status"),
        ({"ranking.responses.status": [7, 7, 7]}, "ranking.responses.status: expected a status of draft, submitted"),
        ({"ranking.responses.status": ["draft"] * 3}, "ranking, why: expected a submitted ranking of fields"),
    ],
)
def test_what_cannot_be_read_of_argilla_2_is_refused(change, message):
    assert message in refusal({**RESPONSES, **change})


# Label Studio


def annotation(selected, who=1, **more):
    result = {"id": "pw", "from_name": "better", "type": "pairwise", "to_name": "answer1,answer2"}
    return {
        "id": 1001,
        "completed_by": who,
        "was_cancelled": False,
        "created_at": "2024-03-09T22:16:08Z",
        "lead_time": 4.2,
        "result": [{**result, "value": {"selected": selected}}],
    } | more


TASK = {
    "id": 1,
    "data": {"prompt": QUESTION, "answer1": BAD, "answer2": GOOD, "row": 7},
    "annotations": [
        annotation("right", 7),
        annotation("left", {"id": 8, "email": "a@b.c"}),
        annotation("left", 9, was_cancelled=True),
        annotation("left", 10, result=[]),
    ],
    "predictions": [{"model_version": "model 1", "result": []}],
    "drafts": [],
    "meta": {},
    "created_at": "2024-03-09T21:52:49Z",
    "updated_at": "2024-03-09T22:16:08Z",
    "project": 83,
    "inner_id": 1,
    "total_annotations": 3,
    "cancelled_annotations": 1,
}


def test_each_annotation_of_a_task_is_a_vote_unless_it_was_cancelled():
    found = read_row(TASK)
    assert [(vote.annotator, vote.preference) for vote in found.judgements] == [("7", 0.0), ("8", 1.0)]
    assert {(vote.prompt, vote.first, vote.second) for vote in found.judgements} == {((ASKED,), BAD, GOOD)}
    assert {vote.created_at for vote in found.judgements} == {"2024-03-09T22:16:08Z"}
    assert found.format.name == "label_studio" and not found.left_out


@pytest.mark.parametrize(("said", "votes"), [("false", 1), ("False", 1), (0, 1), (None, 1), ("true", 0), ("1", 0)])
def test_whether_an_annotation_was_cancelled_may_be_text(said, votes):
    row = {**TASK, "annotations": [annotation("right", 7), annotation("left", 8, was_cancelled=said)]}
    assert len(read_row(row).judgements) == 1 + votes
    assert "annotations.was_cancelled: expected true or false, got str 'no'" in refusal(
        {**TASK, "annotations": [annotation("left", was_cancelled="no")]}
    )


def test_fields_of_a_task_can_be_named():
    result = [{"type": "pairwise", "to_name": "txt-1,txt-2", "value": {"selected": "left"}}]
    row = {"data": {"query": QUESTION, "text1": GOOD, "text2": BAD}, "annotations": [annotation("left", result=result)]}
    assert "ingest.fields={first: data.LEFT, second: data.RIGHT}" in refusal(row)
    named = {"prompt": "data.query", "first": "data.text1", "second": "data.text2"}
    (vote,) = read_row(row, fields=named).judgements
    assert (vote.prompt, vote.first, vote.second, vote.preference) == ((ASKED,), GOOD, BAD, 1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"annotations": []}, "annotations: expected at least one that was not cancelled"),
        ({"annotations": [annotation("left", was_cancelled=True)]}, "annotations: expected at least one that was not"),
        ({"annotations": [annotation("middle")]}, "annotations.selected: expected left or right, got str 'middle'"),
        ({"annotations": [annotation(None)]}, "annotations.selected: expected left or right, got none"),
        ({"annotations": [annotation("left", result=None)]}, "annotations.result: expected a list, got NoneType"),
        (
            {"annotations": [annotation("left", result=[{"type": "choices", "value": {"choices": ["Tie"]}}])]},
            "annotations: expected one result of the type pairwise in each, got choices",
        ),
        (
            {"annotations": [annotation("left", result=annotation("left")["result"] * 2)]},
            "annotations: expected one result of the type pairwise in each, got pairwise, pairwise",
        ),
        ({"annotations": ["left"]}, "annotations: expected objects, got str 'left'"),
        ({"data": {"prompt": QUESTION, "answer1": BAD}}, "annotations: expected to_name to name two fields of data"),
        ({"data": {"answer1": BAD, "answer2": GOOD}}, "data: expected one prompt under prompt, instruction, question"),
        ({"data": TASK["data"] | {"question": "Why?"}}, "data: expected one prompt"),
        ({"data": TASK["data"] | {"text": "Bananas are yellow."}}, "data.text: may be a part of what was compared"),
        ({"data": TASK["data"] | {"answer2": 3}}, "data.answer2: expected text, got int 3"),
        ({"notes": "Read this first, please."}, "notes: text or messages that may be a part of the prompt"),
    ],
)
def test_wrong_tasks_are_refused(change, message):
    assert message in refusal({**TASK, **change})


def test_a_task_with_one_vote_is_one_judgement():
    assert read_judgement({**TASK, "annotations": [annotation("right")]}).preference == 0.0
