"""One reader a source layout; each turns one row into judgements.

A layout is a module with ``NAME``, ``KEYS`` (what a row must hold, for the error message), ``matches(row)`` and
``read(row)``. To add one, write the module and name it in `FORMATS`; the first that matches a row reads it.
"""

from __future__ import annotations

from typing import Any, Protocol, cast

from rm.data.formats import alpaca_eval, hh_rlhf, judgement, trl
from rm.data.formats.row import RowError
from rm.data.preferences import Judgement, problem


class Format(Protocol):
    """What a layout module offers."""

    NAME: str
    KEYS: str

    def matches(self, row: dict[str, Any]) -> bool:
        """Whether this layout can read the row."""
        ...

    def read(self, row: dict[str, Any]) -> Judgement:
        """The row's judgement; RowError says what is wrong with it."""
        ...


# HH-RLHF before TRL: both have only `chosen` and `rejected` as text, and its turn markers tell it apart.
FORMATS = tuple(cast(Format, module) for module in (judgement, alpaca_eval, hh_rlhf, trl))


def read_judgement(row: Any) -> Judgement:
    """Turn a row of any known layout into a judgement that can be used.

    Raises
    ------
    RowError
        Saying why the row cannot be used.
    """
    if not isinstance(row, dict):
        raise RowError(f"expected an object with named fields, got {type(row).__name__}")
    layout = next((layout for layout in FORMATS if layout.matches(row)), None)
    if layout is None:
        known = "; ".join(f"{layout.NAME}: {layout.KEYS}" for layout in FORMATS)
        raise RowError(f"no known layout has the fields {sorted(map(str, row))}. Known: {known}")
    found = layout.read(row)
    if reason := problem(found):
        raise RowError(reason)
    return found
