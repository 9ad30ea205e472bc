"""Reliability, margins, and best of N."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rm.audit.records import CalibrationBin
from rm.report.figures.drawing import BLUE, RED, SOFT, Drawn, across, draw, label, mark
from rm.report.tables import Series
from rm.stats.clustered import Floats

_NUM_BARS = 30


def reliability(bins: Sequence[CalibrationBin]) -> Drawn:
    """How often the model is right, by how sure it is."""

    def paint(axes: Any) -> None:
        axes.plot([0.5, 1], [0.5, 1], color=SOFT, linestyle="--", linewidth=1)
        across(axes, [one.confidence.estimate for one in bins], [one.accuracy for one in bins], color=BLUE, fmt="o-")
        axes.set(xlim=(0.48, 1.02), ylim=(0, 1.03), xlabel="how sure: sigmoid(|margin|)", ylabel="how often right")

    return draw(2.5, paint)


def margins(margin: Floats) -> Drawn:
    """Histogram of the margins; wrong pairs have another colour."""

    def paint(axes: Any) -> None:
        edges = _edges(margin)
        for values, colour, name in ((margin[margin <= 0], RED, "wrong or tied"), (margin[margin > 0], BLUE, "right")):
            axes.hist(values, bins=edges, color=colour, alpha=0.75, label=name)
        mark(axes, x=0)
        axes.set(xlabel="margin: reward of the chosen minus the rejected", ylabel="pairs")
        axes.legend(loc="upper right")

    return draw(2.5, paint)


def _edges(margin: Floats) -> Floats:
    """Edges of about 30 bars; one edge is 0, so that no bar needs both colours."""
    width = float(np.ptp(np.append(margin, 0.0))) / _NUM_BARS or 1.0
    edges: Floats = np.arange(np.floor(margin.min() / width) - 1, np.ceil(margin.max() / width) + 2) * width
    return edges


def best_of(series: Series) -> Drawn:
    """Value of the picked candidate minus the mean of all candidates, by number of candidates."""

    def paint(axes: Any) -> None:
        mark(axes, y=0)
        known = [(point.num_offered, point.gain) for point in series.points if point.gain is not None]
        offered = [num_offered for num_offered, _ in known]
        xs = [float(np.log2(num_offered)) for num_offered in offered]
        axes.plot(
            [0, *xs], [0, *(gain.estimate for _, gain in known)], color=BLUE
        )  # with one candidate nothing is picked
        across(axes, xs, [gain for _, gain in known], color=BLUE)
        axes.set_xticks([0, *xs], map(str, [1, *offered]))
        axes.set(xlabel="candidates offered", ylabel=label(series.ylabel))

    return draw(2.0, paint)
