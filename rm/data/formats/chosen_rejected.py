"""Rows with a chosen and a rejected response; such formats differ in the columns that hold the prompt.

Ratings of both responses decide about ties: equal ones are a tie, and a row whose rejected response has the higher one
is refused, since one of the two must be wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rm.data.formats.dialogue import messages, sides
from rm.data.formats.format import Format, is_empty
from rm.data.formats.row import RowError, attributes, number, optional_number, origin, shown, text
from rm.data.preferences import Judgement, Message

SYSTEM = ("system", "system_prompt")
RATINGS = tuple(
    (pattern.format("chosen"), pattern.format("rejected"))
    for kind in ("score", "rating", "avg_rating")
    for pattern in (f"{kind}_{{}}", f"{{}}_{kind}", f"{kind}-{{}}", f"{{}}-{kind}")
)
"""Names of the two columns that rate the responses, by how the field writes them."""

BEFORE: Mapping[str, str] = {
    **dict.fromkeys(SYSTEM, "system message"),
    "history": "earlier turns, as pairs or messages",
}
"""What `prompt_of` reads beside the prompt's own column."""

COLUMNS: Mapping[str, str] = {
    "chosen": "the preferred response, alone or after the prompt",
    "rejected": "the other response, alone or after the prompt",
    **BEFORE,
    **{name: "rating: equal ones are a tie" for names in RATINGS for name in names},
    "margin": "target margin",
    "attributes_chosen": "attributes of the preferred response",
    "attributes_rejected": "attributes of the other response",
    "annotator": "annotator",
    "created_at": "time",
    "domain": "domain",
}


def chosen_rejected(
    name: str, published: str, prompt: str | None, example: Mapping[str, Any], *, more: str | None = None
) -> Format:
    """The format of rows with ``chosen`` and ``rejected``.

    Parameters
    ----------
    name, published, example
        As in `Format`.
    prompt : str or None
        The column that holds the prompt; None if both sides begin with it.
    more : str, optional
        A column with text that follows the prompt, as ``input`` follows ``instruction``.
    """
    named = {} if prompt is None else {prompt: "prompt: text, messages, or a text with marks of turns"}
    after = {} if more is None else {more: "the end of the prompt"}

    def read(row: dict[str, Any]) -> list[Judgement]:
        asked = () if prompt is None else prompt_of(row, prompt, more)
        whole, first, second = sides(asked, row["chosen"], row["rejected"], ("chosen", "rejected"))
        return [
            Judgement(
                prompt=whole,
                first=first,
                second=second,
                preference=_preference(row),
                target_margin=number(row, "margin", 0.0),
                attributes_first=attributes(row, "attributes_chosen"),
                attributes_second=attributes(row, "attributes_rejected"),
                **origin(row),
            )
        ]

    return Format(
        name=name,
        published=published,
        required=frozenset({"chosen", "rejected", *named}),
        columns={**named, **after, **COLUMNS},
        read=read,
        example=example,
        prompt=frozenset(named),
    )


def prompt_of(row: dict[str, Any], column: str, more: str | None = None) -> tuple[Message, ...]:
    """The prompt of a row: its system message, earlier turns, the question itself, and the text that follows it.

    Raises
    ------
    RowError
        If there is more than one system message, or the earlier turns cannot be read.
    """
    asked = () if is_empty(row.get(column)) else messages(row[column], column)
    if more is not None and not is_empty(row.get(more)):
        if not asked:
            raise RowError(f"{more}: expected it to follow a prompt in {column}, got no prompt")
        asked = (*asked[:-1], Message(asked[-1].role, f"{asked[-1].content}\n\n{text(row, more)}"))
    before = (*system_of(row), *_history(row.get("history")))
    if before and not asked:
        raise RowError(f"{column}: expected the prompt that follows {before[-1].role}'s message, got none")
    if before and before[0].role == "system" and any(message.role == "system" for message in asked):
        raise RowError(f"{column}: expected one system message, got one here and one in a column of its own")
    return (*before, *asked)


def system_of(row: dict[str, Any]) -> tuple[Message, ...]:
    """The system message of a row, if it has one."""
    given = [name for name in SYSTEM if not is_empty(row.get(name))]
    if len(given) > 1:
        raise RowError(f"expected one system message, got one in {given[0]} and one in {given[1]}")
    return tuple(Message("system", text(row, name)) for name in given)


def _history(value: Any) -> tuple[Message, ...]:
    """Earlier turns: messages, or pairs of what the user and the assistant said."""
    if is_empty(value):
        return ()
    if isinstance(value, list) and all(isinstance(turn, list | tuple) for turn in value):
        for turn in value:
            if len(turn) != 2 or not all(isinstance(side, str) for side in turn):
                raise RowError(f"history: expected pairs of what user and assistant said, got {shown(turn)}")
        return tuple(
            message for asked, answered in value for message in (Message("user", asked), Message("assistant", answered))
        )
    return messages(value, "history")


def _preference(row: dict[str, Any]) -> float:
    """1 for the chosen response, or 0.5 if both have the same rating."""
    for names in RATINGS:
        chosen, rejected = (optional_number(row, name) for name in names)
        if chosen is None or rejected is None:
            continue
        if chosen < rejected:
            raise RowError(f"{names[0]} {chosen} is below {names[1]} {rejected}, so one of label and ratings is wrong")
        if chosen == rejected:
            return 0.5
    return 1.0
