"""Columns under names of your own: which column is the prompt, which the chosen response, and so on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rm.data.formats.row import RowError

FIELDS = (
    *("prompt", "input", "system", "history", "chosen", "rejected", "first", "second", "preference"),
    *("score_chosen", "score_rejected", "margin", "target_margin", "weight", "annotator", "created_at", "domain"),
    *("sampling_probability", "tools", "reasoning_chosen", "reasoning_rejected", "reasoning_first", "reasoning_second"),
)
"""What a column can be named as; the names are those of the formats ``trl`` and ``judgement``."""

_HINTS = {
    "prompt": r"prompt|question|query|instruction|context|input|ask|request|^q$",
    "chosen": r"chosen|good|better|best|win|prefer|accept|positive|pos$",
    "rejected": r"reject|bad|worse|worst|los|dispref|negative|neg$",
    "first": r"(response|answer|output|completion|text|reply)[_ -]?(a|1|0|left|one)$",
    "second": r"(response|answer|output|completion|text|reply)[_ -]?(b|2|right|two)$",
    "preference": r"preference|label|winner|vote|choice",
}


def named(row: dict[str, Any], fields: Mapping[str, str], ignored: tuple[str, ...]) -> dict[str, Any]:
    """The row with its columns under the names of `FIELDS`.

    Parameters
    ----------
    row : dict
    fields : mapping
        Name in `FIELDS` to the column that holds it; ``a.b`` is field b of the object in column a.
    ignored : tuple of str
        Columns to leave out, or parts of one as ``a.b``.

    Raises
    ------
    RowError
        If the row lacks a column that is named.
    """
    if not fields and not ignored:
        return row
    if len(set(fields.values())) < len(fields):
        raise RowError(f"ingest.fields: expected a column of its own for each field, got {dict(fields)}")
    rest, found = row, {}
    for name, path in fields.items():
        found[name] = _at(row, path)
    if isinstance(found.get("preference"), str):
        found["preference"] = _side(found["preference"], fields)
    for path in (*fields.values(), *ignored):
        rest = _without(rest, [path] if path in rest else path.split("."))
    if doubled := sorted(found.keys() & rest.keys()):
        raise RowError(
            f"{doubled[0]}: ingest.fields takes it from {fields[doubled[0]]}, but the row has such a column too; "
            f"leave that one out with --set 'ingest.ignore=[{doubled[0]}]'"
        )
    return {**found, **rest}


def _side(verdict: str, fields: Mapping[str, str]) -> str:
    """The name of the field whose column a verdict names, or ends like; any other verdict as it is."""
    columns = {fields[name]: name for name in ("first", "second") if name in fields}
    if verdict in columns or _PLAIN.fullmatch(verdict):
        return columns.get(verdict, verdict)
    endings = {_ending(column): name for column, name in columns.items()} | {None: verdict}
    if "0" in endings and (_ending(verdict) or "").isdigit():
        raise RowError(
            f"{fields['preference']}: expected a verdict with the name of a column, such as {fields['first']}, "
            f"got {verdict!r:.60}, which may be counted from 0 or from 1"
        )
    return endings.get(_ending(verdict), verdict)


def _ending(name: str) -> str | None:
    """The letter or digit that a name ends with, such as a in model_a."""
    found = _ENDING.search(name.strip().lower())
    return found[1] if found else None


_ENDING = re.compile(r"(?:^|[ _.-])([a-z0-9])$")
_PLAIN = re.compile(r"[\d.eE+-]+")
"""A number, which is a preference."""


def _at(row: dict[str, Any], path: str) -> Any:
    if path in row:
        return row[path]
    value: Any = row
    for part in path.split("."):
        if not isinstance(value, dict) or part not in value:
            raise RowError(f"{path}: ingest.fields names it, but the row has no such column")
        value = value[part]
    return value


def _without(row: dict[str, Any], path: list[str]) -> dict[str, Any]:
    name, *inner = path
    rest = {key: value for key, value in row.items() if key != name}
    if inner and isinstance(row.get(name), dict):
        rest[name] = _without(row[name], inner)
    return rest


def suggested(row: Mapping[str, Any]) -> str:
    """The nearest format and the ``ingest.fields`` that would read the row, as the end of an error."""
    guessed: dict[str, str | None] = {}
    left = list(map(str, row))

    def guess(*names: str) -> bool:
        for name in names:
            guessed[name] = name if name in left else _like(left, _HINTS[name])
        found = {guessed[name] for name in names} - {None}
        left[:] = [each for each in left if ascii(each)[1:-1] not in found]
        return len(found) == len(names)

    two = ("first", "second", "preference") if guess("first", "second") else ("chosen", "rejected")
    guess(*two[-2:] if "chosen" in two else two[-1:])
    guess("prompt")  # last: chosen_instruction is no instruction
    nearest = "judgement" if "first" in two else "trl"
    missing = [name for name in ("prompt", *two) if guessed[name] is None]
    if len(missing) == 1 and all(guessed[name] in (name, None) for name in guessed):
        return f"nearest: {nearest}, of which the row has no {missing[0]}"
    pairs = ", ".join(f"{name}: {guessed[name] or 'COLUMN'}" for name in ("prompt", *two))
    return f"nearest: {nearest}. Say which column is what, such as --set 'ingest.fields={{{pairs}}}'"


def _like(names: Sequence[str], hint: str) -> str | None:
    return next((ascii(name)[1:-1] for name in names if re.search(hint, name.lower())), None)
