import numpy as np
import pytest

from rm.stats import regressions
from rm.stats.regressions import Added, Remainders, are_independent, independent, maximise


@pytest.fixture(scope="module")
def world():
    random = np.random.default_rng(0)
    base, extra = random.normal(size=(700, 3)), random.normal(size=(5, 700))
    extra[1] *= random.random(700) < 0.1
    extra[2] *= 20
    target = (random.random(700) < 1 / (1 + np.exp(-base[:, 0] - 2 * extra[0]))).astype(float)
    return base, extra, target, random.choice([1.0, 2.0], 700)


def test_columns_that_depend_on_others_are_dropped():
    random = np.random.default_rng(0)
    one, two = random.normal(size=(2, 50))
    base = independent([one, np.zeros(50), 1e-9 * one, two, one - 3 * two])
    np.testing.assert_array_equal(base, np.column_stack([one, two]))
    others = np.array([one + two, np.zeros(50), two**2, 1e-9 * one])
    assert are_independent(base, others).tolist() == [False, False, True, False]


@pytest.mark.parametrize("at_once", [7, 300, 40_000])
def test_fits_with_one_more_column_are_those_of_all_columns_from_the_start(world, monkeypatch, at_once):
    monkeypatch.setattr(regressions, "_NUMBERS_AT_ONCE", at_once)
    base, extra, target, weight = world
    fit = maximise(base, target, weight)
    added = Added(fit, extra)
    assert added.found.all()
    left = added.of(extra[::-1])
    for row, column in enumerate(extra):
        whole = maximise(np.column_stack([base, column]), target, weight)
        np.testing.assert_allclose(added.curvature[row], whole.curvature, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(added.residual[row], whole.residual, rtol=1e-4, atol=1e-4)
        root = np.sqrt(added.curvature[row])
        both = np.column_stack([base, column]) * root[:, None]
        other = extra[::-1][row]
        expected = other - both @ np.linalg.lstsq(both, other * root, rcond=None)[0] / root
        np.testing.assert_allclose(left[row], expected, atol=1e-9)


def test_what_is_left_of_columns_is_orthogonal_to_the_base(world):
    base, extra, target, weight = world
    fit = maximise(base, target, weight)
    rest = Remainders(fit).of(extra)
    np.testing.assert_allclose((rest * fit.curvature) @ base, 0, atol=1e-8)
    np.testing.assert_allclose(Remainders(fit).of(base.T), 0, atol=1e-12)


def test_a_column_that_separates_the_targets_has_no_fit_and_leaves_the_others_theirs(world):
    base, extra, target, weight = world
    fit = maximise(base, target, weight)
    separating = np.where(target > 0.5, 1.0, -1.0) * (1 + np.abs(extra[0]))
    added = Added(fit, np.stack([extra[1], separating, extra[3]]))
    assert added.found.tolist() == [True, False, True]
    alone = Added(fit, extra[[3]])
    np.testing.assert_allclose(added.residual[2], alone.residual[0], atol=1e-12)
    assert maximise(np.column_stack([base, separating]), target, weight) is None


@pytest.mark.parametrize("size", [300, 3000])
def test_a_very_accurate_reward_has_a_maximum_although_some_log_odds_are_large(size):
    random = np.random.default_rng(0)
    reward = random.normal(2.0, 1.0, size)
    base = np.column_stack([reward, reward * np.minimum(np.abs(random.normal(size=size)), 3)])
    sides = np.where(random.random(size) < 0.5, 1.0, -1.0)
    fit = maximise(sides[:, None] * 5 * base, (sides > 0).astype(float), np.ones(size))
    assert fit is not None
    np.testing.assert_allclose(fit.residual @ fit.base, 0, atol=1e-3)
    perfect = np.abs(base)
    assert maximise(sides[:, None] * perfect, (sides > 0).astype(float), np.ones(size)) is None
