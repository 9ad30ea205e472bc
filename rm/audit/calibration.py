"""Calibration: whether sigmoid(margin), read as a probability, is how often the model is right."""

from __future__ import annotations

import math

import numpy as np

from rm.audit.config import AuditConfig
from rm.audit.heldout import ScoredPairs
from rm.audit.records import CalibrationBin
from rm.stats import calibration_error, logistic
from rm.stats.clustered import Floats, Interval, Ints
from rm.stats.finding import key
from rm.stats.measurements import Measurements

_CURVE_BINS = 10
_ERROR_BINS = 15


def add_calibration(collected: Measurements, pairs: ScoredPairs) -> None:
    """Add how well sigmoid(margin) works as the probability that annotators choose a response.

    Parameters
    ----------
    collected : Measurements
        Gets ``log_loss``, ``brier_score``, ``calibration_error``, ``calibration_slope`` and ``temperature``.
    pairs : ScoredPairs

    Notes
    -----
    The label is the majority's choice, also where some annotators disagreed. With m the margin and s the sigmoid: the
    log loss is the mean of -log s(m) in nats, and the Brier score the mean of (1 - s(m))^2; a coin has ln 2 and 0.25.

    The calibration error is the root of the mean square of the differences between the share right and the mean of
    s(|m|), over 15 bins of |m| with as many pairs each, after what chance adds to the square is taken off
    (`rm.stats.calibration_error.root_mean_square`). It is written with a minus where the square is below 0.

    The slope is that of a logistic regression of the label on the margin, without intercept and without penalty
    (`rm.stats.logistic.slope`); its inverse is the temperature by which margins should be divided. The model is too
    sure if the slope is below 1, that is, the temperature above 1. Both are undefined if the model is never wrong, or
    if its margins are rather wrong than right; the method then says so.
    """
    margin, count, num_clusters = pairs.margin, len(pairs.margin), collected.num_clusters
    loss = np.logaddexp(0, -margin)
    wrongness = (1 - np.exp(-loss)) ** 2
    mean_loss = pairs.mean(loss, num_clusters)
    collected.add(key("log_loss"), mean_loss, count, "nats per pair", "-log sigmoid(margin)")
    collected.add(
        key("brier_score"),
        pairs.mean(wrongness, num_clusters),
        count,
        "squared probability",
        "(1 - sigmoid(margin))^2",
    )
    collected.add_interval(
        key("calibration_error"),
        calibration_error.root_mean_square(
            pairs.correct - _confidence(pairs), _bins(pairs, _ERROR_BINS), pairs.cluster, pairs.weight
        ),
        count,
        "difference of shares",
        f"root mean square of share right - sigmoid(|margin|) over {_ERROR_BINS} bins of as many pairs, less what "
        "chance adds to the square; below 0: less than chance adds on average",
    )
    _add_slope(collected, pairs)


def _add_slope(collected: Measurements, pairs: ScoredPairs) -> None:
    found, count = logistic.slope(pairs.margin, pairs.cluster, pairs.weight), len(pairs.margin)
    method = "logistic regression of the label on the margin, without intercept or penalty"
    reason = "" if math.isfinite(found.estimate) else f"; undefined: {logistic.why_no_slope(pairs.margin)}"
    collected.add_interval(key("calibration_slope"), found, count, "log-odds per unit of reward", f"{method}{reason}")
    inverse = Interval(1 / found.estimate, 1 / found.high, 1 / found.low)
    about = f"inverse slope of a {method}{reason}"
    collected.add_interval(key("temperature"), inverse, count, "units of reward per log-odds", about)


def reliability_curve(pairs: ScoredPairs, num_clusters: int, config: AuditConfig) -> tuple[CalibrationBin, ...]:
    """How sure the model is and how often it is right, in ten bins of equal size, the least sure first.

    Notes
    -----
    Bins are of the absolute margin. How sure the model is means sigmoid(|margin|), the probability it gives to the
    response that it prefers. Pairs of equal margin stay in one bin, so there may be fewer bins.
    """
    sure, bins = np.abs(pairs.margin), _bins(pairs, _CURVE_BINS)
    confidence = _confidence(pairs)
    collected = Measurements(num_clusters, config)
    members = {str(index): bins == index for index in np.unique(bins).tolist()}
    right_method = "the preferred response is the chosen one"
    for index, inside in members.items():
        count = int(inside.sum())
        right = pairs.mean(pairs.correct, num_clusters, inside)
        claimed = pairs.mean(confidence, num_clusters, inside)
        collected.add(key("bin_accuracy", bin=index), right, count, "share of pairs", right_method)
        collected.add(key("bin_confidence", bin=index), claimed, count, "probability", "mean of sigmoid(|margin|)")
    found = collected.findings()
    return tuple(
        CalibrationBin(
            low=float(sure[inside].min()),
            high=float(sure[inside].max()),
            confidence=found[key("bin_confidence", bin=index)],
            accuracy=found[key("bin_accuracy", bin=index)],
        )
        for index, inside in members.items()
    )


def _confidence(pairs: ScoredPairs) -> Floats:
    return np.exp(-np.logaddexp(0, -np.abs(pairs.margin)))


def _bins(pairs: ScoredPairs, num_bins: int) -> Ints:
    """Bin of each pair, by the share of pairs that have a smaller absolute margin."""
    sure = np.abs(pairs.margin)
    return np.searchsorted(np.sort(sure), sure) * num_bins // len(sure)
