"""Tools, calls of them and what they answer: objects or JSON text, written in one form.

A field with null is left out, since Parquet and `datasets` give every object all fields that one of them has. In JSON
text a null stays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rm.data.formats.row import RowError, json_value, part, shown
from rm.data.preferences import Message

COLUMN = "tools"
_NOTHING: tuple[Any, ...] = (None, "", "[]", "null", [])


def tools_of(row: Mapping[str, Any]) -> tuple[Message, ...]:
    """The tools of a row, which begin its prompt; none if it has none.

    Raises
    ------
    RowError
        If they are no list of tools with names.
    """
    value = row.get(COLUMN)
    written = value.strip() if isinstance(value, str) else value
    return () if written in _NOTHING else (tools(value, COLUMN),)


def tools(value: Any, key: str) -> Message:
    """Definitions of tools: a list, each ``{type, function: {name, ...}}`` or ``{name, ...}``, or its JSON text."""
    given = _parsed(value, key)
    if not isinstance(given, list):
        raise RowError(f"{key}: expected a list of tools or its JSON text, got {shown(value)}")
    found = [_unpacked(each, f"{key}[{place}]") for place, each in enumerate(given)]
    for place, each in enumerate(found):
        inner = each.get("function", each) if isinstance(each, dict) else None
        if not isinstance(inner, dict) or not _is_name(inner.get("name")):
            raise RowError(
                f"{key}[{place}]: expected a tool as {{type, function: {{name, ...}}}} or {{name, ...}}, "
                f"got {shown(each)}"
            )
    return Message("tools", _written(found, key))


def calls(value: Any, key: str) -> Message:
    """Calls of tools: a list or one, as ``{function: {name, arguments}}`` or ``{name, arguments}``, or its JSON text.

    Arguments are an object or its JSON text, and are kept as an object.
    """
    given = _parsed(value, key)
    listed = given if isinstance(given, list) else [given]
    if not listed:
        raise RowError(f"{key}: expected calls of tools, got none")
    return Message("tool_calls", _written([_call(each, f"{key}[{place}]") for place, each in enumerate(listed)], key))


def both(one: Message, other: Message) -> Message:
    """The calls of two messages as those of one turn."""
    return Message("tool_calls", _written([*json.loads(one.content), *json.loads(other.content)], one.role))


def result_of(value: Any, key: str) -> Message:
    """Which call a tool's result answers: ``tool_call_id`` or ``name``."""
    given = _parsed(value, key)
    if not isinstance(given, dict) or not given or not given.keys() <= {"tool_call_id", "name"}:
        raise RowError(f"{key}: expected an object with tool_call_id or name, got {shown(value)}")
    if wrong := [name for name in given if not _is_name(given[name])]:
        raise RowError(f"{key}.{wrong[0]}: expected text, got {shown(given[wrong[0]])}")
    return Message("result_of", _written(given, key))


def _call(value: Any, key: str) -> dict[str, Any]:
    outer = part(value, key, ("id", "function", "name", "arguments"), ("type", "index"))
    where, inner = key, outer
    if "function" in outer:
        where = f"{key}.function"
        inner = part(outer["function"], where, ("name", "arguments"))
    if not _is_name(inner.get("name")):
        raise RowError(f"{where}.name: expected the name of a tool, got {shown(inner.get('name'))}")
    arguments = inner.get("arguments")
    arguments = {} if arguments in (None, "") else _unpacked(arguments, f"{where}.arguments")
    if not isinstance(arguments, dict):
        raise RowError(f"{where}.arguments: expected an object or its JSON text, got {shown(inner['arguments'])}")
    given = {"id": outer["id"]} if _is_name(outer.get("id")) else {}
    return {**given, "type": "function", "function": {"name": inner["name"], "arguments": arguments}}


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _parsed(value: Any, key: str) -> Any:
    """The value of JSON text, or a value without the fields that are null."""
    try:
        return json_value(value) if isinstance(value, str) else _without_nulls(value)
    except RowError as error:
        raise RowError(f"{key}: {error}") from None
    except (ValueError, RecursionError):
        raise RowError(f"{key}: expected JSON, got {shown(value)}") from None


def _unpacked(value: Any, key: str) -> Any:
    """The value of JSON text within a value that was parsed; a null that was read of text stays."""
    return _parsed(value, key) if isinstance(value, str) else value


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


def _written(value: Any, key: str) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise RowError(f"{key}: expected what JSON can hold, got {shown(value)}") from None
