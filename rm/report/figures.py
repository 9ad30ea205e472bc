"""The figures of the report, as SVG images in data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from rm.findings import AuditReport, Bucket, Finding
from rm.stats import Floats

# One colour for text and axes that reads on white and on near-black, since an image cannot follow the page's theme.
_INK, _BLUE, _RED, _GREEN, _GREY = "#7d8590", "#3b82f6", "#e5534b", "#2da44e", "#9aa4af"
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "rmflow",  # the same figure gives the same bytes
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.family": "sans-serif",
    "font.size": 10,
}
_MAX_POINTS = 3000
_NUM_QUANTILES = 5


def _draw(width: float, height: float, draw: Any) -> str:
    """A figure's data URI; draw gets its axes."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure.subplots())
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def accuracy_by_length_difference(correct: Floats, difference: Floats) -> str:
    """Accuracy in groups from "chosen much shorter" to "chosen much longer".

    Parameters
    ----------
    correct : array of shape (B,)
    difference : array of shape (B,)
        Tokens of the chosen response minus the rejected one's.
    """
    edges = np.quantile(difference, np.linspace(0, 1, _NUM_QUANTILES + 1))
    group = np.clip(np.searchsorted(edges, difference, side="right") - 1, 0, _NUM_QUANTILES - 1)
    members = [np.flatnonzero(group == place) for place in range(_NUM_QUANTILES)]
    kept = [rows for rows in members if len(rows)]
    shares = [float(correct[rows].mean()) for rows in kept]
    labels = [f"{difference[rows].min():+.0f} to {difference[rows].max():+.0f}\nn={len(rows)}" for rows in kept]

    def draw(axes: Any) -> None:
        colours = [_RED if share < 0.5 else _BLUE for share in shares]
        bars = axes.bar(range(len(shares)), shares, color=colours, width=0.7)
        axes.bar_label(bars, [f"{share:.0%}" for share in shares], color="white", label_type="center")
        axes.axhline(0.5, color=_INK, linestyle="--", linewidth=1)
        axes.set_xticks(range(len(labels)), labels)
        axes.set(ylim=(0, 1.08), ylabel="accuracy", xlabel="tokens of the chosen response minus the rejected one's")

    return _draw(7.2, 3.2, draw)


def reward_against_length(reward: Floats, length: Floats, buckets: Sequence[Bucket], ylabel: str) -> str:
    """Every response as a point, the mean of each length bucket with its interval as a line.

    Parameters
    ----------
    reward, length : array of shape (N,)
    buckets : sequence of Bucket
        Empty: no line.
    ylabel : str
    """
    step = max(1, len(reward) // _MAX_POINTS)

    def draw(axes: Any) -> None:
        axes.scatter(length[::step], reward[::step], s=7, color=_GREY, alpha=0.45, linewidths=0, rasterized=False)
        if buckets:
            middles = [(bucket.low + bucket.high) / 2 for bucket in buckets]
            _error_bars(axes, middles, [bucket.reward for bucket in buckets], _BLUE)
        axes.set(xlabel="response tokens", ylabel=ylabel)

    return _draw(7.2, 3.2, draw)


def accuracy_by_bucket(buckets: Sequence[Bucket]) -> str:
    """Accuracy by bucket of the chosen response's tokens."""
    shown = [bucket for bucket in buckets if bucket.accuracy.num_pairs]

    def draw(axes: Any) -> None:
        _error_bars(axes, range(len(shown)), [bucket.accuracy for bucket in shown], _BLUE, line=False)
        axes.axhline(0.5, color=_INK, linestyle="--", linewidth=1)
        labels = [f"{bucket.low}-{bucket.high - 1}\nn={bucket.accuracy.num_pairs}" for bucket in shown]
        axes.set_xticks(range(len(shown)), labels)
        axes.set(ylim=(0, 1.05), ylabel="accuracy", xlabel="tokens of the chosen response")

    return _draw(7.2, 2.9, draw)


def forest(findings: Sequence[Finding], labels: Sequence[str], reference: float, xlabel: str) -> str:
    """Estimates with intervals, one a line, against a reference value."""

    def draw(axes: Any) -> None:
        axes.axvline(reference, color=_INK, linestyle="--", linewidth=1)
        for place, finding in enumerate(reversed(findings)):
            clear = finding.ci_low > reference or finding.ci_high < reference
            colour = (_GREEN if finding.estimate > reference else _RED) if clear else _GREY
            low, high = finding.estimate - finding.ci_low, finding.ci_high - finding.estimate
            bars = None if np.isnan([low, high]).any() else [[max(low, 0.0)], [max(high, 0.0)]]
            axes.errorbar([finding.estimate], [place], xerr=bars, fmt="o", color=colour, capsize=3)
        axes.set_yticks(range(len(labels)), list(reversed(labels)))
        axes.set(xlabel=xlabel, ylim=(-0.7, len(labels) - 0.3))

    return _draw(7.2, 0.9 + 0.32 * len(labels), draw)


def correlations(report: AuditReport) -> str:
    """The length correlations side by side."""
    labels = {
        "length": "pooled over all responses",
        "length_within_prompt": "within prompt",
        "length_label_controlled": "label-controlled",
    }
    shown, names = [], []
    for name, label in labels.items():
        for kind in ("pearson", "spearman"):
            finding = report.finding(f"{name}_{kind}")
            if finding is not None:
                shown.append(finding)
                names.append(f"{label}, {kind.capitalize()}")

    def draw(axes: Any) -> None:
        axes.axvline(0, color=_INK, linestyle="--", linewidth=1)
        places = list(range(len(shown)))[::-1]
        lows = [max(0.0, np.nan_to_num(finding.estimate - finding.ci_low)) for finding in shown]
        highs = [max(0.0, np.nan_to_num(finding.ci_high - finding.estimate)) for finding in shown]
        estimates = [finding.estimate for finding in shown]
        axes.errorbar(estimates, places, xerr=[lows, highs], fmt="o", color=_BLUE, capsize=3)
        axes.set_yticks(places, names)
        axes.set(xlim=(-1, 1), xlabel="correlation of reward with response tokens")

    return _draw(7.2, 2.8, draw)


def _error_bars(axes: Any, places: Any, findings: Sequence[Finding], colour: str, line: bool = True) -> None:
    estimates = np.array([finding.estimate for finding in findings])
    low = np.nan_to_num(estimates - [finding.ci_low for finding in findings])
    high = np.nan_to_num([finding.ci_high for finding in findings] - estimates)
    bars = np.maximum([low, high], 0)
    axes.errorbar(list(places), estimates, yerr=bars, fmt="o-" if line else "o", color=colour, capsize=3)
