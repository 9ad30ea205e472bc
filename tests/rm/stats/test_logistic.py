import math
from dataclasses import astuple

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from rm.stats.logistic import slope


def margins(size, seed, scale=1.0):
    """Margins m, of which a share of sigmoid(|m| / scale) is right."""
    generator = np.random.default_rng(seed)
    sure = np.abs(generator.normal(0, 1.5, size))
    return scale * np.where(generator.random(size) < 1 / (1 + np.exp(-sure)), sure, -sure)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 30.0, 1e12])
def test_the_slope_is_that_of_other_solvers(scale):
    margin = margins(400, seed=0)
    found = slope(margin * scale, np.arange(400))
    loss = scipy.optimize.minimize_scalar(
        lambda b: np.logaddexp(0, -b * margin).sum(), bounds=(0.1, 10), method="bounded", options={"xatol": 1e-9}
    )
    assert found.estimate * scale == pytest.approx(loss.x, rel=1e-6)
    flip = np.where(np.arange(400) % 2, 1, -1)  # scikit-learn wants both labels
    fit = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10).fit((margin * flip)[:, None], flip)
    assert found.estimate * scale == pytest.approx(fit.coef_[0, 0], rel=1e-6)


def test_the_standard_error_is_the_slow_sandwich_by_cluster():
    margin, clusters = margins(300, seed=1), np.random.default_rng(1).integers(90, size=300)
    found = slope(margin, clusters)
    p = 1 / (1 + np.exp(-found.estimate * margin))
    curvature = sum(m * m * q * (1 - q) for m, q in zip(margin, p, strict=True))
    used = sorted(set(clusters.tolist()))
    squares = sum(((margin * (1 - p))[clusters == one]).sum() ** 2 for one in used)
    error = math.sqrt(len(used) / (len(used) - 1) * squares) / curvature
    error *= max(1.0, math.sqrt(curvature / sum(m * m * (1 - q) ** 2 for m, q in zip(margin, p, strict=True))))
    assert math.log(found.high / found.estimate) == pytest.approx(1.959964 * error / found.estimate, rel=1e-6)
    assert found.high * found.low == pytest.approx(found.estimate**2)


def test_pairs_that_are_there_twice_in_their_cluster_say_nothing_new():
    margin = margins(200, seed=2)
    once, twice = slope(margin, np.arange(200)), slope(np.tile(margin, 2), np.tile(np.arange(200), 2))
    assert (twice.estimate, twice.low, twice.high) == pytest.approx((once.estimate, once.low, once.high), rel=1e-9)
    apart = slope(np.tile(margin, 2), np.arange(400))
    ratio = math.log(once.high / once.low) / math.log(apart.high / apart.low)
    assert ratio == pytest.approx(math.sqrt(2), rel=0.01)


def test_a_pair_of_weight_k_counts_as_k_pairs_of_its_cluster():
    margin, times = margins(200, seed=3), np.random.default_rng(3).integers(1, 5, 200)
    weighted = slope(margin, np.arange(200), times.astype(float))
    several = slope(np.repeat(margin, times), np.repeat(np.arange(200), times))
    assert weighted.estimate == pytest.approx(several.estimate, rel=1e-9)
    assert astuple(slope(margin, np.arange(200), np.full(200, 0.25))) == pytest.approx(
        astuple(slope(margin, np.arange(200))), rel=1e-9
    )


@pytest.mark.parametrize(
    "margin",
    [[], [0.0, 0.0], [1.0, 2.0, 0.0], [-1.0, -2.0], [1.0, -2.0], [1.0, -1.0]],
    ids=["none", "zero", "right", "wrong", "rather wrong", "even"],
)
def test_without_a_maximum_above_0_the_slope_is_undefined(margin):
    found = slope(np.array(margin), np.arange(len(margin)))
    assert all(map(math.isnan, (found.estimate, found.low, found.high)))


def test_one_cluster_has_no_interval():
    found = slope(np.array([2.0, 1.0, -1.0]), np.zeros(3, dtype=np.int64))
    assert found.estimate > 0 and math.isnan(found.low) and math.isnan(found.high)


@given(st.lists(st.floats(-1e100, 1e100, allow_subnormal=False), min_size=2, max_size=20))
def test_whatever_the_margins_are_the_interval_holds_the_slope_or_all_is_undefined(margin):
    found = slope(np.array(margin), np.arange(len(margin)))
    assert 0 < found.low <= found.estimate <= found.high or math.isnan(found.estimate)
