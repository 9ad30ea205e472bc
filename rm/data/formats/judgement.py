"""The format of this project: one judgement per row, as `rm.data.sample` writes it.

Use it for your own annotations: ``prompt`` (text or messages), ``first``, ``second``, ``preference`` (for the first
response, in [0, 1]), and if known ``annotator``, ``created_at``, ``domain``, ``target_margin``, ``weight``.

``sampling_probability``, in (0, 1], is the probability with which the pair was chosen to be annotated, where pairs were
chosen with unequal ones; any format may have it. It is no training weight: the audit counts the pair one over it.

Ratings of single responses go into ``attributes_first`` and ``attributes_second``, such as
``{"helpfulness": 3, "verbosity": 1}``; a missing or null value means that there is no rating.
"""

from __future__ import annotations

from typing import Any

from rm.data.formats.row import attributes, messages, number, origin, text
from rm.data.preferences import Judgement

NAME = "judgement"
KEYS = "prompt, first, second, preference"


def matches(row: dict[str, Any]) -> bool:
    """Whether the row has both responses and a preference."""
    return {"prompt", "first", "second", "preference"} <= row.keys()


def read(row: dict[str, Any]) -> Judgement:
    """The row as it is."""
    return Judgement(
        prompt=messages(row["prompt"], "prompt"),
        first=text(row, "first"),
        second=text(row, "second"),
        preference=number(row, "preference"),
        target_margin=number(row, "target_margin", 0.0),
        weight=number(row, "weight", 1.0),
        attributes_first=attributes(row, "attributes_first"),
        attributes_second=attributes(row, "attributes_second"),
        **origin(row),
    )
