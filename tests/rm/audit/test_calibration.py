import dataclasses
import math
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import scipy.special
from sklearn.metrics import brier_score_loss, log_loss

from rm.audit.calibration import add_calibration, reliability_curve
from rm.audit.config import AuditConfig
from rm.stats.measurements import Measurements
from tests.rm import biased_pairs

CONFIG = AuditConfig(num_resamples=200)


def make(margins, num_prompts=None):
    """Pairs with these margins."""
    size = len(margins)
    pairs = texts(size, num_prompts or size)
    return dataclasses.replace(pairs, reward_chosen=np.asarray(margins, dtype=float), reward_rejected=np.zeros(size))


@cache
def texts(num_pairs, num_prompts):
    return biased_pairs.make_pairs(biased_pairs.oracle, seed=0, num_pairs=num_pairs, num_prompts=num_prompts)


def calibrated(size, seed, scale=1.0):
    """Margins m, of which a share of sigmoid(|m| / scale) is right."""
    generator = np.random.default_rng(seed)
    sure = np.abs(generator.normal(0, 1.5, size))
    return scale * np.where(generator.random(size) < 1 / (1 + np.exp(-sure)), sure, -sure)


def measured(pairs):
    collected = Measurements(int(pairs.cluster.max()) + 1, CONFIG)
    add_calibration(collected, pairs)
    return {found.name: found for found in collected.findings().values()}


def test_scores_match_scikit_learn():
    margins = calibrated(300, seed=0, scale=2)
    found = measured(make(margins, num_prompts=100))
    # As scikit-learn wants it: both labels occur, if half of the pairs are shown the other way round.
    flip = np.arange(300) % 2 == 0
    probability, label = 1 / (1 + np.exp(np.where(flip, margins, -margins))), ~flip
    assert found["log_loss"].estimate == pytest.approx(log_loss(label, probability))
    assert found["brier_score"].estimate == pytest.approx(brier_score_loss(label, probability))


def sureness(size, accuracy, generator):
    """Sizes of margins with which a calibrated model is right in this share of the pairs."""
    spread = {0.65: 0.79, 0.8: 2.05, 0.93: 7.1}[accuracy]
    return np.abs(generator.normal(0, spread, size))


def covered(accuracy, scale, size, num_repeats):
    """How often the intervals of the temperature and of the calibration error hold the true values."""
    generator = np.random.default_rng([round(100 * accuracy), round(10 * scale), size])
    sure = np.sort(sureness(600_000, accuracy, generator))
    gap = scipy.special.expit(sure) - scipy.special.expit(scale * sure)
    error = math.sqrt(np.mean(gap.reshape(15, -1).mean(axis=1) ** 2))
    held = np.zeros(2)
    for _ in range(num_repeats):
        sure = sureness(size, accuracy, generator)
        margin = scale * np.where(generator.random(size) < scipy.special.expit(sure), sure, -sure)
        collected = Measurements(size, CONFIG)
        add_calibration(collected, make(margin))
        found = collected.findings({"temperature", "calibration_error"})
        found = {one.name: one for one in found.values()}
        slope, square = found["temperature"], found["calibration_error"]
        held += [not slope.ci_low > scale and not slope.ci_high < scale, square.ci_low <= error <= square.ci_high]
    return held / num_repeats


CASES = [(accuracy, scale, size) for accuracy in (0.65, 0.8, 0.93) for scale in (1.0, 2.0, 0.5) for size in (100, 300)]


def test_intervals_of_temperature_and_calibration_error_hold_the_true_values():
    found = np.array([covered(*case, num_repeats=40) for case in CASES])
    assert (found.mean(axis=0) > 0.925).all() and (found.mean(axis=0) < 0.985).all()
    assert found.min() > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("size", [100, 300, 1000])
@pytest.mark.parametrize("scale", [1.0, 2.0, 0.5], ids=["calibrated", "overconfident", "underconfident"])
@pytest.mark.parametrize("accuracy", [0.65, 0.8, 0.93])
def test_intervals_hold_the_true_values_in_every_case(accuracy, scale, size):
    found = covered(accuracy, scale, size, num_repeats=1000)
    assert (found > 0.915).all() and (found < 0.99).all(), found


def test_a_calibrated_model_of_few_pairs_has_a_slope_of_1_and_an_overconfident_one_an_error():
    slopes, sizes = [], []
    for seed in range(60):
        generator = np.random.default_rng(seed)
        sure = sureness(100, 0.93, generator)
        found = measured(make(np.where(generator.random(100) < scipy.special.expit(sure), sure, -sure)))
        slopes.append(found["calibration_slope"].estimate)
        sizes.append(found["calibration_error"].estimate)
        assert found["temperature"].estimate == pytest.approx(1 / slopes[-1], nan_ok=True)
        assert found["temperature"].ci_low == pytest.approx(1 / found["calibration_slope"].ci_high, nan_ok=True)
    assert np.nanmedian(slopes) == pytest.approx(1, abs=0.2)
    assert min(sizes) < 0 < max(sizes)  # chance adds nothing on average
    large = measured(make(calibrated(4000, seed=1, scale=4.0)))
    assert large["calibration_error"].ci_low > 0.1
    assert large["calibration_slope"].ci_high < 0.5


def test_the_curve_of_a_calibrated_model_lies_on_the_diagonal():
    pairs = make(calibrated(4000, seed=2), num_prompts=2000)
    curve = reliability_curve(pairs, 2000, CONFIG)
    assert [one.accuracy.num_pairs for one in curve] == [400] * 10
    inside = sum(one.accuracy.ci_low <= one.confidence.estimate <= one.accuracy.ci_high for one in curve)
    assert inside >= 7
    assert all(one.low <= one.high <= other.low for one, other in pairwise(curve))
    assert [one.confidence.estimate for one in curve] == sorted(one.confidence.estimate for one in curve)


def test_the_curve_matches_a_slow_loop_where_margins_tie():
    margins = np.random.default_rng(3).integers(-6, 9, size=157) / 4
    pairs = make(margins, num_prompts=60)
    order = sorted(abs(margins))
    bins = {}
    for margin in margins:
        place = 10 * order.index(abs(margin)) // len(order)
        right = 0.5 if margin == 0 else float(margin > 0)
        bins.setdefault(place, []).append((right, 1 / (1 + math.exp(-abs(margin)))))
    curve = reliability_curve(pairs, 60, CONFIG)
    assert [one.accuracy.num_pairs for one in curve] == [len(bins[place]) for place in sorted(bins)]
    for one, place in zip(curve, sorted(bins), strict=True):
        assert [one.accuracy.estimate, one.confidence.estimate] == pytest.approx(np.mean(bins[place], axis=0).tolist())
    assert sum(one.accuracy.num_pairs for one in curve) == 157
    assert len({(one.low, one.high) for one in curve}) == len(curve) < 10


def test_a_model_that_says_nothing_is_a_coin_without_a_temperature():
    pairs = make(np.zeros(50))
    found = measured(pairs)
    assert found["log_loss"].estimate == pytest.approx(math.log(2))
    assert found["brier_score"].estimate == pytest.approx(0.25)
    assert found["calibration_error"].estimate == pytest.approx(0)
    assert math.isnan(found["calibration_slope"].estimate) and math.isnan(found["temperature"].ci_high)
    (only,) = reliability_curve(pairs, 50, CONFIG)
    assert (only.confidence.estimate, only.accuracy.estimate) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("margins", "reason"),
    [
        (np.zeros(50), "all rewards of a pair are equal"),
        (np.arange(50), "no margin is below 0"),
        (-calibrated(500, seed=4), "margins are rather wrong than right"),
    ],
    ids=["nothing", "separated", "wrong"],
)
def test_where_there_is_no_slope_the_method_says_why(margins, reason):
    found = measured(make(margins))
    for name in ("calibration_slope", "temperature"):
        assert math.isnan(found[name].estimate) and math.isnan(found[name].ci_low) and math.isnan(found[name].ci_high)
        assert found[name].method.endswith(f"; undefined: {reason}")
