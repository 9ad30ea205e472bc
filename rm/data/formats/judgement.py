"""The format of this project: one judgement per row, as `rm.data.sample` writes it.

``sampling_probability``, in (0, 1], is the probability with which the pair was chosen to be annotated, where pairs were
chosen with unequal ones; any format may have it. It is no training weight: the audit counts the pair one over it.

Ratings of single responses go into ``attributes_first`` and ``attributes_second``, such as
``{"helpfulness": 3, "verbosity": 1}``; a missing or null value means that there is no rating.
"""

from __future__ import annotations

from typing import Any

from rm.data.formats.chosen_rejected import prompt_of
from rm.data.formats.dialogue import sides
from rm.data.formats.format import Format
from rm.data.formats.row import attributes, number, origin
from rm.data.preferences import Judgement


def _read(row: dict[str, Any]) -> list[Judgement]:
    asked = prompt_of(row, "prompt", "input")
    prompt, first, second = sides(asked, row["first"], row["second"], ("first", "second"), row["prompt"])
    return [
        Judgement(
            prompt=prompt,
            first=first,
            second=second,
            preference=number(row, "preference"),
            target_margin=number(row, "target_margin", 0.0),
            weight=number(row, "weight", 1.0),
            attributes_first=attributes(row, "attributes_first"),
            attributes_second=attributes(row, "attributes_second"),
            **origin(row),
        )
    ]


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
            "preference": "preference for the first, in [0, 1]",
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
