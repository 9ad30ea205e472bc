"""HelpSteer2's and HelpSteer3's preferences: how much better one of two responses is, by each of up to three people.

The overall strength is made from the votes beside it, so where a row has votes, each of them is a judgement. Of
HelpSteer2's votes the three most similar count, as in its overall strength; the unprocessed ones hold outliers and
votes that are none. A strength below 0 prefers the first response, one above 0 the second, and 0 neither; its size is
the target margin.
"""

from __future__ import annotations

from typing import Any

from rm.data.formats.chosen_rejected import TURNS, prompt_of
from rm.data.formats.format import Format, is_empty
from rm.data.formats.row import RowError, finite, origin, parts, text
from rm.data.preferences import Judgement

_STRONGEST = 3
_QUESTION, _GOOD, _BAD = "Name a yellow fruit.", "A banana is yellow.", "A plum, I think."
_STRENGTH = "-3 (the first is much better) to 3 (the second is), 0 is a tie; the target margin is its size"


def _read_2(row: dict[str, Any]) -> list[Judgement]:
    votes = _votes(row, "three_most_similar_preferences", "strength", ("statement", "elaboration"))
    return _judged(row, "prompt", ("response_1", "response_2"), "preference_strength", votes)


def _read_3(row: dict[str, Any]) -> list[Judgement]:
    votes = _votes(row, "individual_preference", "score", ("reasoning", "feedback1", "feedback2"))
    return _judged(row, "context", ("response1", "response2"), "overall_preference", votes)


def _votes(row: dict[str, Any], key: str, strength: str, reasons: tuple[str, ...]) -> list[float]:
    if is_empty(row.get(key)):
        return []
    votes = parts(row, key, (strength,), reasons)
    return [_strength(vote.get(strength), f"{key}[{place}].{strength}") for place, vote in enumerate(votes)]


def _strength(value: Any, name: str) -> float:
    found = finite(value, name)
    if not -_STRONGEST <= found <= _STRONGEST:
        raise RowError(f"{name}: expected -3 (the first is much better) to 3 (the second is), got {found:g}")
    return found


def _judged(
    row: dict[str, Any], prompt: str, responses: tuple[str, str], verdict: str, votes: list[float]
) -> list[Judgement]:
    overall = _strength(row.get(verdict), verdict)
    if votes and all(vote * overall < 0 for vote in votes):
        raise RowError(f"{verdict} is {overall:g}, but all votes prefer the other response, so one of them is wrong")
    asked, given = prompt_of(row, prompt), origin(row)
    first, second = (text(row, name) for name in responses)
    who: list[str | None] = [f"vote {place}" for place in range(1, len(votes) + 1)]
    return [
        Judgement(
            prompt=asked,
            first=first,
            second=second,
            preference=0.5 if strength == 0 else float(strength < 0),
            target_margin=abs(strength),
            annotator=annotator,
            created_at=given["created_at"],
            domain=given["domain"],
            sampling_probability=given["sampling_probability"],
        )
        for strength, annotator in zip(votes or [overall], who or [given["annotator"]], strict=True)
    ]


FORMATS = (
    Format(
        name="helpsteer2_preference",
        published="nvidia/HelpSteer2's preferences",
        required=frozenset({"prompt", "response_1", "response_2", "preference_strength"}),
        columns={
            "prompt": "prompt: text, messages, or a text with marks of turns",
            **TURNS,
            "response_1": "first response",
            "response_2": "second response",
            "preference_strength": _STRENGTH,
            "three_most_similar_preferences": "votes, each a judgement in place of the overall strength",
        },
        metadata=frozenset({"preference_statement", "preference_elaboration", "all_preferences_unprocessed"}),
        read=_read_2,
        example={"prompt": _QUESTION, "response_1": _BAD, "response_2": _GOOD, "preference_strength": 2},
        prompt=frozenset({"prompt"}),
    ),
    Format(
        name="helpsteer3_preference",
        published="nvidia/HelpSteer3's preferences",
        required=frozenset({"context", "response1", "response2", "overall_preference"}),
        columns={
            "context": "prompt: messages or text",
            **TURNS,
            "response1": "first response",
            "response2": "second response",
            "overall_preference": _STRENGTH,
            "individual_preference": "votes, each a judgement in place of the overall strength",
        },
        read=_read_3,
        example={
            "domain": "general",
            "context": [{"role": "user", "content": _QUESTION}],
            "response1": _GOOD,
            "response2": _BAD,
            "overall_preference": -2,
            "individual_preference": [
                {"score": -3, "reasoning": "Plums are blue."},
                {"score": -1, "reasoning": "Short."},
            ],
        },
        prompt=frozenset({"context"}),
    ),
)
