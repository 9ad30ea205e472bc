"""Comparisons that were published to train or test judges: PandaLM, Auto-J, JudgeLM and Prometheus."""

from __future__ import annotations

from typing import Any

from rm.data.formats.chosen_rejected import TURNS, prompt_of
from rm.data.formats.format import Format, is_empty
from rm.data.formats.row import RowError, listed, optional_number, origin, shown, text, verdict
from rm.data.formats.several import preferred
from rm.data.preferences import Judgement, Message

_QUESTION, _GOOD, _BAD = "Name a yellow fruit.", "A banana is yellow.", "A plum, I think."
_VOTES = ("annotator1", "annotator2", "annotator3")
_TIME = {"created_at": "time"}


def _read_pandalm(row: dict[str, Any]) -> list[Judgement]:
    prompt = prompt_of(row, "instruction", "input")
    first, second = text(row, "response1"), text(row, "response2")
    voters = [name for name in _VOTES if not is_empty(row.get(name))]
    if not voters:
        raise RowError(f"{_VOTES[0]}: expected at least one vote, got none")
    return [
        Judgement(
            prompt=prompt,
            first=first,
            second=second,
            preference=verdict(row, name, {"1": 1.0, "2": 0.0, "0": 0.5}),
            **origin({**row, "annotator": name}),
        )
        for name in voters
    ]


def _read_auto_j(row: dict[str, Any]) -> list[Judgement]:
    return [
        Judgement(
            prompt=prompt_of(row, "prompt"),
            first=text(row, "response 1"),
            second=text(row, "response 2"),
            preference=verdict(row, "label", {"0": 1.0, "1": 0.0, "2": 0.5}),
            **origin(row, "scenario"),
        )
    ]


def _read_judgelm(row: dict[str, Any]) -> list[Judgement]:
    values = [optional_number({"score": score}, "score") for score in listed(row, "score")]
    known = [value for value in values if value is not None and value >= 0]  # -1 where no score was found in the text
    if len(values) != 2 or len(known) != 2:
        raise RowError(f"score: expected two numbers from 0 up, got {shown(row['score'])}")
    return [
        Judgement(
            prompt=prompt_of(row, "question_body"),
            first=text(row, "answer1_body"),
            second=text(row, "answer2_body"),
            preference=preferred(*known),
            **origin(row),
        )
    ]


def _read_prometheus(row: dict[str, Any]) -> list[Judgement]:
    rubric = () if is_empty(row.get("orig_criteria")) else (Message("system", text(row, "orig_criteria")),)
    preference = verdict(row, "orig_preference", {"A": 1.0, "B": 0.0})
    first, second = (optional_number(row, f"orig_score_{side}") for side in "AB")
    if first is not None and second is not None:
        by_score = preferred(first, second)
        if abs(by_score - preference) == 1:
            raise RowError(
                f"orig_preference: expected the response with the higher score, got {row['orig_preference']} with "
                f"orig_score_A {first} and orig_score_B {second}"
            )
        preference = by_score
    return [
        Judgement(
            prompt=(*rubric, *prompt_of(row, "orig_instruction")),
            first=text(row, "orig_response_A"),
            second=text(row, "orig_response_B"),
            preference=preference,
            **origin(row),
        )
    ]


FORMATS = (
    Format(
        name="pandalm",
        published="PandaLM's test set with human votes",
        required=frozenset({"instruction", "response1", "response2", _VOTES[0]}),
        columns={
            "instruction": "prompt",
            "input": "the end of the prompt",
            **TURNS,
            "response1": "first response",
            "response2": "second response",
            **dict.fromkeys(_VOTES, "a vote each, with the column as annotator: 1 or 2 is better, 0 is a tie"),
            **_TIME,
            "domain": "domain",
        },
        metadata=frozenset({"motivation_app", "cmp_key"}),
        read=_read_pandalm,
        example={
            "instruction": _QUESTION,
            "input": "",
            "response1": _GOOD,
            "response2": _BAD,
            **dict(zip(_VOTES, (1, 1, 0), strict=True)),
        },
        prompt=frozenset({"instruction"}),
    ),
    Format(
        name="auto_j",
        published="Auto-J's pairwise test set",
        required=frozenset({"prompt", "response 1", "response 2", "label"}),
        columns={
            "prompt": "prompt",
            **TURNS,
            "response 1": "first response",
            "response 2": "second response",
            "label": "0 prefers the first, 1 the second, 2 neither",
            "annotator": "annotator",
            **_TIME,
            "scenario": "domain",
        },
        read=_read_auto_j,
        example={"prompt": _QUESTION, "response 1": _GOOD, "response 2": _BAD, "label": 0, "scenario": "open_question"},
        prompt=frozenset({"prompt"}),
    ),
    Format(
        name="judgelm",
        published="JudgeLM-100K",
        required=frozenset({"question_body", "answer1_body", "answer2_body", "score"}),
        columns={
            "question_body": "prompt",
            **TURNS,
            "answer1_body": "first response",
            "answer2_body": "second response",
            "score": "scores of the first and the second response; equal ones are a tie, negative ones no verdict",
            "annotator": "annotator",
            **_TIME,
            "domain": "domain",
        },
        metadata=frozenset(
            {
                *("review_id", "reviewer_id", "metadata", "text", "text_w_reference", "score_w_reference", "reference"),
                *(f"answer{place}_{name}" for place in (1, 2) for name in ("id", "model_id", "metadata")),
            }
        ),
        read=_read_judgelm,
        example={"question_body": _QUESTION, "answer1_body": _GOOD, "answer2_body": _BAD, "score": [8.0, 3.0]},
        prompt=frozenset({"question_body"}),
    ),
    Format(
        name="prometheus",
        published="Prometheus's Preference-Collection and Preference-Bench",
        required=frozenset({"orig_instruction", "orig_response_A", "orig_response_B", "orig_preference"}),
        columns={
            "orig_instruction": "prompt",
            "orig_criteria": "system message: the rubric, which says what is preferred in this row",
            "history": TURNS["history"],
            "orig_response_A": "first response",
            "orig_response_B": "second response",
            "orig_preference": "A prefers the first, B the second",
            **dict.fromkeys(
                ("orig_score_A", "orig_score_B"),
                "score: the preferred response has the higher one, equal ones are a tie",
            ),
            "annotator": "annotator",
            **_TIME,
            "domain": "domain",
        },
        metadata=frozenset(
            {
                *("orig_reference_answer", "orig_feedback", "orig_feedback_A", "orig_feedback_B"),
                *("instruction", "output"),
            }
        ),
        read=_read_prometheus,
        example={
            "orig_instruction": _QUESTION,
            "orig_criteria": "Is the fruit yellow?",
            "orig_response_A": _GOOD,
            "orig_response_B": _BAD,
            "orig_preference": "A",
            "orig_score_A": "5",
            "orig_score_B": "2",
        },
        prompt=frozenset({"orig_instruction"}),
    ),
)
