"""Accuracy against bias of several models: what one costs in the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from rm.report.figures.drawing import BLUE, ORANGE, SOFT, Drawn, draw, label, mark, whiskers
from rm.stats.finding import Finding


class Point(NamedTuple):
    """One model."""

    name: str
    accuracy: Finding
    bias: Finding
    """In shares of win probability; its sign does not count."""
    is_plain: bool
    """Whether it was trained without remedy."""


def trade_off(points: Sequence[Point]) -> Drawn:
    """Models by their worst bias, in points, and their accuracy, both with intervals; the upper left is better.

    Parameters
    ----------
    points : sequence of Point
    """

    def paint(axes: Any) -> None:
        mark(axes, x=0)
        bars = []
        for number, point in enumerate(points, start=1):
            low, high = sorted((abs(point.bias.ci_low), abs(point.bias.ci_high)))
            size = abs(point.bias.estimate)
            low = 0.0 if point.bias.ci_low < 0 < point.bias.ci_high else low
            drawn = axes.errorbar(
                [100 * size],
                [point.accuracy.estimate],
                xerr=[[100 * max(size - low, 0.0)], [100 * max(high - size, 0.0)]],
                yerr=whiskers([point.accuracy]),
                fmt="s" if point.is_plain else "o",
                color=ORANGE if point.is_plain else BLUE,
                ecolor=SOFT,
                elinewidth=0.8,
                capsize=2,
            )
            where = (100 * size, point.accuracy.estimate)
            axes.annotate(f"{number}", where, xytext=(4, 4), textcoords="offset points", fontsize=8)
            bars.append(drawn)
        axes.set(xlabel="worst bias, points of win probability", ylabel="accuracy")
        # Beside the points, long names would cover each other.
        names = [f"{number} {label(point.name, 40)}" for number, point in enumerate(points, start=1)]
        axes.figure.legend(bars, names, loc="outside lower left")

    return draw(2.9 + 0.17 * len(points), paint, wide=8.0)  # its page has one column
