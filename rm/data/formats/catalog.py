"""The formats of annotation rows, and which of them reads a row.

To add one, write a module with ``FORMATS`` and list it here. A row's columns decide: of the formats whose required
columns it has, the one that leaves the fewest columns unknown reads it; then the one that requires more; then the
earlier one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import accumulate, takewhile
from types import MappingProxyType
from typing import Any, NamedTuple

from rm.data.formats import (
    alpaca_eval,
    arena,
    argilla,
    argilla_exports,
    benchmarks,
    helpsteer,
    judgement,
    judges,
    label_studio,
    ms_swift,
    nectar,
    nemo,
    numbered,
    oasst,
    openbmb,
    other_prompts,
    stack_exchange,
    summaries,
    trl,
    webgpt,
)
from rm.data.formats.fields import named, suggested
from rm.data.formats.format import Format, is_empty, left_out
from rm.data.formats.no_comparisons import no_comparison
from rm.data.formats.row import COMMON, RowError
from rm.data.formats.tools import tools_of
from rm.data.preferences import Judgement, problem

FORMATS: tuple[Format, ...] = tuple(
    format_
    for module in (
        *(judgement, alpaca_eval),
        benchmarks,  # before trl, whose columns its lists have too
        *(trl, other_prompts, ms_swift, nemo, argilla, helpsteer, openbmb, nectar, numbered, webgpt),
        *(arena, summaries, stack_exchange, oasst, judges, argilla_exports, label_studio),
    )
    for format_ in module.FORMATS
)


class Reading(NamedTuple):
    """What was read of a row."""

    format: Format
    judgements: tuple[Judgement, ...]
    """At least one."""
    left_out: tuple[str, ...]
    """Columns that hold something that no part of the row was made of."""


def read_row(
    row: Any,
    fields: Mapping[str, str] = MappingProxyType({}),
    ignored: tuple[str, ...] = (),
    format_name: str | None = None,
) -> Reading:
    """Turn a row of any known format into judgements that can be used.

    Parameters
    ----------
    row : dict
        Anything else is an error of the row.
    fields, ignored, format_name
        As ``fields``, ``ignore`` and ``format`` in `rm.data.config.IngestConfig`.

    Raises
    ------
    RowError
        If the row cannot be used; the message is the reason.
    """
    if not isinstance(row, dict):
        raise RowError(f"expected an object with named fields, got {type(row).__name__}")
    row = named(row, fields, ignored)
    format_ = format_of(row, format_name)
    if fields and (unused := sorted(fields.keys() - format_.columns.keys() - COMMON.keys())):
        raise RowError(f"{unused[0]}: ingest.fields names it, but the format {format_.name} does not read it")
    try:
        found = format_.read(row)
    except UnicodeEncodeError:
        raise RowError("a text holds half a surrogate pair, which is not valid Unicode") from None
    if not found:
        raise RowError("expected at least two different responses to compare")
    if tools := tools_of(row):
        found = [replace(each, prompt=(*tools, *each.prompt)) for each in found]
    for each in found:
        if reason := problem(each):
            raise RowError(reason)
    unknown = format_.unknown(frozenset(row)) - format_.own(row)
    left = left_out(found, row, unknown, infers_prompt=format_.infers_prompt(row))
    return Reading(format_, tuple(found), tuple(left))


def read_judgement(row: Any) -> Judgement:
    """The judgement of a row that compares two responses.

    Raises
    ------
    RowError
        If the row cannot be used, or compares more than two responses.
    """
    found = read_row(row).judgements
    if len(found) > 1:
        raise RowError(f"expected one pair of responses, got {len(found)} judgements in one row")
    return found[0]


def format_of(row: Mapping[str, Any], name: str | None = None) -> Format:
    """The format of a row, the one with a given name if there is a name.

    Raises
    ------
    RowError
        If there is none, the message says which one is nearest and how to name the row's columns; or if the row lacks a
        column of the format that was named.
    """
    if name is not None:
        format_ = next(each for each in FORMATS if each.name == name)
        if missing := sorted(format_.required - row.keys()):
            raise RowError(f"{missing[0]}: ingest.format is {name}, but the row has no such column")
        if not format_.fits(dict(row)):
            raise RowError(f"ingest.format is {name}, but the values of the row are not of that format")
        return format_
    filled = frozenset(name for name, value in row.items() if not is_empty(value))
    for format_ in _candidates(frozenset(row), filled):
        if format_.fits(dict(row)):
            return format_
    if reason := no_comparison(row):
        raise RowError(reason)
    raise RowError(f"no known format has the columns {_shown_names(row)}; {suggested(row)}")


@lru_cache(maxsize=256)
def _candidates(names: frozenset[str], filled: frozenset[str]) -> tuple[Format, ...]:
    """The formats that may read rows with these columns, the likeliest first.

    An empty prompt speaks against a format; an empty label does not, since another label must not take its place.
    """
    having = [format_ for format_ in FORMATS if format_.required <= names]

    def unlikely(format_: Format) -> tuple[int, int, int]:
        return len(format_.prompt - filled), len(format_.unknown(filled)), -len(format_.required)

    return tuple(sorted(having, key=unlikely))


_MOST_SHOWN = 100
"""Most characters of the columns' names in an error."""


def _shown_names(row: Mapping[str, Any]) -> str:
    names = sorted(map(ascii, map(str, row)))
    ends = accumulate(len(name) + 2 for name in names)
    num_shown = max(1, sum(1 for _ in takewhile(lambda end: end - 2 <= _MOST_SHOWN, ends)))
    rest = len(names) - num_shown
    return f"{', '.join(names[:num_shown]):.200}" + (f" and {rest} more" if rest else "")
