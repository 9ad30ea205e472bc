import numpy as np
import pytest

from rm.stats.cross_fit import cross_fit, stacked
from rm.stats.interactions import InKinds, products

SIZE = 900
FOLD = np.arange(SIZE) % 5


@pytest.fixture
def rows():
    """Three features and two kinds of pairs; the last feature differs in too few pairs."""
    random = np.random.default_rng(0)
    features = random.normal(size=(SIZE, 3))
    features[20:, 2] = 0
    return InKinds(features, random.random((SIZE, 2)) < 0.4)


def test_what_is_paid_in_a_kind_only_is_learnt_and_what_is_paid_everywhere_is_not(rows):
    within = rows.features[:, 0] * (rows.kinds[:, 0] - rows.kinds[:, 0].mean())
    assert np.corrcoef(cross_fit(products, rows, within, FOLD), within)[0, 1] > 0.99
    everywhere = rows.features[:, 1]
    assert abs(np.corrcoef(cross_fit(products, rows, everywhere, FOLD), everywhere)[0, 1]) < 0.2


def test_swapping_the_sides_of_pairs_flips_the_signs(rows):
    random = np.random.default_rng(1)
    target, flip = random.normal(size=SIZE), random.choice([-1.0, 1.0], SIZE)
    swapped = InKinds(flip[:, None] * rows.features, rows.kinds)
    before = cross_fit(products, rows, target, FOLD)
    assert np.allclose(cross_fit(products, swapped, flip * target, FOLD), flip * before)


def test_a_product_of_too_few_pairs_or_a_kind_of_all_pairs_predicts_nothing(rows):
    rare = InKinds(rows.features[:, 2:], rows.kinds)
    assert not cross_fit(products, rare, rows.features[:, 2], FOLD).any()
    every = InKinds(rows.features, np.ones((SIZE, 2), dtype=bool))
    assert not cross_fit(products, every, rows.features[:, 0], FOLD).any()


def test_a_large_sample_predicts_as_well(monkeypatch, rows):
    monkeypatch.setattr("rm.stats.interactions._LARGEST_SAMPLE", 300)
    within = rows.features[:, 0] * (rows.kinds[:, 0] - rows.kinds[:, 0].mean())
    assert np.corrcoef(cross_fit(products, rows, within, FOLD), within)[0, 1] > 0.9


def test_stacking_keeps_what_helps_and_drops_what_harms():
    random = np.random.default_rng(2)
    good, noise = random.normal(size=(2, SIZE))
    target = 2 * good + random.normal(size=SIZE)
    weight = random.random(SIZE) + 0.5
    found = stacked([good, -good, -noise * np.sign(noise @ (weight * target))], target, weight)
    factor = (weight * good * target).sum() / (weight * good * good).sum()
    assert np.corrcoef(found, good)[0, 1] > 0.99
    assert found @ good / (good @ good) == pytest.approx(factor, abs=0.1)
    assert not stacked([-good], target, weight).any()
