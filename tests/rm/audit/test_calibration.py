import dataclasses
import math
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import scipy.optimize
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


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_the_temperature_is_what_the_margins_were_multiplied_with(scale):
    covered = 0
    for seed in range(8):
        margins = calibrated(2500, seed, scale)
        found = measured(make(margins))
        covered += found["temperature"].ci_low <= scale <= found["temperature"].ci_high
        assert found["temperature"].estimate == pytest.approx(scale, rel=0.2)
        assert found["calibration_slope"].estimate == pytest.approx(1 / found["temperature"].estimate)
    assert covered >= 6
    best = scipy.optimize.minimize_scalar(lambda slope: np.logaddexp(0, -slope * margins).sum(), bounds=(0.01, 10))
    assert found["calibration_slope"].estimate == pytest.approx(best.x, rel=0.01)


def test_a_calibrated_model_has_little_calibration_error_and_an_overconfident_one_much():
    small, large = (measured(make(calibrated(4000, seed=1, scale=scale))) for scale in (1.0, 4.0))
    assert small["expected_calibration_error"].estimate < 0.04
    assert large["expected_calibration_error"].ci_low > 0.1
    assert large["calibration_slope"].ci_high < 0.5


def test_the_curve_of_a_calibrated_model_lies_on_the_diagonal():
    pairs = make(calibrated(4000, seed=2), num_prompts=2000)
    curve = reliability_curve(pairs, 2000, CONFIG)
    assert [one.accuracy.num_pairs for one in curve] == [400] * 10
    inside = sum(one.accuracy.ci_low <= one.confidence.estimate <= one.accuracy.ci_high for one in curve)
    assert inside >= 7
    assert all(one.low <= one.high <= other.low for one, other in pairwise(curve))
    assert [one.confidence.estimate for one in curve] == sorted(one.confidence.estimate for one in curve)
    error = np.mean([abs(one.accuracy.estimate - one.confidence.estimate) for one in curve])
    assert measured(pairs)["expected_calibration_error"].estimate == pytest.approx(error)


def test_the_calibration_error_matches_a_slow_loop_on_a_curve_with_ties():
    margins = np.random.default_rng(3).integers(-6, 9, size=157) / 4
    pairs = make(margins, num_prompts=60)
    order = sorted(abs(margins))
    bins = {}
    for margin in margins:
        place = 10 * order.index(abs(margin)) // len(order)
        right = 0.5 if margin == 0 else float(margin > 0)
        bins.setdefault(place, []).append((right, 1 / (1 + math.exp(-abs(margin)))))
    error = sum(abs(sum(right - sure for right, sure in one)) for one in bins.values()) / len(margins)
    assert measured(pairs)["expected_calibration_error"].estimate == pytest.approx(error)
    curve = reliability_curve(pairs, 60, CONFIG)
    assert [one.accuracy.num_pairs for one in curve] == [len(bins[place]) for place in sorted(bins)]
    assert sum(one.accuracy.num_pairs for one in curve) == 157
    assert len({(one.low, one.high) for one in curve}) == len(curve) < 10


def test_a_model_that_says_nothing_is_a_coin_without_a_temperature():
    pairs = make(np.zeros(50))
    found = measured(pairs)
    assert found["log_loss"].estimate == pytest.approx(math.log(2))
    assert found["brier_score"].estimate == pytest.approx(0.25)
    assert found["expected_calibration_error"].estimate == pytest.approx(0)
    assert math.isnan(found["calibration_slope"].estimate) and math.isnan(found["temperature"].ci_high)
    (only,) = reliability_curve(pairs, 50, CONFIG)
    assert (only.confidence.estimate, only.accuracy.estimate) == (0.5, 0.5)


def test_a_model_that_is_wrong_has_a_negative_slope_and_no_temperature():
    found = measured(make(-calibrated(500, seed=4)))
    assert found["calibration_slope"].ci_high < 0
    assert math.isnan(found["temperature"].estimate)
