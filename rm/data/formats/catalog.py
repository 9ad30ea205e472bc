"""The formats of annotation rows; each has a reader that turns a row into a judgement.

A format is a module with ``NAME``, ``KEYS`` (the keys of a row, for the error message), ``matches(row)`` and
``read(row)``. To add a format, write the module and add it to `FORMATS`; the first format that matches a row reads it.
"""

from __future__ import annotations

from typing import Any, Protocol, cast

from rm.data.formats import alpaca_eval, hh_rlhf, judgement, trl
from rm.data.formats.row import RowError
from rm.data.preferences import Judgement, problem


class Format(Protocol):
    """The names that a format's module must define."""

    NAME: str
    KEYS: str

    def matches(self, row: dict[str, Any]) -> bool:
        """Whether the row has this format."""
        ...

    def read(self, row: dict[str, Any]) -> Judgement:
        """The row's judgement; raises RowError if something is wrong with the row."""
        ...


# HH-RLHF before TRL: both have only `chosen` and `rejected` as text, but HH-RLHF's has turn markers.
FORMATS = tuple(cast(Format, module) for module in (judgement, alpaca_eval, hh_rlhf, trl))


def read_judgement(row: Any) -> Judgement:
    """Turn a row of any known format into a judgement that can be used.

    Raises
    ------
    RowError
        If the row cannot be used; the message is the reason.
    """
    if not isinstance(row, dict):
        raise RowError(f"expected an object with named fields, got {type(row).__name__}")
    format_ = next((each for each in FORMATS if each.matches(row)), None)
    if format_ is None:
        known = "; ".join(f"{each.NAME}: {each.KEYS}" for each in FORMATS)
        raise RowError(f"no known format has the fields {sorted(map(str, row))}. Known: {known}")
    found = format_.read(row)
    if reason := problem(found):
        raise RowError(reason)
    return found
