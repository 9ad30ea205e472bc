"""What a model picks among given candidates: how often a judge prefers it, and in which features it drifts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rm.report.figures.drawing import BLUE, GREEN, ORANGE, SOFT, Drawn, across, down, draw, label, mark
from rm.report.picks import Drift, Offered

_LOOKS = {
    "model": ("the model's pick", BLUE, "o-"),
    "random": ("a random one", SOFT, "s--"),
    "longest": ("the longest", ORANGE, "^--"),
    "oracle": ("the judge's favourite", GREEN, "D--"),
}
"""Title, colour and line of each picker."""
_PREFERRED = "preferred to the reference"
_DIM = 0.5


def win_rates(rows: Sequence[Offered]) -> Drawn:
    """How often the judge prefers the picks: by number of candidates, or from top to bottom if there is one number.

    Parameters
    ----------
    rows : sequence of Offered
        At least one of them with labels.
    """
    known = [row for row in rows if row.wins]
    return _by_picker(known[-1]) if len(known) == 1 else _by_number(known)


def _by_number(rows: Sequence[Offered]) -> Drawn:
    def paint(axes: Any) -> None:
        for index, (of, (title, colour, line)) in enumerate(_LOOKS.items()):
            places = [place + 0.06 * (index - 1.5) for place in range(len(rows))]  # so that no bar hides another
            found = [row.wins[of] for row in rows]
            across(axes, places, found, color=colour, fmt=line, markersize=4, label=title)
        axes.set_xticks(range(len(rows)), [row.title for row in rows])
        axes.set(xlabel="candidates offered", ylabel=_PREFERRED)
        axes.legend(loc="lower center", bbox_to_anchor=(0.45, 1.0), ncols=2, columnspacing=1)

    return draw(2.7, paint)


def _by_picker(row: Offered) -> Drawn:
    ys = list(range(len(row.wins)))[::-1]

    def paint(axes: Any) -> None:
        mark(axes, x=row.wins["random"].estimate)
        for y, (of, found) in zip(ys, row.wins.items(), strict=True):
            down(axes, [y], [found], color=_LOOKS[of][1])
        axes.set_yticks(ys, [_LOOKS[of][0] for of in row.wins])
        axes.set(ylim=(-0.6, len(ys) - 0.4), xlabel=_PREFERRED)

    return draw(0.75 + 0.27 * len(ys), paint)


def drifts(rows: Sequence[Drift]) -> Drawn:
    """Each feature's drift, a smaller dot for each smaller number of candidates, and the interval for all of them."""
    ys = list(range(len(rows)))[::-1]

    def paint(axes: Any) -> None:
        mark(axes, x=0)
        for y, row in zip(ys, rows, strict=True):
            *fewer, last = row.by_number
            trail = [0.0, *(one.estimate for one in row.by_number)]
            axes.plot(trail, [y] * len(trail), color=BLUE, alpha=_DIM, linewidth=1)
            for step, one in enumerate(fewer, start=1):
                axes.plot([one.estimate], [y], "o", color=BLUE, alpha=_DIM, markersize=2.5 + step, zorder=3)
            down(axes, [y], [last], color=BLUE)
        axes.set_yticks(ys, [label(row.feature) for row in rows])
        axes.set(ylim=(-0.6, len(rows) - 0.4), xlabel="standard deviations within prompts")

    return draw(0.7 + 0.22 * len(rows), paint)
