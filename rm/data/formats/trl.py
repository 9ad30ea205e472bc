"""TRL preference rows: ``chosen`` and ``rejected``, text or messages, with the prompt explicit or as shared prefix.

Also reads UltraFeedback-binarized, where ``prompt`` is text and ``chosen`` repeats it as its first message. Ratings of
single responses go into ``attributes_chosen`` and ``attributes_rejected``, as in `rm.data.formats.judgement`.
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
"""Text columns that say where a row comes from; they are never part of its prompt."""


def matches(row: dict[str, Any]) -> bool:
    """Whether the row has ``chosen`` and ``rejected``."""
    return {"chosen", "rejected"} <= row.keys()


def read(row: dict[str, Any]) -> Judgement:
    """Find the prompt, and what ``chosen`` and ``rejected`` add to it."""
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
        raise RowError(
            "prompt: expected the prompt, got null; leave the column out if both sides begin with the prompt"
        )
    _check_nothing_beside(row)
    shared = os.path.commonprefix([chosen, rejected])  # noqa: RUF071 - by character is what is meant
    # Cut at a word boundary: "is Paris" and "is Pisa" share "is P", which is not a prompt.
    cut = max(shared.rfind(" "), shared.rfind("\n")) + 1
    if not shared[:cut].strip():
        raise RowError("expected a prompt field, or chosen and rejected that begin with the same prompt; got neither")
    return (Message("user", shared[:cut].rstrip()),), chosen[cut:], rejected[cut:]


def _from_messages(row: dict[str, Any]) -> tuple[tuple[Message, ...], str, str]:
    chosen, rejected = messages(row["chosen"], "chosen"), messages(row["rejected"], "rejected")
    explicit = messages(row["prompt"], "prompt") if row.get("prompt") is not None else ()
    for key, side in (("chosen", chosen), ("rejected", rejected)):
        if not side or side[-1].role != "assistant":
            raise RowError(f"{key}: expected messages, the last one of the assistant")
    if not explicit:
        _check_nothing_beside(row)
    if chosen[:-1] != rejected[:-1]:
        raise RowError("chosen and rejected differ before the last assistant message, so they answer different prompts")
    return _joined(explicit, chosen[:-1]), chosen[-1].content, rejected[-1].content


def _check_nothing_beside(row: dict[str, Any]) -> None:
    """Refuse a row without a prompt if another column could be the prompt or a part of it.

    Otherwise words of the answer would become the prompt, and the real prompt would be lost.
    """
    known = {"prompt", "chosen", "rejected", "attributes_chosen", "attributes_rejected", *METADATA}
    for name, value in row.items():
        if name not in known and isinstance(value, str | list | tuple | dict) and value:
            raise RowError(
                f"{name}: text or messages that may be a part of the prompt; expected the whole prompt in a column "
                f"named prompt, got only {sorted(map(str, row))}"
            )


def _joined(explicit: tuple[Message, ...], shared: tuple[Message, ...]) -> tuple[Message, ...]:
    """The whole prompt: the explicit one and the shared messages, without repetition."""
    if shared[: len(explicit)] == explicit:
        return shared
    spoken = tuple(message for message in shared if message.role != "system")  # a system message may come before
    if spoken[: len(explicit)] == explicit:
        return shared
    return explicit + shared
