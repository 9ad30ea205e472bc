"""The format of this project: one judgement per row, as `rm.data.sample` writes it.

``sampling_probability``, in (0, 1], is the probability with which the pair was chosen to be annotated, where pairs were
chosen with unequal ones; any format may have it. It is no training weight: the audit counts the pair one over it.

Ratings of single responses go into ``attributes_first`` and ``attributes_second``, such as
``{"helpfulness": 3, "verbosity": 1}``; a missing or null value means that there is no rating.
"""

from __future__ import annotations

import re
from typing import Any

from rm.data.formats.chosen_rejected import prompt_of, reasoned, reasoning_columns
from rm.data.formats.dialogue import sides
from rm.data.formats.format import Format
from rm.data.formats.row import RowError, attributes, number, origin, shown
from rm.data.preferences import Judgement


def _read(row: dict[str, Any]) -> list[Judgement]:
    asked = prompt_of(row, "prompt", "input")
    prompt, first, second = sides(asked, row["first"], row["second"], ("first", "second"), row["prompt"])
    return [
        Judgement(
            prompt=prompt,
            first=reasoned(first, row, "first", "first"),
            second=reasoned(second, row, "second", "second"),
            preference=_preference(row),
            target_margin=number(row, "target_margin", 0.0),
            weight=number(row, "weight", 1.0),
            attributes_first=attributes(row, "attributes_first"),
            attributes_second=attributes(row, "attributes_second"),
            **origin(row),
        )
    ]


_SIDE = re.compile(
    r"(?:(?:model|response|answer|output|completion|option|candidate|assistant|chosen)[ _-]?)?"
    r"(?:(a|first|left)|(b|second|right))"
    r"|(?:model|response|answer|output|completion|option|candidate|assistant|chosen)[ _-]?(?:(1)|(2))"
)
"""Words for the first response, and for the second."""
_TIES = ("tie", "tied", "draw", "equal", "both_bad", "tie (bothbad)")


def _preference(row: dict[str, Any]) -> float:
    """A number, or a word that says which response is better; a bare 1 or 2 is a number."""
    value = row["preference"]
    if not isinstance(value, str) or not value.strip()[:1].isalpha():
        return number(row, "preference")
    word = value.strip().lower()
    if found := _SIDE.fullmatch(word):
        return 1.0 if found[1] or found[3] else 0.0
    if word in _TIES:
        return 0.5
    raise RowError(f"preference: expected a number in [0, 1], A, B, first, second or tie, got {shown(value)}")


FORMATS = (
    Format(
        name="judgement",
        published="this project; use it for your own annotations",
        required=frozenset({"prompt", "first", "second", "preference"}),
        columns={
            "prompt": "prompt: text, messages, or a text with marks of turns",
            "input": "the end of the prompt",
            "system": "system message",
            "system_prompt": "system message",
            "history": "earlier turns, as pairs or messages",
            "first": "first response",
            "second": "second response",
            **reasoning_columns("first", "second"),
            "preference": "preference for the first, in [0, 1], or a word: A or B, first or second, left or right, "
            "tie, also as in model_a and response_2, or the name that ingest.fields gives to first or second",
            "target_margin": "target margin",
            "weight": "weight of the comparison in training",
            "attributes_first": "attributes of the first response",
            "attributes_second": "attributes of the second response",
        },
        read=_read,
        example={
            "prompt": "Name a yellow fruit.",
            "first": "A banana is yellow.",
            "second": "A plum, I think.",
            "preference": 0.75,
        },
        prompt=frozenset({"prompt"}),
        plain=("prompt", "first", "second"),
    ),
)
