"""UltraFeedback as it was published, and UltraInteract's pairs.

UltraFeedback's four completions are ordered by the mean of their ratings for instruction following, honesty,
truthfulness and helpfulness. The judge gave these side by side, and saw the instruction without the system prompt that
each completion was written under. The overall score was given to one completion at a time, together with its system
prompt; it is an attribute. For truthfulness the judge also saw reference answers. They are not read: no response was
written with them.
"""

from __future__ import annotations

import math
from typing import Any

from rm.data.formats.chosen_rejected import TURNS, chosen_rejected, prompt_of
from rm.data.formats.format import Format
from rm.data.formats.row import RowError, as_text, finite, origin, part, parts
from rm.data.formats.several import judged_by_value
from rm.data.preferences import Judgement

_ASPECTS = ("instruction_following", "honesty", "truthfulness", "helpfulness")
_UNREAD = ("model", "principle", "custom_system_prompt", "critique", "fine-grained_score")
_REASONS = ("Rationale", "Type", "Rationale For Rating")
_QUESTION, _GOOD, _BAD = "Name a yellow fruit.", "A banana is yellow.", "A plum, I think."


def _read(row: dict[str, Any]) -> list[Judgement]:
    completions = parts(row, "completions", ("response", "annotations", "overall_score"), _UNREAD)
    ratings = [_ratings(each, f"completions[{place}]") for place, each in enumerate(completions)]
    values = [math.fsum(each.values()) / len(each) for each in ratings]
    scores = [_overall(each, f"completions[{place}].overall_score") for place, each in enumerate(completions)]
    return judged_by_value(
        prompt_of(row, "instruction"),
        [as_text(each.get("response"), f"completions[{place}].response") for place, each in enumerate(completions)],
        values,
        origin(row, "source"),
        [{**each, **score} for each, score in zip(ratings, scores, strict=True)],
    )


def _ratings(completion: dict[str, Any], key: str) -> dict[str, float]:
    """The ratings of a completion by aspect; at least one."""
    annotations = part(completion.get("annotations"), f"{key}.annotations", _ASPECTS)
    found = {}
    for aspect in annotations.keys() & set(_ASPECTS):
        name = f"{key}.annotations.{aspect}.Rating"
        rating = part(annotations[aspect], f"{key}.annotations.{aspect}", ("Rating",), _REASONS).get("Rating")
        if rating != "N/A":
            found[aspect] = finite(rating, name)
    if not found:
        raise RowError(f"{key}.annotations: expected a rating for {', '.join(_ASPECTS)}, got none: no verdict")
    return {aspect: found[aspect] for aspect in _ASPECTS if aspect in found}


def _overall(completion: dict[str, Any], key: str) -> dict[str, float]:
    given = completion.get("overall_score")
    return {} if given is None else {"overall_score": finite(given, key)}


def _example(response: str, ratings: tuple[int, ...]) -> dict[str, Any]:
    annotations = {aspect: {"Rating": str(rating)} for aspect, rating in zip(_ASPECTS, ratings, strict=True)}
    return {"response": response, "annotations": annotations, "overall_score": 2.0 * min(ratings)}


FORMATS = (
    Format(
        name="ultrafeedback",
        published="openbmb/UltraFeedback; not read: a completion's own system prompt, the judge's reference answers",
        required=frozenset({"instruction", "completions"}),
        columns={
            "instruction": "prompt: text, messages, or a text with marks of turns",
            **TURNS,
            "completions": "responses: every two are compared by the mean of their aspects' ratings, equal ones are a "
            "tie; the ratings and the overall score are attributes",
            "annotator": "annotator",
            "created_at": "time",
            "source": "domain",
        },
        metadata=frozenset({"models", "correct_answers", "incorrect_answers"}),
        read=_read,
        example={
            "source": "quiz",
            "instruction": _QUESTION,
            "completions": [_example(_GOOD, (5, 5, 4, 4)), _example(_BAD, (2, 3, 1, 2))],
        },
        prompt=frozenset({"instruction"}),
    ),
    chosen_rejected(
        "ultrainteract",
        "openbmb/UltraInteract_pair",
        "trajectory",
        {"task": "Logic", "trajectory": [{"from": "user", "value": _QUESTION}], "chosen": _GOOD, "rejected": _BAD},
        domain="task",
        metadata=frozenset({"parent_id"}),
    ),
)
