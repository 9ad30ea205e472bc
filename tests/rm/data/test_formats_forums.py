"""Comparisons of summaries, answers of Stack Exchange and trees of OpenAssistant, with values written by hand."""

import pytest

from rm.data.formats.catalog import read_judgement, read_row
from rm.data.formats.row import RowError
from rm.data.preferences import Message
from tests.rm.data.test_formats import refusal

QUESTION, GOOD, BAD = "Name a yellow fruit.", "A banana is yellow.", "A plum, I think."
ASKED = Message("user", QUESTION)

POST = {
    "info": {
        "id": "t3_1",
        "post": "Mine were green.",
        "title": "Bananas",
        "subreddit": "fruit",
        "site": None,
        "article": None,
    },
    "summaries": [
        {"text": " They ripen.", "policy": "ref", "note": "About bananas."},
        {"text": " I like plums.", "policy": "sup4", "note": None},
    ],
    "choice": 1,
    "worker": "ikNm",
    "batch": "batch9",
    "split": "train",
    "extra": {"confidence": 8},
}


# Summaries


def test_a_comparison_of_summaries_of_a_post():
    found = read_row(POST)
    (vote,) = found.judgements
    assert vote.prompt == (Message("user", "SUBREDDIT: r/fruit\n\nTITLE: Bananas\n\nPOST: Mine were green.\n\nTL;DR:"),)
    assert (vote.first, vote.second, vote.preference) == ("They ripen.", "I like plums.", 0.0)
    assert (vote.annotator, vote.domain, found.left_out) == ("ikNm", "fruit", ())
    assert read_judgement({**POST, "choice": 0}).preference == 1.0


def test_a_comparison_of_summaries_of_an_article():
    info = {"id": "1", "site": "dailymail", "title": "Fruit", "article": "Bananas were yellow on Monday."}
    vote = read_judgement({**POST, "info": info})
    assert vote.prompt[0].content == "TITLE: Fruit\n\nARTICLE: Bananas were yellow on Monday.\n\nTL;DR:"
    assert vote.domain == "dailymail"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"choice": None}, "choice: expected 0 or 1, got none: there is no verdict"),
        ({"choice": 2}, "choice: expected 0 or 1, got int 2"),
        ({"summaries": POST["summaries"][:1]}, "summaries: expected two, got 1"),
        ({"summaries": [{"text": 3}, {"text": "a"}]}, "summaries[0].text: expected text, got int 3"),
        ({"summaries": [{**POST["summaries"][0], "draft": "b"}, {"text": "a"}]}, "summaries[0].draft: may be a part"),
        ({"info": {"title": "Bananas"}}, "info: expected one of post and article"),
        ({"info": {"post": "a", "article": "b"}}, "info: expected one of post and article"),
        ({"info": {"post": 3}}, "info.post: expected text, got int 3"),
        ({"info": {"post": "a", "comments": "b"}}, "info.comments: may be a part of what was compared"),
        ({"info": "a"}, "info: expected an object, got str 'a'"),
    ],
)
def test_wrong_comparisons_of_summaries_are_refused(change, message):
    assert message in refusal({**POST, **change})


def test_a_rated_summary_names_the_comparisons():
    row = {"info": POST["info"], "summary": {"text": "a", "axes": {"overall": 3}}, "worker": "w", "batch": "b"}
    assert refusal(row).startswith(
        "summary: ratings of one summary are no comparison; expected a row of the comparisons"
    )


# Stack Exchange


def answer(text, score, **more):
    return {"answer_id": 1, "author": "Ann Lee", "author_id": 2, "author_profile": "https://x", **more} | {
        "text": text,
        "pm_score": score,
        "selected": False,
    }


THREAD = {
    "qid": 7,
    "question": QUESTION,
    "answers": [answer(GOOD, 4), answer(BAD, 0), answer("A lemon.", 4)],
    "date": "2010/09/13",
    "metadata": ["https://stackexchange.com/q/7", "https://stackexchange.com", "https://stackexchange.com/u/1"],
}


def test_every_two_answers_are_compared_by_their_scores():
    found = read_row(THREAD)
    assert [(vote.first, vote.second, vote.preference) for vote in found.judgements] == [
        (GOOD, BAD, 1.0),
        (GOOD, "A lemon.", 0.5),
        (BAD, "A lemon.", 0.0),
    ]
    assert {vote.prompt for vote in found.judgements} == {(ASKED,)} and not found.left_out


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([answer(GOOD, 4)], "expected at least two different responses to compare"),
        ([answer(GOOD, None), answer(BAD, 1)], "answers.pm_score: expected a finite number, got NoneType None"),
        ([answer(3, 1), answer(BAD, 1)], "answers.text: expected text, got int 3"),
        ([answer(GOOD, 4, comments=["No."]), answer(BAD, 1)], "answers[0].comments: may be a part"),
        ([GOOD, BAD], "answers[0]: expected an object, got str"),
        (GOOD, "answers: expected a list, got str"),
    ],
)
def test_wrong_answers_are_refused(answers, message):
    with pytest.raises(RowError) as caught:
        read_row({**THREAD, "answers": answers})
    assert message in str(caught.value)


def test_a_pair_of_answers():
    row = {key: THREAD[key] for key in ("qid", "question", "date", "metadata")} | {
        "response_j": GOOD,
        "response_k": BAD,
    }
    found = read_row(row)
    (vote,) = found.judgements
    assert (vote.prompt, vote.first, vote.second, vote.preference) == ((ASKED,), GOOD, BAD, 1.0)
    assert not found.left_out
    assert refusal({**row, "response_k": None}) == "response_k: expected text, got NoneType None"


# OpenAssistant


def message(role, text, rank=None, *replies, **more):
    return {"message_id": text, "role": role, "text": text, "rank": rank, "replies": list(replies), **more}


TREE = {
    "message_tree_id": "14fbb664",
    "tree_state": "ready_for_export",
    "origin": None,
    "prompt": message(
        "prompter",
        QUESTION,
        None,
        message(
            "assistant",
            GOOD,
            0,
            message(
                "prompter",
                "And a red one?",
                1,
                message("assistant", "A cherry.", 1),
                message("assistant", "A rose hip.", 0),
            ),
            message("prompter", "Thank you.", 0),
            labels={"quality": {"value": 0.75, "count": 3}, "humor": {"value": None, "count": 0}},
        ),
        message("assistant", BAD, 2, labels={"quality": {"value": 0.25, "count": 3}}),
        message("assistant", "A lemon.", 1),
        message("assistant", "No rank.", None),
        lang="en",
        emojis={"+1": 2},
    ),
}


def test_ranked_replies_anywhere_in_a_tree_are_compared_with_their_whole_path_as_prompt():
    found = read_row(TREE)
    path = (ASKED, Message("assistant", GOOD), Message("user", "And a red one?"))
    assert [(vote.prompt, vote.first, vote.second, vote.preference) for vote in found.judgements] == [
        ((ASKED,), GOOD, BAD, 1.0),
        ((ASKED,), GOOD, "A lemon.", 1.0),
        ((ASKED,), BAD, "A lemon.", 0.0),
        (path, "A cherry.", "A rose hip.", 0.0),
    ]
    assert found.format.name == "oasst_trees" and not found.left_out
    assert found.judgements[0].attributes_first == {"quality": 0.75}
    assert found.judgements[0].attributes_second == {"quality": 0.25}
    assert found.judgements[1].attributes_second == {}


def test_deleted_replies_are_no_part_of_a_ranking():
    replies = [message("assistant", GOOD, 0, deleted=True), *(message("assistant", f"{n}.", n) for n in (1, 2))]
    for deleted in (True, "true"):
        replies[0]["deleted"] = deleted
        (vote,) = read_row({**TREE, "prompt": TREE["prompt"] | {"replies": replies}}).judgements
        assert (vote.first, vote.second) == ("1.", "2.")
    replies[0]["deleted"] = False
    assert len(read_row({**TREE, "prompt": TREE["prompt"] | {"replies": replies}}).judgements) == 3


def test_a_deep_tree_is_read():
    node = message("assistant", "a", None)
    for depth in range(2000):
        node = message("assistant" if depth % 2 else "prompter", "a", None, node)
    with pytest.raises(RowError, match="at least two different responses"):
        read_row({**TREE, "prompt": node})


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"replies": []}, "expected at least two different responses to compare"),
        ({"role": "moderator"}, "prompt.role: expected prompter or assistant, got str 'moderator'"),
        ({"text": None}, "prompt.text: expected text, got NoneType None"),
        ({"replies": "none"}, "prompt.replies: expected a list, got str 'none'"),
        ({"replies": ["a"]}, "prompt.replies: expected an object, got str 'a'"),
        (
            {"replies": [message("assistant", "a", "best"), message("assistant", "b", 1)]},
            "prompt.rank: expected a finite",
        ),
        ({"quotes": ["Bananas are yellow."]}, "prompt.replies.quotes: may be a part of what was compared"),
    ],
)
def test_wrong_trees_are_refused(change, expected):
    with pytest.raises(RowError) as caught:
        read_row({**TREE, "prompt": TREE["prompt"] | change})
    assert expected in str(caught.value)


def test_a_message_alone_names_the_file_of_trees():
    row = {"message_id": "a", "parent_id": None, "user_id": "u", "text": QUESTION, "role": "prompter", "rank": None}
    assert refusal(row).startswith("message_id: a message of OpenAssistant alone is no comparison")
    assert "trees.jsonl.gz" in refusal(row)
