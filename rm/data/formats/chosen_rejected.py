"""Rows with a chosen and a rejected response; such formats differ in the columns that hold the prompt.

Ratings of both responses decide about ties: equal ones are a tie, and a row whose rejected response has the higher one
is refused, since one of the two must be wrong. Rewards are a model's opinion and no rating, but where a format says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from rm.data.formats.dialogue import messages, sides, with_reasoning
from rm.data.formats.format import Format, is_empty
from rm.data.formats.row import RowError, attributes, listed, number, optional_number, origin, shown, text
from rm.data.preferences import Judgement, Message, bounds_problem

SYSTEM = ("system", "system_prompt")
RATINGS = tuple(
    (pattern.format("chosen"), pattern.format("rejected"))
    for kind in ("score", "rating", "avg_rating")
    for pattern in (f"{kind}_{{}}", f"{{}}_{kind}", f"{kind}-{{}}", f"{{}}-{kind}")
)
"""Names of the two columns that rate the responses, by how the field writes them."""


class ContradictionError(RowError):
    """Ratings of a row contradict its label, or other ratings.

    Parameters
    ----------
    reason : str
    columns : tuple of str
        Those of the ratings.
    """

    def __init__(self, reason: str, columns: tuple[str, ...]) -> None:
        super().__init__(reason)
        self.columns = columns


@cache
def reasoning_names(side: str) -> tuple[str, ...]:
    """Names of the column with the reasoning before a side's response."""
    kinds = ("reasoning", "reasoning_content", "thinking")
    return tuple(pattern.format(kind, side) for kind in kinds for pattern in ("{0}_{1}", "{1}_{0}"))


def reasoned(response: str, row: dict[str, Any], side: str, key: str) -> str:
    """A side's response, after its reasoning if that has a column of its own."""
    given = [name for name in reasoning_names(side) if name in row and not is_empty(row[name])]
    if len(given) > 1:
        raise RowError(f"expected the reasoning of {key} once, got it in {given[0]} and in {given[1]}")
    return with_reasoning(text(row, given[0]), response, key) if given else response


def reasoning_columns(*sides: str) -> dict[str, str]:
    """The columns with reasoning, to what becomes of them."""
    return {name: "reasoning: stands before the response" for side in sides for name in reasoning_names(side)}


RESPONSES = ("chosen", "rejected")
TURNS: Mapping[str, str] = {
    **dict.fromkeys(SYSTEM, "system message"),
    "history": "earlier turns, as pairs or messages",
}
"""What becomes of the columns beside the prompt's own that `prompt_of` reads."""
COLUMNS: Mapping[str, str] = {
    **TURNS,
    **{name: "rating: equal ones are a tie" for names in RATINGS for name in names},
    **reasoning_columns(*RESPONSES),
    "margin": "target margin",
    "attributes_chosen": "attributes of the preferred response",
    "attributes_rejected": "attributes of the other response",
}


def chosen_rejected(
    name: str,
    published: str,
    prompt: str | None,
    example: Mapping[str, Any],
    *,
    more: str | None = None,
    responses: tuple[str, str] = RESPONSES,
    rewards: tuple[str, str] | None = None,
    domain: str = "domain",
    metadata: frozenset[str] = frozenset(),
) -> Format:
    """The format of rows with a preferred and another response.

    Parameters
    ----------
    name, published, example, metadata
        As in `Format`.
    prompt : str or None
        The column that holds the prompt; None if both sides begin with it.
    more : str, optional
        A column with text that follows the prompt, as ``input`` follows ``instruction``.
    responses : tuple of str
        The columns of the preferred and the other response.
    rewards : tuple of str, optional
        Columns of rewards that are ratings as well.
    domain : str
        The column of the domain.
    """
    named = {} if prompt is None else {prompt: "prompt: text, messages, or a text with marks of turns"}
    after = {} if more is None else {more: "the end of the prompt"}
    answers = {
        responses[0]: "the preferred response, alone or after the prompt",
        responses[1]: "the other response, alone or after the prompt",
    }
    rest = {column: use for column, use in COLUMNS.items() if column != "domain"}
    rest |= dict.fromkeys(rewards or (), "the true reward, a rating as well")

    def read(row: dict[str, Any]) -> list[Judgement]:
        asked = before(row) if prompt is None else prompt_of(row, prompt, more)
        judged = compared(row, asked, responses, domain, None if prompt is None else row[prompt], rewards)
        return [judged]

    return Format(
        name=name,
        published=published,
        required=frozenset({*responses, *named}),
        columns={**named, **after, **answers, **rest, domain: "domain"},
        metadata=metadata,
        read=read,
        example=example,
        prompt=frozenset(named),
        plain=None if prompt is None else (prompt, *responses),
        dialogues=responses,
    )


def compared(
    row: dict[str, Any],
    asked: tuple[Message, ...],
    names: tuple[str, str] = RESPONSES,
    domain: str = "domain",
    written: Any = None,
    rewards: tuple[str, str] | None = None,
) -> Judgement:
    """The judgement of a row whose first side is preferred, unless both have the same rating.

    Parameters
    ----------
    row : dict
    asked : tuple of Message
        What other columns say of the prompt; empty if they say nothing.
    names : tuple of str
        The columns of the preferred and the other response.
    domain : str
        The column of the domain.
    written : optional
        The cell of the prompt, as in `sides`.
    rewards : tuple of str, optional
        As in `chosen_rejected`.

    Raises
    ------
    ContradictionError
        If ratings contradict the label, or each other.
    RowError
        If something else is wrong with the row.
    """
    whole, first, second = sides(asked, row[names[0]], row[names[1]], names, written)
    return Judgement(
        prompt=whole,
        first=reasoned(first, row, RESPONSES[0], names[0]),
        second=reasoned(second, row, RESPONSES[1], names[1]),
        preference=_preference(row, RATINGS if rewards is None else (*RATINGS, rewards)),
        target_margin=_margin(row),
        attributes_first=attributes(row, "attributes_chosen"),
        attributes_second=attributes(row, "attributes_rejected"),
        **origin(row, domain),
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
    earlier = before(row)
    if earlier and not asked:
        raise RowError(f"{column}: expected the prompt that follows {earlier[-1].role}'s message, got none")
    if earlier and earlier[0].role == "system" and any(message.role == "system" for message in asked):
        raise RowError(f"{column}: expected one system message, got one here and one in a column of its own")
    return (*earlier, *asked)


def before(row: dict[str, Any]) -> tuple[Message, ...]:
    """What columns of their own say came before the prompt: the system message and earlier turns."""
    system, history = system_of(row), _history(row.get("history"))
    if system and any(message.role == "system" for message in history):
        raise RowError("history: expected one system message, got one here and one in a column of its own")
    return (*system, *history)


def system_of(row: dict[str, Any]) -> tuple[Message, ...]:
    """The system message of a row, if it has one."""
    given = [name for name in SYSTEM if name in row and not is_empty(row[name]) and row[name] not in _NOTHING]
    if len(given) > 1:
        raise RowError(f"expected one system message, got one in {given[0]} and one in {given[1]}")
    return tuple(Message("system", text(row, name)) for name in given)


_NOTHING = ("[]", "{}", "null", "None", "nan")
"""How CSV writes a cell with nothing in it, in columns that hold lists elsewhere."""


def _history(value: Any) -> tuple[Message, ...]:
    """Earlier turns: messages, or pairs of what the user and the assistant said, also as JSON text."""
    if is_empty(value) or value in _NOTHING:
        return ()
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = listed({"history": value}, "history")
    if isinstance(value, list) and all(isinstance(turn, list | tuple) for turn in value):
        for turn in value:
            if len(turn) != 2 or not all(isinstance(side, str) for side in turn):
                raise RowError(f"history: expected pairs of what user and assistant said, got {shown(turn)}")
        return tuple(
            message for asked, answered in value for message in (Message("user", asked), Message("assistant", answered))
        )
    return messages(value, "history")


def _margin(row: dict[str, Any]) -> float:
    found = number(row, "margin", 0.0)
    if reason := bounds_problem("target_margin", "margin", found):
        raise RowError(reason)
    return found


_RATING_NAMES = frozenset(name for names in RATINGS for name in names)


def _preference(row: dict[str, Any], ratings: Sequence[tuple[str, str]]) -> float:
    """1 for the chosen response, or 0.5 if both have the same rating; all ratings must agree."""
    if ratings is RATINGS and _RATING_NAMES.isdisjoint(row):
        return 1.0
    ties: dict[tuple[str, ...], bool] = {}
    for names in (each for each in ratings if not row.keys().isdisjoint(each)):
        chosen, rejected = (optional_number(row, name) for name in names)
        if chosen is None or rejected is None:
            continue
        if chosen < rejected:
            raise ContradictionError(
                f"{names[0]} {chosen} is below {names[1]} {rejected}, so one of label and ratings is wrong", names
            )
        ties[names] = chosen == rejected
    if number(row, "margin", 0.0) > 0:
        ties[("margin",)] = False
    if len(set(ties.values())) > 1:
        tied = next(names for names, is_tie in ties.items() if is_tie)
        other = next(names for names, is_tie in ties.items() if not is_tie)
        raise ContradictionError(
            f"{tied[0]}: says that the responses are equal, but {other[0]} says that they are not", tied
        )
    return 0.5 if True in ties.values() else 1.0
