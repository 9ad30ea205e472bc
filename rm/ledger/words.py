"""How the ledger says what it found."""

from __future__ import annotations

from collections.abc import Sequence

from rm.ledger.records import Against, Change, Comparison, Ledger, Run
from rm.report.text import number, points, visible

HEADLINE = "One bias fell while another rose"
_MOST = 3
"""Biases that a sentence names on each side."""
_THE_OLD: dict[Against, str] = {"previous": "the run before", "registered": "the last registered one"}


def value(unit: str, share: float) -> str:
    """A number in its unit, without the unit's name."""
    return number(share) if unit == "correlation" else points(share)


def moved(change: Change) -> str:
    """A bias before and after, in words."""
    unit = {"points": " points", "percent": " %"}.get(change.unit, "")
    return f"{change.title} ({value(change.unit, change.before)} to {value(change.unit, change.after)}{unit})"


def compared_with(ledger: Ledger) -> str:
    """What the last run is compared with."""
    against = {one.against: one.old for one in ledger.newest}
    if not against:
        return "no earlier run is shown, so that it is compared with nothing"
    if "previous" not in against:
        return f"compared with {_THE_OLD['registered']}"
    if "registered" in against:
        return "compared with the run before it and the last registered one"
    before = next(run for run in ledger.runs if run.run_id == against["previous"])
    if before.version is not None:
        return "compared with the run before it, the last registered one"
    return "compared with the run before it; no registered one before it is shown"


def alert(comparison: Comparison, new: Run, old: Run) -> str:
    """Which biases fell and which rose, to stand after `HEADLINE`."""
    fell, rose = _several(comparison.fell), _several(comparison.rose)
    return visible(f"{new.label} against {old.label}, {_THE_OLD[comparison.against]}. Fell: {fell}. Rose: {rose}.")


def _several(changes: Sequence[Change]) -> str:
    more = f"; {len(changes) - _MOST} more" if len(changes) > _MOST else ""
    return "; ".join(map(moved, changes[:_MOST])) + more
