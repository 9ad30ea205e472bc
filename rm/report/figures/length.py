"""Accuracy and reward by length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rm.audit.records import Decile
from rm.report.figures.drawing import BLUE, ORANGE, RED, SOFT, Drawn, across, down, draw, label, mark
from rm.stats import clustered
from rm.stats.clustered import Floats, Ints
from rm.stats.config import BootstrapConfig
from rm.stats.finding import Finding, key
from rm.stats.measurements import Measurements

_MAX_POINTS = 500
_NUM_BINS = 10
_BOOTSTRAP = BootstrapConfig(num_resamples=200)


def accuracy_by_decile(deciles: Sequence[Decile], unit: str) -> Drawn:
    """Accuracy from "chosen much shorter" to "chosen much longer", with the champion's."""
    xs = range(len(deciles))
    own = [decile.accuracy for decile in deciles]
    others = [decile.champion_accuracy for decile in deciles if decile.champion_accuracy is not None]

    def paint(axes: Any) -> None:
        mark(axes, y=0.5)
        across(axes, xs, own, color=BLUE, fmt="o-", label="this model")
        if len(others) == len(deciles):
            shifted = [x + 0.15 for x in xs]
            across(axes, shifted, others, color=ORANGE, fmt="s--", markersize=4, label="champion")
        below = [(x, one) for x, one in zip(xs, own, strict=True) if one.estimate < 0.5]
        if below:
            worse = [one.estimate for _, one in below]
            axes.plot([x for x, _ in below], worse, "o", color=RED, zorder=5, label="below a coin")
        labels = [_span(decile) for decile in deciles]
        axes.set_xticks(list(xs), labels, rotation=45, ha="right", rotation_mode="anchor")
        axes.set(ylim=(0, 1.03), ylabel="accuracy", xlabel=f"chosen minus rejected, {label(unit)}")
        axes.legend(loc="lower right")

    return draw(2.4, paint)


def accuracy_in_brief(deciles: Sequence[Decile]) -> Drawn:
    """The same without numbers of characters, for a reader who sees it for the first time."""
    xs, own = range(len(deciles)), [decile.accuracy for decile in deciles]

    def paint(axes: Any) -> None:
        mark(axes, y=0.5)
        across(axes, xs, own, color=BLUE, fmt="o-", markersize=4)
        below = [(x, one.estimate) for x, one in zip(xs, own, strict=True) if one.estimate < 0.5]
        axes.plot([x for x, _ in below], [value for _, value in below], "o", color=RED, markersize=5, zorder=5)
        middle = (len(deciles) - 1) / 2
        axes.set_xticks([0, middle, len(deciles) - 1], ["much shorter", "equal", "much longer"])
        for tick, side in zip(axes.get_xticklabels(), ("left", "center", "right"), strict=True):
            tick.set_horizontalalignment(side)
        axes.set_yticks([0, 0.5, 1], ["0%", "a coin: 50%", "100%"])
        axes.set(ylim=(-0.04, 1.04), ylabel="how often it is right", xlabel="the better response is ... than the other")

    return draw(2.15, paint)


def _span(decile: Decile) -> str:
    low, high = f"{decile.low:+.0f}", f"{decile.high:+.0f}"
    return low if low == high else f"{low} to {high}"


class CurvePoint(NamedTuple):
    """One bin."""

    length: float
    """Mean over the bin's responses."""
    reward: Finding


def curve(reward: Floats, length: Floats, cluster: Ints, num_clusters: int) -> tuple[CurvePoint, ...]:
    """Mean reward in tenths of the responses by length, the shortest first, with intervals over prompts.

    Parameters
    ----------
    reward, length : array of shape (N,)
    cluster : array of shape (N,)
        Number of the prompt.
    num_clusters : int

    Notes
    -----
    Responses of equal length stay together, so that there may be fewer than ten. Reward and length may have their
    prompt's mean subtracted; the difference between that curve and the one of what was not is between prompts.
    """
    bins = np.searchsorted(np.sort(length), length) * _NUM_BINS // len(length)
    collected = Measurements(num_clusters, _BOOTSTRAP)
    members = {str(index): bins == index for index in np.unique(bins).tolist()}
    method = "responses of about one length"
    for index, inside in members.items():
        statistic = clustered.mean(reward, cluster, num_clusters, inside)
        collected.add(key("bin_reward", bin=index), statistic, int(inside.sum()), "mean reward", method)
    found = collected.findings()
    return tuple(
        CurvePoint(length=float(length[inside].mean()), reward=found[key("bin_reward", bin=index)])
        for index, inside in members.items()
    )


def reward_against_length(
    reward: Floats, length: Floats, curve: Sequence[CurvePoint], xlabel: str, ylabel: str
) -> Drawn:
    """Responses as points, at most 500 of them, and the binned curve with its intervals.

    Parameters
    ----------
    reward, length : array of shape (N,)
    curve : sequence of CurvePoint
    xlabel, ylabel : str
    """
    step = -(-len(reward) // _MAX_POINTS)

    def paint(axes: Any) -> None:
        axes.scatter(length[::step], reward[::step], s=5, color=SOFT, alpha=0.5, linewidths=0)
        across(axes, [point.length for point in curve], [point.reward for point in curve], color=BLUE, fmt="o-")
        axes.set(xlabel=xlabel, ylabel=ylabel)

    return draw(2.5, paint)


def correlations(findings: Mapping[str, Finding], unit: str) -> Drawn:
    """Correlations of reward with length by title, from top to bottom."""

    def paint(axes: Any) -> None:
        mark(axes, x=0)
        ys = list(range(len(findings)))[::-1]
        down(axes, ys, list(findings.values()), color=BLUE)
        axes.set_yticks(ys, list(findings))
        axes.set(xlim=(-1, 1), ylim=(-0.6, len(findings) - 0.4), xlabel=f"correlation of reward with {label(unit)}")

    return draw(0.7 + 0.22 * len(findings), paint)
