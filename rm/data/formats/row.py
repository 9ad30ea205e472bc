"""Reading single fields of a row, with errors that say what was expected and what was found."""

from __future__ import annotations

import sys
from typing import Any, TypedDict

from rm.data.preferences import Message


class RowError(ValueError):
    """A row cannot be used; the message is the reason, which is kept in the quarantine."""


def text(row: dict[str, Any], key: str) -> str:
    """A field that must be text."""
    value = row.get(key)
    if not isinstance(value, str):
        raise RowError(f"{key}: expected text, got {_shown(value)}")
    return value


def texts(row: dict[str, Any], key: str) -> tuple[str, ...]:
    """A field that must be a list of at least one text."""
    value = row.get(key)
    if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
        raise RowError(f"{key}: expected a list of texts, got {_shown(value)}")
    return tuple(value)


def number(row: dict[str, Any], key: str, default: float | None = None) -> float:
    """A field that must be a finite number; if it is missing or null, the default is used if there is one."""
    value = row.get(key)
    if value is None and default is not None:
        return default
    return _finite(value, key)


def _finite(value: Any, key: str) -> float:
    # Compared with the largest float, since math.isfinite raises for an integer beyond the range of float.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        raise RowError(f"{key}: expected a finite number, got {_shown(value)}")
    return float(value)


def attributes(row: dict[str, Any], key: str) -> dict[str, float]:
    """A field with named finite numbers; a missing field has no values, and null values are left out."""
    values = row.get(key)
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise RowError(f"{key}: expected an object of named numbers, got {_shown(values)}")
    return {name: _finite(value, f"{key}.{name}") for name, value in values.items() if value is not None}


def messages(value: Any, key: str) -> tuple[Message, ...]:
    """A list of messages; a text is read as one user message."""
    if isinstance(value, str):
        return (Message("user", value),)
    if not isinstance(value, list):
        raise RowError(f"{key}: expected text or a list of messages, got {_shown(value)}")
    turns = []
    for index, turn in enumerate(value):
        if not (isinstance(turn, dict) and isinstance(turn.get("role"), str) and isinstance(turn.get("content"), str)):
            raise RowError(f"{key}[{index}]: expected {{role, content}} as text, got {_shown(turn)}")
        turns.append(Message(turn["role"], turn["content"]))
    return tuple(turns)


class Origin(TypedDict):
    """Annotator, time, domain and sampling probability of a row; None where the row does not give it."""

    annotator: str | None
    created_at: str | None
    domain: str | None
    sampling_probability: float | None


def origin(row: dict[str, Any]) -> Origin:
    """The origin of a row, its fields as text but for the probability."""
    annotator, created_at, domain = (
        None if row.get(name) is None else str(row[name]) for name in ("annotator", "created_at", "domain")
    )
    probability = None if row.get("sampling_probability") is None else number(row, "sampling_probability")
    return Origin(annotator=annotator, created_at=created_at, domain=domain, sampling_probability=probability)


def _shown(value: Any) -> str:
    shown = repr(value)
    return f"{type(value).__name__} {shown[:60]}{'...' if len(shown) > 60 else ''}"
