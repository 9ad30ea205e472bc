"""Coefficients of style for labels and model, and accuracies of heuristics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rm.report.figures.drawing import BLUE, GREEN, ORANGE, RED, SOFT, Drawn, down, draw, label, mark, whiskers
from rm.report.tables import FeatureRow, Level

_SIDES = (
    ("labels", "label", SOFT, 0.22),
    ("model", "model", BLUE, 0.0),
    ("added by the model", "added", ORANGE, -0.22),
)
"""Title, field of a `FeatureRow`, colour, and shift within the row."""


def coefficients(rows: Sequence[FeatureRow]) -> Drawn:
    """For each feature: the coefficient of the labels, that of the model, and what the model adds."""
    ys = list(range(len(rows)))[::-1]

    def paint(axes: Any) -> None:
        mark(axes, x=0)
        for title, side, colour, shift in _SIDES:
            known = [(y, found) for y, row in zip(ys, rows, strict=True) if (found := getattr(row, side))]
            if known:
                known_ys, found = zip(*known, strict=True)
                down(axes, [y + shift for y in known_ys], found, color=colour, markersize=4, capsize=0, label=title)
        axes.set_yticks(ys, [label(row.feature) for row in rows])
        axes.set(ylim=(-0.6, len(rows) - 0.4), xlabel="log-odds per root mean square difference")
        axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=3, columnspacing=1, handletextpad=0.2)

    return draw(0.95 + 0.3 * len(rows), paint)


def baselines(levels: Sequence[Level]) -> Drawn:
    """Accuracies as bars, the heuristics first."""
    colours = {"baseline": SOFT, "champion": ORANGE, "model": BLUE, "ceiling": GREEN}

    def paint(axes: Any) -> None:
        ys = list(range(len(levels)))[::-1]
        known = [level.accuracy for level in levels]
        axes.barh(ys, known, color=[colours[level.kind] for level in levels], height=0.62, alpha=0.75)
        for y, level in zip(ys, levels, strict=True):
            end = level.accuracy
            if level.finding is not None:
                bars = whiskers([level.finding])
                axes.errorbar([level.accuracy], [y], xerr=bars, fmt="none", ecolor=RED, capsize=2)
                end += float(bars[1, 0])
            axes.text(end + 0.02, y, f"{level.accuracy:.3f}", va="center")
        mark(axes, x=0.5)
        axes.set_yticks(ys, [level.title for level in levels])
        axes.set(xlim=(0, 1.12), xticks=(0, 0.25, 0.5, 0.75, 1), xlabel="accuracy")

    return draw(0.7 + 0.25 * len(levels), paint)
