"""TRL preference rows: ``chosen`` and ``rejected``, text or messages, with the prompt explicit or as shared prefix.

Also reads UltraFeedback-binarized, where ``prompt`` is text and ``chosen`` repeats it as its first message. Ratings of
the single responses go into ``attributes_chosen`` and ``attributes_rejected``, as in `rm.data.formats.judgement`.
"""

from __future__ import annotations

import os
from typing import Any

from rm.data.formats.row import RowError, attributes, messages, number, origin, text
from rm.data.preferences import Judgement, Message

NAME = "trl"
KEYS = "chosen, rejected (text or messages), with or without prompt"


METADATA = frozenset(
    {
        *("annotator", "created_at", "domain"),
        *("id", "prompt_id", "source", "dataset", "subset", "category", "language", "split"),
        *("model", "chosen_model", "rejected_model"),
    }
)
"""Columns of text that say where a row comes from: none of them is a part of its prompt."""


def matches(row: dict[str, Any]) -> bool:
    """Whether the row has both sides."""
    return {"chosen", "rejected"} <= row.keys()


def read(row: dict[str, Any]) -> Judgement:
    """Find the prompt, then what each side adds to it."""
    if isinstance(row["chosen"], str):
        prompt, chosen, rejected = _from_text(row)
    else:
        prompt, chosen, rejected = _from_messages(row)
    score_chosen, score_rejected = number(row, "score_chosen", 1.0), number(row, "score_rejected", 0.0)
    if score_chosen < score_rejected:
        raise RowError(f"score_chosen {score_chosen} is below score_rejected {score_rejected}")
    return Judgement(
        prompt=prompt,
        first=chosen,
        second=rejected,
        preference=0.5 if score_chosen == score_rejected else 1.0,
        target_margin=number(row, "margin", 0.0),
        attributes_first=attributes(row, "attributes_chosen"),
        attributes_second=attributes(row, "attributes_rejected"),
        **origin(row),
    )


def _from_text(row: dict[str, Any]) -> tuple[tuple[Message, ...], str, str]:
    chosen, rejected = text(row, "chosen"), text(row, "rejected")
    if row.get("prompt") is not None:
        return messages(row["prompt"], "prompt"), chosen, rejected
    if "prompt" in row:
        raise RowError("prompt: null; expected the prompt, or no such column where both sides begin with it")
    _check_nothing_beside(row)
    shared = os.path.commonprefix([chosen, rejected])  # noqa: RUF071 - by character is what is meant
    # Back to a word boundary: "is Paris" against "is Pisa" share "is P", which is no prompt.
    cut = max(shared.rfind(" "), shared.rfind("\n")) + 1
    if not shared[:cut].strip():
        raise RowError("no prompt field, and chosen and rejected share no beginning that could be one")
    return (Message("user", shared[:cut].rstrip()),), chosen[cut:], rejected[cut:]


def _from_messages(row: dict[str, Any]) -> tuple[tuple[Message, ...], str, str]:
    chosen, rejected = messages(row["chosen"], "chosen"), messages(row["rejected"], "rejected")
    explicit = messages(row["prompt"], "prompt") if row.get("prompt") is not None else ()
    for key, side in (("chosen", chosen), ("rejected", rejected)):
        if not side or side[-1].role != "assistant":
            raise RowError(f"{key}: expected messages that end with an assistant one")
    if not explicit:
        _check_nothing_beside(row)
    if chosen[:-1] != rejected[:-1]:
        raise RowError("chosen and rejected differ before the last assistant message, so they answer different prompts")
    return _joined(explicit, chosen[:-1]), chosen[-1].content, rejected[-1].content


def _check_nothing_beside(row: dict[str, Any]) -> None:
    """Where the prompt is what both sides share, another column that could be the prompt, or a part of it, is refused.

    Else words of the answer would become the prompt and the real one would be thrown away.
    """
    known = {"prompt", "chosen", "rejected", "attributes_chosen", "attributes_rejected", *METADATA}
    for name, value in row.items():
        if name not in known and isinstance(value, str | list | tuple | dict) and value:
            raise RowError(
                f"{name}: a column of text or messages beside chosen and rejected, but no prompt; expected the whole "
                f"prompt in a column named prompt, got only {sorted(map(str, row))}"
            )


def _joined(explicit: tuple[Message, ...], shared: tuple[Message, ...]) -> tuple[Message, ...]:
    """The prompt, not doubled where both sides repeat it."""
    if shared[: len(explicit)] == explicit:
        return shared
    spoken = tuple(message for message in shared if message.role != "system")  # a system message may stand before it
    if spoken[: len(explicit)] == explicit:
        return shared
    return explicit + shared
