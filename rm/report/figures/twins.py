"""What changes on twins: pairs lost and gained, or the reward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rm.audit.twin_results import TwinResult
from rm.report.figures.drawing import GREEN, INK, RED, SOFT, Drawn, down, draw, label, mark

_SIDES = (("right to wrong", "twin_lost", -1, RED), ("wrong to right", "twin_gained", 1, GREEN))
"""Title, kind of finding, direction and colour."""


def changes(results: Sequence[TwinResult]) -> Drawn:
    """For each kind of twin the pairs lost and gained with the change of accuracy, or without pairs that of the reward.

    Parameters
    ----------
    results : sequence of TwinResult
        All with pairs, or all without.
    """
    ys = list(range(len(results)))[::-1]
    in_pairs = all(result.num_pairs for result in results)

    def paint(axes: Any) -> None:
        mark(axes, x=0)
        (_pairs if in_pairs else _rewards)(axes, ys, results)
        axes.set_yticks(ys, [label(result.kind or "twins") for result in results])
        axes.set(ylim=(-0.6, len(results) - 0.4))

    return draw((1.05 if in_pairs else 0.75) + 0.32 * len(results), paint)


def _pairs(axes: Any, ys: Sequence[int], results: Sequence[TwinResult]) -> None:
    for title, kind, direction, colour in _SIDES:
        shares = [direction * result.by_kind[kind].estimate for result in results]
        axes.barh(ys, shares, color=colour, alpha=0.6, height=0.6, label=title)
    net = [result.by_kind["twin_accuracy_change"] for result in results]
    down(axes, ys, net, color=INK, markersize=4, label="change of accuracy")
    axes.xaxis.set_major_formatter(lambda share, _: f"{100 * abs(share):.3g}%")  # both sides are shares, none below 0
    axes.set(xlabel="share of the pairs")
    axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=3, columnspacing=1, handletextpad=0.3)


def _rewards(axes: Any, ys: Sequence[int], results: Sequence[TwinResult]) -> None:
    for y, result in zip(ys, results, strict=True):
        found = result.by_kind["twin_change"]
        clear = found.ci_low > 0 or found.ci_high < 0
        down(axes, [y], [found], color=RED if clear else SOFT)
    axes.set(xlabel="change of the reward, standard deviations")
