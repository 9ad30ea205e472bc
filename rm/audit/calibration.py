"""Calibration: whether sigmoid(margin), read as a probability, is how often the model is right."""

from __future__ import annotations

import numpy as np

from rm.audit.config import AuditConfig
from rm.audit.heldout import ScoredPairs
from rm.audit.records import CalibrationBin
from rm.stats import clustered
from rm.stats.clustered import Floats, Ints, Statistic
from rm.stats.finding import key
from rm.stats.logistic import logistic
from rm.stats.measurements import Measurements

_NUM_BINS = 10


def add_calibration(collected: Measurements, pairs: ScoredPairs) -> None:
    """Add how well sigmoid(margin) works as the probability that annotators choose a response.

    Parameters
    ----------
    collected : Measurements
        Gets ``log_loss``, ``brier_score``, ``expected_calibration_error``, ``calibration_slope`` and ``temperature``.
    pairs : ScoredPairs

    Notes
    -----
    The label is the majority's choice, also where some annotators disagreed. With m the margin and s the sigmoid: the
    log loss is the mean of -log s(m) in nats, and the Brier score the mean of (1 - s(m))^2; a coin has ln 2 and 0.25.
    The calibration error is the mean of |share right - mean s(|m|)| over the bins of `reliability_curve`, weighted by
    pairs. It is never below 0, so chance alone makes it positive, in a resample even more so. The slope is that of
    a logistic regression of the label on the margin; its inverse is the temperature by which margins should be divided.
    The model is too sure if the slope is below 1, that is, the temperature above 1. The temperature is undefined if
    the slope is not above 0.

    References
    ----------
    Kumar, Liang and Ma (2019), Verified Uncertainty Calibration, NeurIPS. arXiv:1909.10155
    """
    margin, count, num_clusters = pairs.margin, len(pairs.margin), collected.num_clusters
    loss = np.logaddexp(0, -margin)
    wrongness = (1 - np.exp(-loss)) ** 2
    mean_loss = clustered.mean(loss, pairs.cluster, num_clusters)
    collected.add(key("log_loss"), mean_loss, count, "nats per pair", "-log sigmoid(margin)")
    collected.add(
        key("brier_score"),
        clustered.mean(wrongness, pairs.cluster, num_clusters),
        count,
        "squared probability",
        "(1 - sigmoid(margin))^2",
    )
    collected.add(
        key("expected_calibration_error"),
        _calibration_error(pairs, num_clusters),
        count,
        "difference of shares",
        f"mean of |share right - sigmoid(|margin|)| over {_NUM_BINS} bins of as many pairs; above 0 by chance alone",
    )
    slope = _slope(pairs, num_clusters)
    method = "logistic regression of the label on the margin"
    collected.add(key("calibration_slope"), slope, count, "log-odds per unit of reward", method)
    temperature = clustered.combined(_inverse, slope)
    about = f"inverse slope of a {method}"
    collected.add(key("temperature"), temperature, count, "units of reward per log-odds", about)


def reliability_curve(pairs: ScoredPairs, num_clusters: int, config: AuditConfig) -> tuple[CalibrationBin, ...]:
    """How sure the model is and how often it is right, in ten bins of equal size, the least sure first.

    Notes
    -----
    Bins are of the absolute margin. How sure the model is means sigmoid(|margin|), the probability it gives to the
    response that it prefers. Pairs of equal margin stay in one bin, so there may be fewer bins.
    """
    sure, bins = np.abs(pairs.margin), _bins(pairs)
    confidence = _confidence(pairs)
    collected = Measurements(num_clusters, config)
    members = {str(index): bins == index for index in np.unique(bins).tolist()}
    right_method = "the preferred response is the chosen one"
    for index, inside in members.items():
        count = int(inside.sum())
        right = clustered.mean(pairs.correct, pairs.cluster, num_clusters, inside)
        claimed = clustered.mean(confidence, pairs.cluster, num_clusters, inside)
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


def _bins(pairs: ScoredPairs) -> Ints:
    """Bin of each pair, by the share of pairs that have a smaller absolute margin."""
    sure = np.abs(pairs.margin)
    return np.searchsorted(np.sort(sure), sure) * _NUM_BINS // len(sure)


def _calibration_error(pairs: ScoredPairs, num_clusters: int) -> Statistic:
    gap = pairs.correct - _confidence(pairs)
    cell = pairs.cluster * _NUM_BINS + _bins(pairs)
    sums = np.bincount(cell, gap, num_clusters * _NUM_BINS).reshape(num_clusters, _NUM_BINS)
    counts = np.bincount(pairs.cluster, minlength=num_clusters)

    def value(totals: Floats, _: Floats) -> Floats:
        error: Floats = np.abs(totals[:, 1:]).sum(axis=1) / np.where(totals[:, 0] > 0, totals[:, 0], np.nan)
        return error

    return Statistic(value, np.column_stack([counts, sums]))


def _slope(pairs: ScoredPairs, num_clusters: int) -> Statistic:
    """Slope of the label on the margin; undefined if all rewards tie."""
    unit = float(np.sqrt((pairs.margin**2).mean()))
    if not unit:
        nothing = np.zeros(len(pairs.margin), dtype=bool)
        return clustered.mean(pairs.margin, pairs.cluster, num_clusters, nothing)
    inputs = (pairs.margin / unit)[:, None]
    coefficient = logistic(inputs, np.ones(len(inputs)), pairs.cluster, num_clusters)
    return clustered.combined(lambda found: found[:, 0] / unit, coefficient)


def _inverse(values: Floats) -> Floats:
    return 1 / np.where(values > 0, values, np.nan)
