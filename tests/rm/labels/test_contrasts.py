import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rm.labels import contrasts
from rm.labels.contrasts import Sums


def apart(own, others):
    """Both as sums over clusters of their own."""
    where, size = np.arange(len(own) + len(others)), len(own) + len(others)
    sides = (own, where[: len(own)]), (others, where[len(own) :])
    return [Sums.of(np.asarray(values, dtype=np.float64), clusters, size) for values, clusters in sides]


def slow_holm(p_values, level=0.05):
    """Reject the smallest as long as it is below the level over the number of those that are left."""
    left = {at: p for at, p in enumerate(p_values) if not np.isnan(p)}
    rejected = [False] * len(p_values)
    while left:
        at = min(left, key=left.get)
        if left[at] > level / len(left):
            break
        rejected[at] = True
        del left[at]
    return rejected


@given(st.lists(st.one_of(st.floats(0, 1), st.floats(0, 0.02), st.just(float("nan"))), max_size=12))
def test_holm_is_what_a_slow_one_finds(p_values):
    assert contrasts.holm(np.array(p_values, dtype=np.float64)).tolist() == slow_holm(p_values)


def test_equal_shares_are_far_as_often_as_the_level_says():
    rng = np.random.default_rng(3)
    found = [
        contrasts.p_value(*apart(rng.integers(0, 2, 80), rng.integers(0, 2, 400)), 0.0, 0) < 0.05 for _ in range(2000)
    ]
    assert 0.03 < np.mean(found) < 0.07


def test_votes_that_are_said_four_times_are_no_surer():
    rng = np.random.default_rng(4)
    clusters = np.repeat(np.arange(240), 4)
    found = []
    for _ in range(1000):
        votes = np.repeat(rng.integers(0, 2, 240), 4).astype(np.float64)
        own, others = (np.where(side, votes, np.nan) for side in (clusters < 60, clusters >= 60))
        found.append(contrasts.p_value(*(Sums.of(each, clusters, 240) for each in (own, others)), 0.0, 0) < 0.05)
    assert 0.03 < np.mean(found) < 0.07


def test_a_margin_forgives_a_difference_within_it():
    others = [0.0, 1.0] * 500
    assert contrasts.p_value(*apart([0.0] * 55 + [1.0] * 45, others), 0.1, 0) == 1.0
    assert contrasts.p_value(*apart([0.0] * 100, others), 0.1, 0) < 1e-9


def test_who_always_agrees_is_not_surely_far():
    assert contrasts.p_value(*apart([1.0] * 3, [0.0, 1.0] * 10), 0.0, 0) > 0.05
