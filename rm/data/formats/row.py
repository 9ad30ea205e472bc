"""Reading single fields of a row, with errors that say what was expected and what was found."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypedDict

from rm.data.preferences import BOUNDS, is_unicode


class RowError(ValueError):
    """A row cannot be used; the message is the reason, which is kept in the quarantine."""


@contextmanager
def within(key: str) -> Iterator[None]:
    """Errors about a field inside a column name the column too."""
    try:
        yield
    except RowError as error:
        raise RowError(f"{key}.{error}") from None


def text(row: dict[str, Any], key: str) -> str:
    """A field that must be text."""
    return as_text(row.get(key), key)


def as_text(value: Any, key: str) -> str:
    """A value that must be text."""
    if not isinstance(value, str):
        raise RowError(f"{key}: expected text, got {shown(value)}")
    return unicode(value, key)


def unicode(value: str, key: str) -> str:
    """A text that can be written: not one with half a surrogate pair."""
    if not is_unicode(value):
        raise RowError(f"the {key} holds half a surrogate pair, which is not valid Unicode")
    return value


def texts(row: dict[str, Any], key: str) -> tuple[str, ...]:
    """A field that must be a list of at least one text."""
    value = row.get(key)
    if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
        raise RowError(f"{key}: expected a list of texts, got {shown(value)}")
    return tuple(unicode(one, f"{key}[{place}]") for place, one in enumerate(value))


def listed(row: dict[str, Any], key: str) -> list[Any]:
    """A field that must be a list, or a list as JSON text, as in CSV."""
    value = row.get(key)
    if isinstance(value, str):
        try:
            value = json_value(value)
        except RowError:
            raise
        except (ValueError, RecursionError):
            value = row[key]
    if not isinstance(value, list):
        raise RowError(f"{key}: expected a list, got {shown(value)}")
    return value


def verdict(row: dict[str, Any], key: str, preferences: Mapping[str, float]) -> float:
    """The preference for the first response that a field names.

    Parameters
    ----------
    row, key
        The field holds one of the names; a name may be a whole number.
    preferences : mapping of name to float
        At least two.

    Raises
    ------
    RowError
        If the field is empty, so that there is no verdict, or holds anything else.
    """
    value = row.get(key)
    *some, last = preferences
    known = f"{', '.join(some)} or {last}"
    if value is None or value == "":
        raise RowError(f"{key}: expected {known}, got none: there is no verdict")
    small = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 100
    name = f"{value:g}" if small else value
    if not isinstance(name, str) or name not in preferences:
        raise RowError(f"{key}: expected {known}, got {shown(value)}")
    return preferences[name]


def number(row: dict[str, Any], key: str, default: float | None = None) -> float:
    """A field that must be a finite number, or its text, as in CSV; missing or null is the default if there is one."""
    value = row.get(key)
    if value is None and default is not None:
        return default
    return finite(value, key)


def numbers(row: dict[str, Any], key: str) -> tuple[float, ...]:
    """A field that must be a list of finite numbers."""
    value = row.get(key)
    if not isinstance(value, list):
        raise RowError(f"{key}: expected a list of numbers, got {shown(value)}")
    return tuple(finite(each, f"{key}[{place}]") for place, each in enumerate(value))


def part(value: Any, key: str, read: Iterable[str], known: Iterable[str] = ()) -> dict[str, Any]:
    """An object within a column.

    Parameters
    ----------
    value : Any
    key : str
        Where it is, for the error.
    read, known
        Its fields that are read, and those that are metadata.

    Raises
    ------
    RowError
        If it is no object, or holds text in any other field.
    """
    if not isinstance(value, dict):
        raise RowError(f"{key}: expected an object, got {shown(value)}")
    for name in [name for name in value if name not in {*read, *known}]:
        found = value[name]
        if found not in (None, "", [], {}) and not isinstance(found, bool | int | float):
            raise RowError(f"{key}.{name}: may be a part of what was compared, and is not read, got {shown(found)}")
    return value


def parts(row: dict[str, Any], key: str, read: Iterable[str], known: Iterable[str] = ()) -> list[dict[str, Any]]:
    """A field that must be a list of objects; each as `part` reads it."""
    value = row.get(key)
    if not isinstance(value, list):
        raise RowError(f"{key}: expected a list of objects, got {shown(value)}")
    return [part(each, f"{key}[{place}]", read, known) for place, each in enumerate(value)]


_FLAGS = {"true": True, "false": False, "1": True, "0": False}


def flag(row: Mapping[str, Any], key: str) -> bool:
    """A field that is true or false, also as text or 1 and 0; missing, null or empty is false."""
    value = row.get(key)
    if value is None or value == "":
        return False
    name = str(value).strip().lower() if isinstance(value, bool | int | str) else ""
    if name not in _FLAGS:
        raise RowError(f"{key}: expected true or false, got {shown(value)}")
    return _FLAGS[name]


def optional_number(row: dict[str, Any], key: str) -> float | None:
    """A field that is a finite number or missing or null."""
    return None if row.get(key) is None else number(row, key)


MAX_NUMBER = 1e12
"""Largest size of any number that is read, such as a rating, a rank or a reward: squares and sums of it stay exact
enough, and more is a broken file."""
MAX_TIME, MAX_NAME = 5e18, 1e20
"""Largest number that may stand for a time, nanoseconds since 1970 in the year 2128, and for a name, above all ids of
64 bits."""
_BOUNDED = frozenset({*BOUNDS, "margin"})
"""Fields with smaller bounds of their own."""
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
"""Less than Python reads as a number: ``1_000`` and full-width digits may be something else."""


def as_number(value: Any) -> Any:
    """A number in place of its text, such as "0.5", as CSV has it; anything else as it is."""
    return float(value) if isinstance(value, str) and _NUMBER.fullmatch(value.strip()) else value


def finite(value: Any, key: str) -> float:
    """A value that must be a finite number, or its text."""
    value = as_number(value)
    # Compared with the largest float, since math.isfinite raises for an integer beyond the range of float.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        raise RowError(f"{key}: expected a finite number, got {shown(value)}")
    if abs(value) > MAX_NUMBER and key not in _BOUNDED:
        raise RowError(f"{key}: expected a number of size {MAX_NUMBER:g} at most, got {float(value):g}")
    return float(value)


def attributes(row: dict[str, Any], key: str) -> dict[str, float]:
    """A field with named finite numbers; a missing field has no values, and null values are left out."""
    values = row.get(key)
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise RowError(f"{key}: expected an object of named numbers, got {shown(values)}")
    return {name: finite(value, f"{key}.{name}") for name, value in values.items() if value is not None}


class Origin(TypedDict):
    """Annotator, time, domain and sampling probability of a row; None where the row does not give it."""

    annotator: str | None
    created_at: str | None
    domain: str | None
    sampling_probability: float | None


ANNOTATOR = (
    "annotator",
    "annotator_id",
    "user_id",
    "worker",
    "worker_id",
    "annotator_index",
    "judge",
    "labeler",
    "rater",
)
"""Columns that name who judged, so that votes of several people are votes; the first that a row has counts."""
CREATED_AT = ("created_at", "timestamp", "tstamp")
ORIGIN = {
    **dict.fromkeys(ANNOTATOR, "annotator"),
    **dict.fromkeys(CREATED_AT, "time"),
    "domain": "domain",
    "sampling_probability": "probability with which the pair was chosen to be annotated, for the audit",
}
"""Columns that say where a row comes from, to what becomes of them."""
COMMON = {**ORIGIN, "tools": "the tools that the assistant could call, before the prompt: a list, also as JSON text"}
"""Columns that every format reads, to what becomes of them."""


def origin(row: dict[str, Any], domain: str = "domain") -> Origin:
    """The origin of a row, its fields as text but for the probability; the domain is in the given column."""
    return Origin(
        annotator=name_of(row, ANNOTATOR),
        created_at=name_of(row, CREATED_AT, MAX_TIME),
        domain=name_of(row, (domain,)),
        sampling_probability=optional_number(row, "sampling_probability"),
    )


def name_of(row: Mapping[str, Any], names: tuple[str, ...], most: float = MAX_NAME) -> str | None:
    """The name in the first of these fields that has one, as text.

    Raises
    ------
    RowError
        If a field holds a list or the like, or a number larger than ``most``.
    """
    for name in names:
        if name in row and (found := _named(row[name], name, most)) is not None:
            return found
    return None


def _named(value: Any, key: str, most: float) -> str | None:
    """A name as text; an empty one and NaN, as a missing one in a column of numbers, are none."""
    if value is None or value == "" or value != value:  # noqa: PLR0124 - only NaN differs from itself
        return None
    if isinstance(value, bytes | list | dict):
        raise RowError(f"{key}: expected a name, got {shown(value)}")
    if isinstance(value, int | float) and not abs(value) <= most:
        raise RowError(f"{key}: expected text, or a number of size {most:g} at most, got {shown(value)}")
    return str(int(value)) if isinstance(value, float) and value.is_integer() else unicode(str(value), key)


def json_value(text: str | bytes) -> Any:
    """A JSON value with each key of an object once.

    Raises
    ------
    RowError
        If a key comes twice: one of its values would be lost.
    ValueError, RecursionError
        If it is no JSON that Python can hold.
    """
    return json.loads(text, object_pairs_hook=object_of_pairs)


def object_of_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; raises RowError if a key comes twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        times = Counter(key for key, _ in pairs)
        raise RowError(f"expected each key once, got {next(key for key in times if times[key] > 1)!r:.100} twice")
    return found


def shown(value: Any) -> str:
    """A value with its type for an error, cut to 60 characters."""
    text = repr(value[:61] if isinstance(value, str) else value)  # of a long text no copy
    return f"{type(value).__name__} {text[:60]}{'...' if len(text) > 60 else ''}"
