"""The probes: how often an edit has the higher reward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rm.probes.results import ProbeResult
from rm.report.figures.drawing import BAND, GREEN, INK, ORANGE, RED, SOFT, Drawn, across, down, draw, label, mark
from rm.report.tables import Outcome, families, outcome

_COLOURS: dict[Outcome, str] = {
    "as expected": GREEN,
    "in doubt": ORANGE,
    "not as expected": RED,
    "only reported": INK,
    "undefined": SOFT,
}


def forest(results: Sequence[ProbeResult]) -> Drawn:
    """Win rates by family: the allowed band as a stripe, the estimate with its interval, the placebo hollow."""
    lines: list[str | ProbeResult] = []
    for family, members in families(results).items():
        lines += [family, *members]
    height = len(lines)

    def paint(axes: Any) -> None:
        mark(axes, x=0.5)
        for y, line in enumerate(reversed(lines)):
            if isinstance(line, ProbeResult):
                _row(axes, y, line)
        names = [line if isinstance(line, str) else label(line.name) for line in reversed(lines)]
        axes.set_yticks(range(height), [name.replace("_", " ") for name in names])
        for tick, line in zip(axes.get_yticklabels(), reversed(lines), strict=True):
            tick.set_fontweight("bold" if isinstance(line, str) else "normal")
        axes.tick_params(axis="y", length=0)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.6, height - 0.4), xlabel="win rate of the edit over the original")

    return draw(0.6 + 0.2 * height, paint)


def _row(axes: Any, y: int, result: ProbeResult) -> None:
    if result.low is not None or result.high is not None:
        low, high = result.low or 0.0, 1.0 if result.high is None else result.high
        axes.barh([y], [high - low], left=[low], height=0.72, color=BAND, zorder=0)
    down(axes, [y], [result.win_rate], color=_COLOURS[outcome(result)], markersize=4.5)
    if result.over_placebo is not None:
        placebo = result.win_rate.estimate - result.over_placebo.estimate
        axes.plot([placebo], [y], "D", markersize=4, markerfacecolor="none", color=SOFT)


def doses(results: Sequence[ProbeResult]) -> Drawn:
    """Mean change of the reward by dose, one line per probe."""

    def paint(axes: Any) -> None:
        mark(axes, y=0)
        for index, (result, shape) in enumerate(zip(results, "os^Dv<>p" * len(results), strict=False)):
            steps = (
                np.linspace(0, 1, len(result.doses)) + 0.02 * index
            )  # probes with two and with three doses share their ends
            name = label(result.name).replace("_", " ")
            across(
                axes, steps.tolist(), [dose.effect for dose in result.doses], fmt=f"{shape}-", markersize=4, label=name
            )
        axes.set_xticks([0, 1], ["weakest", "strongest"])
        axes.set(xlabel="dose", ylabel="change of reward, sd")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))

    return draw(2.4, paint)
