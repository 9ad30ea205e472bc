"""Rows of one response, which are no comparison: what to say of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LABEL = "one response with a label, as for KTO,"
_KINDS = (
    (frozenset({"prompt", "completion", "label"}), _LABEL),
    (frozenset({"messages", "label"}), _LABEL),
    (frozenset({"kto_tag"}), _LABEL),
    (
        frozenset({"prompt", "completions", "labels"}),
        "the steps of one response with their labels, as for process rewards,",
    ),
    (frozenset({"prompt", "response", "helpfulness"}), "one response with its ratings, as in HelpSteer,"),
)


def reason(row: Mapping[str, Any]) -> str | None:
    """Why a row is no comparison, or None if it may be one."""
    kind = next((kind for columns, kind in _KINDS if columns <= row.keys()), None)
    if row.keys() == {"text"}:
        kind = "one text, as in NeMo-Aligner's lines for reward models,"
    return kind and (
        f"{kind} is no comparison: expected both responses to a prompt in one row, such as "
        "prompt, first, second, preference, or instruction, generations, ratings"
    )
