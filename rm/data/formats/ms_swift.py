"""Rows of ms-swift: a dialogue that ends with the preferred response, and the rejected response or its whole dialogue.

Also the columns that ms-swift turns into such a dialogue: ``query`` and ``response``, ``instruction`` and ``output``.
"""

from __future__ import annotations

from typing import Any

from rm.data.formats.chosen_rejected import COLUMNS, chosen_rejected, compared, system_of
from rm.data.formats.dialogue import answered, messages
from rm.data.formats.format import Format
from rm.data.formats.row import text
from rm.data.preferences import Judgement, Message

_QUESTION, _GOOD, _BAD = "Name a yellow fruit.", "A banana is yellow.", "A plum, I think."
_ASKED = {"role": "user", "content": _QUESTION}
_GOOD_TURN, _BAD_TURN = ({"role": "assistant", "content": content} for content in (_GOOD, _BAD))
_COLUMNS = {name: use for name, use in COLUMNS.items() if name != "history"}


def _read_response(row: dict[str, Any]) -> list[Judgement]:
    prompt, _ = answered(messages(row["messages"], "messages"), "messages")
    return _compared(row, "rejected_response", (*prompt, Message("assistant", text(row, "rejected_response"))))


def _read_messages(row: dict[str, Any]) -> list[Judgement]:
    return _compared(row, "rejected_messages", messages(row["rejected_messages"], "rejected_messages"))


def _compared(row: dict[str, Any], name: str, rejected: tuple[Message, ...]) -> list[Judgement]:
    dialogues = {"messages": messages(row["messages"], "messages"), name: rejected}
    written = {column: [turn._asdict() for turn in turns] for column, turns in dialogues.items()}
    return [compared({**row, **written}, system_of(row), ("messages", name))]


FORMATS = (
    Format(
        name="ms_swift",
        published="ms-swift's DPO and reward models",
        required=frozenset({"messages", "rejected_response"}),
        columns={
            "messages": "the prompt, and the preferred response at its end",
            "rejected_response": "the other response",
            **_COLUMNS,
        },
        read=_read_response,
        example={"messages": [_ASKED, _GOOD_TURN], "rejected_response": _BAD},
        prompt=frozenset({"messages"}),
    ),
    Format(
        name="ms_swift_messages",
        published="ms-swift with whole rejected dialogues",
        required=frozenset({"messages", "rejected_messages"}),
        columns={
            "messages": "the prompt, and the preferred response at its end",
            "rejected_messages": "the same prompt, and the other response at its end",
            **_COLUMNS,
        },
        read=_read_messages,
        example={"messages": [_ASKED, _GOOD_TURN], "rejected_messages": [_ASKED, _BAD_TURN]},
        prompt=frozenset({"messages"}),
    ),
    chosen_rejected(
        "ms_swift_query",
        "ms-swift's query and response",
        "query",
        {"query": _QUESTION, "response": _GOOD, "rejected_response": _BAD},
        responses=("response", "rejected_response"),
    ),
    chosen_rejected(
        "ms_swift_alpaca",
        "ms-swift's alpaca",
        "instruction",
        {"instruction": "Name a fruit.", "input": "It is yellow.", "output": _GOOD, "rejected_response": _BAD},
        more="input",
        responses=("output", "rejected_response"),
    ),
)
