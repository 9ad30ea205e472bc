"""WebGPT's comparisons: two answers, each written and judged with the quotes that it was made from.

An answer refers to its quotes by number, and its quotes were a part of what people compared. The two answers have
different quotes, so they cannot stand in the prompt, which is one for both: each answer is read with its own quotes
below it, as numbered references. To compare the answers alone, leave them out: ``ingest.ignore: [quotes_0, quotes_1]``.
"""

from __future__ import annotations

from typing import Any

from rm.data.formats.dialogue import messages
from rm.data.formats.format import Format, is_empty
from rm.data.formats.row import RowError, as_text, number, origin, part, text, texts
from rm.data.preferences import Judgement


def _read(row: dict[str, Any]) -> list[Judgement]:
    question = part(row["question"], "question", ("full_text", "dataset"), ("id",))
    scores = [_score(row, place) for place in (0, 1)]
    if scores[0] != -scores[1]:
        raise RowError(f"score_0 and score_1: expected numbers that sum to 0, got {scores[0]:g} and {scores[1]:g}")
    return [
        Judgement(
            prompt=messages(as_text(question.get("full_text"), "question.full_text"), "question"),
            first=_response(row, 0),
            second=_response(row, 1),
            preference=0.5 if scores[0] == 0 else float(scores[0] > 0),
            **origin({**row, "domain": row.get("domain") or question.get("dataset")}),
        )
    ]


def _score(row: dict[str, Any], place: int) -> float:
    found = number(row, f"score_{place}")
    if not -1 <= found <= 1:
        raise RowError(f"score_{place}: expected -1 to 1, got {found:g}")
    return found


def _response(row: dict[str, Any], place: int) -> str:
    """An answer and its quotes."""
    answer, key = text(row, f"answer_{place}"), f"quotes_{place}"
    if is_empty(row.get(key)):
        return answer
    quotes = part(row[key], key, ("title", "extract"))
    if is_empty(quotes.get("title")) and is_empty(quotes.get("extract")):
        return answer
    titles, extracts = texts(quotes, "title"), texts(quotes, "extract")
    if len(titles) != len(extracts):
        raise RowError(f"{key}: expected a title for each extract, got {len(titles)} for {len(extracts)}")
    numbered = zip(range(1, len(titles) + 1), titles, extracts, strict=True)
    return "\n\n".join([answer, *(f"[{count}] {title}\n{extract}" for count, title, extract in numbered)])


FORMATS = (
    Format(
        name="webgpt",
        published="openai/webgpt_comparisons; `ingest.ignore: [quotes_0, quotes_1]` compares the answers alone",
        required=frozenset({"question", "answer_0", "answer_1", "score_0", "score_1"}),
        columns={
            "question": "prompt: its full text; its data set is the domain, unless there is one",
            "answer_0": "first response",
            "answer_1": "second response",
            **dict.fromkeys(
                ("quotes_0", "quotes_1"), "the end of the response: quotes with their titles, as numbered references"
            ),
            **dict.fromkeys(("score_0", "score_1"), "above 0 for the preferred response; 0 is a tie"),
        },
        metadata=frozenset({"tokens_0", "tokens_1"}),
        read=_read,
        example={
            "question": {"dataset": "quiz", "id": "q1", "full_text": "Which fruit is yellow?"},
            "quotes_0": {"title": ["Bananas (fruit.example)"], "extract": ["Ripe bananas are yellow."]},
            "answer_0": "A banana is yellow [1].",
            "score_0": 0.5,
            "quotes_1": {"title": [], "extract": []},
            "answer_1": "A plum, I think.",
            "score_1": -0.5,
        },
        prompt=frozenset({"question"}),
    ),
)
