import numpy as np
import pytest

from rm.labels import shares
from rm.stats.clustered import wilson_interval


def numbers(found):
    return found.value, found.low, found.high


@pytest.mark.parametrize("num_won", [0, 9, 20])
def test_a_share_of_single_votes_has_the_interval_of_wilson(num_won):
    found = shares.of_known(np.repeat([1.0, 0.0], [num_won, 20 - num_won]), np.arange(20))
    bounds = wilson_interval(num_won, 20)
    assert numbers(found) == pytest.approx((num_won / 20, bounds.low, bounds.high))
    assert 0 <= found.low < found.high <= 1


def test_votes_that_are_said_twice_change_nothing():
    values, clusters = np.arange(30) % 3 / 2, np.arange(30) // 2
    once, twice = shares.of_known(values, clusters), shares.of_known(np.tile(values, 2), np.tile(clusters, 2))
    assert numbers(once) == pytest.approx(numbers(twice))


def test_undefined_values_do_not_count():
    values = np.where(np.arange(60) < 30, np.nan, 1.0)
    assert numbers(shares.of_known(values, np.arange(60))) == numbers(shares.of_known(np.ones(30), np.arange(30)))


def test_few_clusters_have_a_share_and_no_interval():
    found = shares.of_known(np.array([1.0, 1.0, 0.0] * 20), np.array([0, 1, 2] * 20))
    assert numbers(found) == pytest.approx((2 / 3, np.nan, np.nan), nan_ok=True)
    assert numbers(shares.of_known(np.full(3, np.nan), np.arange(3))) == pytest.approx((np.nan,) * 3, nan_ok=True)
