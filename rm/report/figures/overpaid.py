"""What the model pays for features, and what the labels still ask of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rm.audit.records import OverpaidRow
from rm.report.figures.drawing import BLUE, ORANGE, Drawn, draw, label, mark

_SIDES = (("the labels still ask", "asked", ORANGE, -0.16), ("the model pays", "paid", BLUE, 0.16))
"""Title, field of an `OverpaidRow`, colour, and shift within the row."""


def forest(rows: Sequence[OverpaidRow], critical_value: float) -> Drawn:
    """Paid and asked with their simultaneous bounds, from top to bottom, in points of win probability."""
    ys = list(range(len(rows)))[::-1]

    def paint(axes: Any) -> None:
        mark(axes, x=0)
        for title, side, colour, shift in _SIDES:
            values = [100 * getattr(row, side) for row in rows]
            bars = [100 * critical_value * getattr(row, f"{side}_error") for row in rows]
            places = [y + shift for y in ys]
            axes.errorbar(values, places, xerr=bars, fmt="o", markersize=4, capsize=2, color=colour, label=title)
        axes.set_yticks(ys, [_name(row) for row in rows])
        axes.set(ylim=(-0.6, len(rows) - 0.4), xlabel="points of win probability per usual difference")
        axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=2, columnspacing=1, handletextpad=0.2)

    return draw(0.95 + 0.36 * len(rows), paint)


def _name(row: OverpaidRow) -> str:
    return label(row.feature if row.within is None else f"{row.feature}, {row.within}")
