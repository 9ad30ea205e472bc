import math
from dataclasses import astuple

import numpy as np
import pytest

from rm.stats.calibration_error import root_mean_square


def slow_square(gap, bins, clusters):
    """Mean product of two gaps from different clusters of a bin, weighted by bin."""
    total, weights = 0.0, 0
    for one in sorted(set(bins.tolist())):
        inside = np.flatnonzero(bins == one).tolist()
        products = [gap[i] * gap[j] for i in inside for j in inside if clusters[i] != clusters[j]]
        if products:
            total += len(inside) * math.fsum(products) / len(products)
            weights += len(inside)
    return total / weights


def squared(root):
    return math.copysign(root**2, root)


def test_the_square_is_the_mean_product_of_gaps_from_different_clusters():
    generator = np.random.default_rng(0)
    gap = generator.normal(0.1, 0.4, 120)
    bins, clusters = generator.integers(6, size=120), generator.integers(30, size=120)
    bins[:2], clusters[:2] = 6, 3  # a bin of one cluster says nothing
    found = root_mean_square(gap, bins, clusters)
    assert squared(found.estimate) == pytest.approx(slow_square(gap, bins, clusters))
    assert found.low <= found.estimate <= found.high


def test_the_square_has_no_bias_and_the_plain_one_has():
    bins = np.arange(200) // 20
    plain, debiased = [], []
    for seed in range(400):
        gap = np.random.default_rng(seed).normal(0.05 * (bins % 2), 0.4)
        plain.append(np.mean([gap[bins == one].mean() ** 2 for one in range(10)]))
        debiased.append(squared(root_mean_square(gap, bins, np.arange(200)).estimate))
    truth = 0.05**2 / 2
    assert np.mean(debiased) == pytest.approx(truth, abs=4 * np.std(debiased) / 20)
    assert np.mean(plain) > truth + 0.9 * 0.4**2 / 20


def test_pairs_that_are_there_twice_in_their_cluster_say_nothing_new():
    generator = np.random.default_rng(3)
    gap, bins = generator.normal(0.2, 0.4, 150), np.arange(150) // 15
    once = root_mean_square(gap, bins, np.arange(150))
    twice = root_mean_square(np.tile(gap, 2), np.tile(bins, 2), np.tile(np.arange(150), 2))
    assert (twice.estimate, twice.low, twice.high) == pytest.approx((once.estimate, once.low, once.high))
    apart = root_mean_square(np.tile(gap, 2), np.tile(bins, 2), np.arange(300))
    assert apart.estimate > once.estimate and apart.high - apart.low < once.high - once.low


def test_a_pair_of_weight_k_counts_as_k_pairs_of_its_cluster():
    generator = np.random.default_rng(4)
    gap, bins, times = generator.normal(0.2, 0.4, 150), np.arange(150) // 15, generator.integers(1, 5, 150)
    weighted = root_mean_square(gap, bins, np.arange(150) // 2, times.astype(float))
    several = root_mean_square(*(np.repeat(each, times) for each in (gap, bins, np.arange(150) // 2)))
    assert astuple(weighted) == pytest.approx(astuple(several))


def test_without_two_clusters_in_a_bin_nothing_is_known():
    for size in (0, 1, 5):
        found = root_mean_square(np.full(size, 0.3), np.arange(size), np.zeros(size, dtype=np.int64))
        assert math.isnan(found.estimate) and math.isnan(found.low) and math.isnan(found.high)


def test_gaps_of_0_are_no_error():
    found = root_mean_square(np.zeros(40), np.zeros(40, dtype=np.int64), np.arange(40))
    assert (found.estimate, found.low, found.high) == (0, 0, 0)
