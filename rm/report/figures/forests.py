"""Estimates from top to bottom, with a reference value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rm.report.figures.drawing import GREEN, RED, SOFT, Drawn, down, draw, label, mark
from rm.stats.finding import Finding


def forest(findings: Sequence[Finding], names: Sequence[str], reference: float, xlabel: str) -> Drawn:
    """Green if the whole interval lies above the reference, red if it lies below, grey if it holds the reference."""
    ys = list(range(len(findings)))[::-1]

    def paint(axes: Any) -> None:
        mark(axes, x=reference)
        for y, finding in zip(ys, findings, strict=True):
            down(axes, [y], [finding], color=_colour(finding, reference))
        axes.set_yticks(ys, [label(name) for name in names])
        axes.set(xlabel=xlabel, ylim=(-0.6, len(findings) - 0.4))

    return draw(0.7 + 0.22 * len(findings), paint)


def _colour(finding: Finding, reference: float) -> str:
    return GREEN if finding.ci_low > reference else RED if finding.ci_high < reference else SOFT
