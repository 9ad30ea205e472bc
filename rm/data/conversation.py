"""A prompt as chat templates take it: the parts of a turn in one object, the tools beside the turns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rm.data.preferences import Message

Turns = list[dict[str, Any]]


def turns(prompt: Sequence[Message]) -> Turns:
    """The turns of a prompt as OpenAI and transformers write them: its messages without the tools.

    An assistant's turn has its text, empty if there is none, and where they are given its reasoning (`reasoned`) and
    ``tool_calls``; a result has ``tool_call_id`` and ``name`` where they are given. Arguments of calls are objects.
    """
    found: Turns = []
    result: dict[str, Any] = {}
    for role, content in prompt:
        if role == "result_of":
            result = json.loads(content)
        elif role == "tool":
            found.append({"role": role, **result, "content": content})
            result = {}
        elif role == "reasoning":
            found.append({"role": "assistant", "content": "", **reasoned(content)})
        elif role == "assistant" and found and _is_begun(found[-1]):
            found[-1]["content"] = content
        elif role == "tool_calls":
            if not found or found[-1]["role"] != "assistant":
                found.append({"role": "assistant", "content": ""})
            found[-1]["tool_calls"] = json.loads(content)
        elif role != "tools":
            found.append({"role": role, "content": content})
    return found


def reasoned(text: str) -> dict[str, str]:
    """The fields of a turn that hold its reasoning; a template reads one of them."""
    return {"reasoning_content": text, "reasoning": text}


def _is_begun(turn: dict[str, Any]) -> bool:
    """Whether a turn has reasoning only."""
    return "reasoning_content" in turn and not turn["content"] and "tool_calls" not in turn


def tools(prompt: Sequence[Message]) -> str:
    """The tools of a prompt as JSON; empty if there are none."""
    return prompt[0].content if prompt and prompt[0].role == "tools" else ""
