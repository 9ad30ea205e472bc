"""Small multiples: one small chart of each quantity over all runs, as numbers from which the page draws."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from rm.gate.policy import GatePolicy
from rm.ledger.quantities import GROUPS, Quantity
from rm.ledger.records import REJECTED, Change, Ledger, Reading, Row, Run
from rm.ledger.words import value

WIDTH, HEIGHT = 264, 104
"""Of the picture, in its own units."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 40.0, 256.0, 10.0, 84.0
_LETTER = 9.0
"""Height of a letter."""
_MOST_LABELS = 9
_OUTLYING = (10, 90)
"""Percent of the intervals' ends that a scale holds at least; longer intervals are cut at its edges."""


State = Literal["registered", "rejected", "judged"]
"""Of a run; judged: it passed, and there is no version of it."""


class Mark(NamedTuple):
    """One run in a chart."""

    x: float
    y: float
    top: float
    bottom: float
    """Ends of the interval."""
    state: State
    about: str


class Level(NamedTuple):
    """A height with its value."""

    y: float
    text: str


class Chart(NamedTuple):
    """A quantity over time."""

    key: str
    """Of the quantity."""
    title: str
    marks: tuple[Mark, ...]
    line: str
    """Through the estimates, as the points of a polyline."""
    neutral: float | None
    """Height of a model without the bias; None if no direction is a bias."""
    limits: tuple[Level, ...]
    """Of the gate's default policy."""
    ticks: tuple[Level, ...]
    """Values beside the axis: no bias, the limits, and the ends of the scale, as far as there is room."""
    labels: tuple[tuple[float, str], ...]
    """Places and names of runs below."""
    now: str
    """What the last run has, in words."""
    change: Change | None
    """The surest one of the last run."""


class _Scale(NamedTuple):
    """Values at the bottom and at the top."""

    low: float
    high: float

    def y(self, number: float) -> float:
        """The height of a value, at an edge if it lies beyond."""
        share = (number - self.low) / (self.high - self.low)
        return round(_BOTTOM - min(max(share, 0.0), 1.0) * (_BOTTOM - _TOP), 1)

    def has(self, number: float) -> bool:
        """Whether a value lies within."""
        return self.low <= number <= self.high


def by_group(ledger: Ledger) -> dict[str, tuple[Chart, ...]]:
    """The charts by title of their group, in the ledger's order; a group shares one scale.

    Parameters
    ----------
    ledger : Ledger
    """
    changes = {change.key: change for change in ledger.most_changed}
    place = {key: at for at, key in enumerate(ledger.order)}
    limits = _limits()
    found: dict[str, tuple[Chart, ...]] = {}
    for group, title in GROUPS.items():
        rows = [row for row in ledger.rows if row.quantity.group == group]
        rows.sort(key=lambda row: place[row.quantity.key])
        if rows:
            scale = _scale(rows, limits)
            found[title] = tuple(_chart(row, ledger.runs, scale, limits, changes.get(row.quantity.key)) for row in rows)
    return found


def most_changed(ledger: Ledger, most: int) -> tuple[Chart, ...]:
    """The first charts of biases in the ledger's order, whatever their group; none where there is one run only.

    Parameters
    ----------
    ledger : Ledger
    most : int
    """
    tested = {change.key for comparison in ledger.comparisons for change in comparison.changes}
    charts = {chart.key: chart for group in by_group(ledger).values() for chart in group}
    return tuple(charts[key] for key in ledger.order if key in tested)[:most]


def _limits() -> dict[str, tuple[float, ...]]:
    """The limits of each check of the default policy."""
    return {
        check.name: tuple(limit for limit in (check.min_value, check.max_value) if limit is not None)
        for check in GatePolicy().every_check
    }


def _scale(rows: Sequence[Row], limits: dict[str, tuple[float, ...]]) -> _Scale:
    readings = [reading for row in rows for reading in row.readings if reading is not None]
    ends = np.percentile([end for one in readings for end in (one.low, one.high)], _OUTLYING).tolist()
    inside = [
        *(one.estimate for one in readings),
        *(row.quantity.neutral for row in rows if row.quantity.sides),
        *(limit for row in rows for limit in limits.get(row.quantity.check or "", ())),
        *ends,
    ]
    low, high = min(inside), max(inside)
    room = 0.05 * (high - low) or 0.01
    shares = all(row.quantity.unit == "percent" for row in rows)
    return _Scale(max(low - room, 0.0), min(high + room, 1.0)) if shares else _Scale(low - room, high + room)


def _chart(
    row: Row, runs: Sequence[Run], scale: _Scale, limits: dict[str, tuple[float, ...]], change: Change | None
) -> Chart:
    quantity, places = row.quantity, _places(len(runs))
    marks = tuple(
        _mark(x, scale, reading, run, quantity)
        for x, reading, run in zip(places, row.readings, runs, strict=True)
        if reading is not None
    )
    of_check = tuple(limit for limit in limits.get(quantity.check or "", ()) if scale.has(limit))
    neutral = quantity.neutral if quantity.sides and scale.has(quantity.neutral) else None
    known = [*([] if neutral is None else [neutral]), *of_check, scale.high, scale.low]
    return Chart(
        key=quantity.key,
        title=quantity.title,
        marks=marks,
        line=" ".join(f"{mark.x},{mark.y}" for mark in marks),
        neutral=None if neutral is None else scale.y(neutral),
        limits=tuple(Level(scale.y(limit), value(quantity.unit, limit)) for limit in of_check),
        ticks=_ticks([Level(scale.y(number), value(quantity.unit, number)) for number in known]),
        labels=_labels(places, runs),
        now=_now(row),
        change=change,
    )


def _ticks(known: Iterable[Level]) -> tuple[Level, ...]:
    """Those that do not lie over one before them."""
    kept: list[Level] = []
    for level in known:
        if all(abs(level.y - other.y) >= _LETTER for other in kept):
            kept.append(level)
    return tuple(kept)


def _places(count: int) -> list[float]:
    """Where each run stands from left to right."""
    step = (_RIGHT - _LEFT) / count
    return [round(_LEFT + step * (at + 0.5), 1) for at in range(count)]


def _mark(x: float, scale: _Scale, reading: Reading, run: Run, quantity: Quantity) -> Mark:
    low, estimate, high = (value(quantity.unit, one) for one in (reading.low, reading.estimate, reading.high))
    return Mark(
        x=x,
        y=scale.y(reading.estimate),
        top=scale.y(max(reading.high, reading.estimate)),
        bottom=scale.y(min(reading.low, reading.estimate)),
        state=_state(run),
        about=f"{run.label}, {run.time:%Y-%m-%d}, {run.verdict.replace('_', ' ')}: {estimate} [{low}, {high}]",
    )


def _state(run: Run) -> State:
    if run.version is not None:
        return "registered"
    return "rejected" if run.verdict in REJECTED else "judged"


def _labels(places: Iterable[float], runs: Sequence[Run]) -> tuple[tuple[float, str], ...]:
    """The numbers of the versions; a cross for a run that was rejected. With many runs, of only some."""
    names = [run.version or ("\N{MULTIPLICATION SIGN}" if _state(run) == "rejected" else "-") for run in runs]
    every = -(-len(names) // _MOST_LABELS)
    last = len(names) - 1
    return tuple((x, name) for at, (x, name) in enumerate(zip(places, names, strict=True)) if (last - at) % every == 0)


def _now(row: Row) -> str:
    unit = {"points": " points", "percent": " %"}.get(row.quantity.unit, "")
    known = row.readings[-1]
    if known is None:
        return "not measured in the last run"
    text = f"{value(row.quantity.unit, known.estimate)}{unit}"
    before = row.readings[-2] if len(row.readings) > 1 else None
    return text if before is None else f"{value(row.quantity.unit, before.estimate)} to {text}"
