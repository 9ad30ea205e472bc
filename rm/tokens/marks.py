"""Marks on what a chat template must not drop of a prompt with tools.

What a template writes of a tool or a call is its own affair: JSON, XML or a signature in another language. So the texts
themselves cannot be looked for in what it renders. A mark that is put into each name, argument and result can.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from rm.data.preferences import Message

_MARKED = frozenset({"tools", "tool_calls", "tool"})


class Marked(NamedTuple):
    """A prompt with marks."""

    prompt: tuple[Message, ...]
    names: dict[str, str]
    """Mark to what has it."""


def marked(prompt: Sequence[Message]) -> Marked | None:
    """The prompt with a mark on each tool, call, argument list and result, and on each text before a call.

    Returns
    -------
    Marked or None
        None if there is nothing to mark.
    """
    if _MARKED.isdisjoint(role for role, _ in prompt):
        return None
    names: dict[str, str] = {}
    following = [after.role for _, after in pairwise(prompt)] + [""]
    found = [Message(one.role, _content(one, after, names)) for one, after in zip(prompt, following, strict=True)]
    return Marked(tuple(found), names)


def _content(message: Message, after: str, names: dict[str, str]) -> str:
    role, content = message
    if role == "tools":
        return json.dumps([_tool(each, names) for each in json.loads(content)])
    if role == "tool_calls":
        return json.dumps([_call(each, names) for each in json.loads(content)])
    if role == "tool":
        return f"{content} {_mark('the result of a tool', names)}"
    if role == "assistant" and after == "tool_calls":
        return f"{content} {_mark('the text before the call of a tool', names)}"
    return content


def _tool(tool: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    if "function" in tool:
        return {**tool, "function": _tool(tool["function"], names)}
    return {**tool, "name": f"{tool['name']}_{_mark('the tool ' + tool['name'], names)}"}


def _call(call: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    name, arguments = call["function"]["name"], call["function"]["arguments"]
    more = _mark(f"the arguments of the call of {name}", names)
    shown = f"{name}_{_mark(f'the call of {name}', names)}"
    return {**call, "function": {"name": shown, "arguments": {**arguments, more: more}}}


def _mark(name: str, names: dict[str, str]) -> str:
    mark = f"zq{len(names)}qz"
    names[mark] = name
    return mark
