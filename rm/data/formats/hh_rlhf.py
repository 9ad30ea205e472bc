r"""HH-RLHF transcripts: ``chosen`` and ``rejected`` repeat the dialogue and differ in the last assistant turn.

Turns begin with ``\n\nHuman:`` and ``\n\nAssistant:``. Rows whose dialogues differ earlier are refused.
"""

from __future__ import annotations

import re
from typing import Any

from rm.data.formats.row import RowError, origin, text
from rm.data.preferences import Judgement, Message

NAME = "hh_rlhf"
KEYS = r"chosen and rejected as transcripts of '\n\nHuman:' and '\n\nAssistant:' turns"

_TURN = re.compile(r"\n\n(Human|Assistant):")
_ROLES = {"Human": "user", "Assistant": "assistant"}


def matches(row: dict[str, Any]) -> bool:
    """Whether both sides are text that begins with a turn marker."""
    sides = (row.get("chosen"), row.get("rejected"))
    return "prompt" not in row and all(isinstance(side, str) and _TURN.match(side) for side in sides)


def read(row: dict[str, Any]) -> Judgement:
    """Split both transcripts before the last assistant turn; the turns before it must be the same."""
    *prompt, chosen = _turns(text(row, "chosen"), "chosen")
    *other_prompt, rejected = _turns(text(row, "rejected"), "rejected")
    if prompt != other_prompt:
        raise RowError("chosen and rejected differ before the last assistant turn, so they answer different prompts")
    return Judgement(prompt=tuple(prompt), first=chosen.content, second=rejected.content, preference=1.0, **origin(row))


def _turns(transcript: str, key: str) -> list[Message]:
    # re.split with one group gives ["", role, content, role, content, ...]
    _, *pieces = _TURN.split(transcript)
    turns = [Message(_ROLES[role], content.strip()) for role, content in zip(pieces[::2], pieces[1::2], strict=True)]
    if turns[-1].role != "assistant":
        raise RowError(f"{key}: the transcript must end with an assistant turn, it ends with a human one")
    return turns
