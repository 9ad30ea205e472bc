"""OpenAssistant's trees of messages: replies to the same message, with ranks by how the users preferred them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rm.data.formats.format import Format, is_empty
from rm.data.formats.row import Origin, RowError, flag, listed, number, origin, part, shown, text, within
from rm.data.formats.several import judged_by_value
from rm.data.preferences import Judgement, Message

_ROLES = {"prompter": "user", "assistant": "assistant"}
_NODE = (
    *("text", "role", "rank", "replies", "labels", "message_id", "parent_id", "user_id", "created_date", "lang"),
    *("review_count", "review_result", "deleted", "synthetic", "model_name", "emojis", "detoxify", "events"),
    *("message_tree_id", "tree_state"),
)


def _read(row: dict[str, Any]) -> list[Judgement]:
    with within("prompt"):
        return _read_tree(row["prompt"], origin(row))


def _read_tree(root: Any, given: Origin) -> list[Judgement]:
    found: list[Judgement] = []
    for path, replies in _parents(root):
        kept = [one for one in replies if not flag(one, "deleted")]
        ranked = [one for one in kept if not is_empty(one.get("rank")) and _role(one) == "assistant"]
        if len(ranked) > 1:
            found += judged_by_value(
                path,
                [text(one, "text") for one in ranked],
                [-number(one, "rank") for one in ranked],
                given,
                [_ratings(one) for one in ranked],
            )
    return found


def _parents(root: Any) -> Iterator[tuple[tuple[Message, ...], list[dict[str, Any]]]]:
    """Every message's path from the root to itself, and its replies; parents before their replies."""
    waiting: list[tuple[tuple[Message, ...], Any]] = [((), root)]
    while waiting:
        before, value = waiting.pop(0)
        node = part(value, "replies", _NODE)
        path = (*before, Message(_role(node), text(node, "text")))
        replies = [] if is_empty(node.get("replies")) else listed(node, "replies")
        replies = [part(reply, "replies", _NODE) for reply in replies]
        yield path, replies
        waiting += [(path, reply) for reply in replies]


def _role(node: Mapping[str, Any]) -> str:
    role = node.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise RowError(f"role: expected prompter or assistant, got {shown(role)}")
    return _ROLES[role]


def _ratings(node: dict[str, Any]) -> dict[str, float]:
    """Mean ratings of a message by name."""
    labels = node.get("labels")
    if not isinstance(labels, dict):
        return {}
    return {
        name: number({name: label["value"]}, name)
        for name, label in labels.items()
        if isinstance(label, dict) and label.get("value") is not None
    }


FORMATS = (
    Format(
        name="oasst_trees",
        published="OpenAssistant (oasst1, oasst2), the files of trees",
        required=frozenset({"message_tree_id", "prompt"}),
        columns={
            "message_tree_id": "says that the row is a tree",
            "prompt": "a tree of `text`, `role` and `replies`. Of the assistant's replies with a `rank` every two are "
            "compared, 0 is best; the prompt is the path to them; `labels` become attributes. Ranked replies of the "
            "prompter are no responses, nor are deleted ones",
        },
        metadata=frozenset({"tree_state", "origin"}),
        fits=lambda row: isinstance(row["prompt"], dict),
        read=_read,
        example={
            "message_tree_id": "t1",
            "prompt": {
                "role": "prompter",
                "text": "Name a yellow fruit.",
                "replies": [
                    {"role": "assistant", "text": "A plum, I think.", "rank": 1, "replies": []},
                    {"role": "assistant", "text": "A banana is yellow.", "rank": 0, "replies": []},
                ],
            },
        },
        prompt=frozenset({"prompt"}),
    ),
)
