"""Questions and answers of Stack Exchange: all answers with their scores, or pairs of them."""

from __future__ import annotations

from typing import Any

from rm.data.formats.chosen_rejected import TURNS, prompt_of
from rm.data.formats.format import Format
from rm.data.formats.row import listed, number, origin, part, text, within
from rm.data.formats.several import judged_by_value
from rm.data.preferences import Judgement

_ANSWER = ("answer_id", "author", "author_id", "author_profile", "pm_score", "selected", "text")
_METADATA = frozenset({"qid", "metadata"})
_COLUMNS = {"question": "prompt", **TURNS, "created_at": "time", "domain": "domain"}


def _read_answers(row: dict[str, Any]) -> list[Judgement]:
    answers = [part(one, f"answers[{place}]", _ANSWER) for place, one in enumerate(listed(row, "answers"))]
    with within("answers"):
        texts = [text(answer, "text") for answer in answers]
        scores = [number(answer, "pm_score") for answer in answers]
    return judged_by_value(prompt_of(row, "question"), texts, scores, origin(row))


def _read_pair(row: dict[str, Any]) -> list[Judgement]:
    sides = text(row, "response_j"), text(row, "response_k")
    return [
        Judgement(prompt=prompt_of(row, "question"), first=sides[0], second=sides[1], preference=1.0, **origin(row))
    ]


FORMATS = (
    Format(
        name="stack_exchange",
        published="HuggingFaceH4/stack-exchange-preferences",
        required=frozenset({"question", "answers"}),
        columns={
            **_COLUMNS,
            "answers": "the responses, in `text`, with a score each in `pm_score`: every two are compared, equal "
            "scores are a tie",
        },
        metadata=_METADATA,
        read=_read_answers,
        example={
            "question": "Name a yellow fruit.",
            "answers": [
                {"text": "A banana is yellow.", "pm_score": 3, "selected": True},
                {"text": "A plum, I think.", "pm_score": 0, "selected": False},
            ],
        },
        prompt=frozenset({"question"}),
    ),
    Format(
        name="stack_exchange_paired",
        published="lvwerra/stack-exchange-paired",
        required=frozenset({"question", "response_j", "response_k"}),
        columns={**_COLUMNS, "response_j": "the preferred response", "response_k": "the other response"},
        metadata=_METADATA,
        read=_read_pair,
        example={
            "question": "Name a yellow fruit.",
            "response_j": "A banana is yellow.",
            "response_k": "A plum, I think.",
        },
        prompt=frozenset({"question"}),
    ),
)
