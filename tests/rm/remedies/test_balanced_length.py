"""Weights by which the longer response wins as often as the shorter, whatever the labels say."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm.data.preferences import Comparison
from rm.remedies.balanced_length import LengthBalance


def made(seed=0, count=4000, slope=1.0, votes=1):
    """Labels that choose the longer response by a logistic law."""
    random = np.random.default_rng(seed)
    log_length = random.normal(0, 1, count)
    log_length[random.random(count) < 0.05] = 0.0
    share = random.binomial(votes, 1 / (1 + np.exp(-slope * log_length))) / votes
    return log_length, share, random.uniform(0.5, 2, count)


def after(log_length, preference, weight):
    balance = LengthBalance(log_length, preference, weight)
    pairs = [
        balance.balanced(
            Comparison(first=0, second=1, preference=p, target_margin=0.0, weight=w, num_judgements=1), length
        )
        for length, p, w in zip(log_length.tolist(), preference.tolist(), weight.tolist(), strict=True)
    ]
    return np.array([pair.preference for pair in pairs]), np.array([pair.weight for pair in pairs])


@pytest.mark.parametrize("votes", [1, 5])
def test_in_each_bin_the_longer_wins_as_often_as_the_shorter(votes):
    log_length, preference, weight = made(votes=votes)
    share, weighed = after(log_length, preference, weight)
    apart = log_length != 0
    for_longer = np.where(log_length > 0, share, 1 - share)[apart]
    edges = np.quantile(np.abs(log_length[apart]), np.linspace(0, 1, 11))
    for low, high in pairwise(edges):
        here = (np.abs(log_length[apart]) >= low) & (np.abs(log_length[apart]) < high)
        assert np.average(for_longer[here], weights=weighed[apart][here]) == pytest.approx(0.5, abs=0.01)
    assert weighed.sum() == pytest.approx(weight.sum())
    assert (share[~apart] == preference[~apart]).all()


def test_balanced_labels_stay_as_they_are():
    log_length, _, weight = made()
    preference = np.full(len(log_length), 0.5)
    share, weighed = after(log_length, preference, weight)
    np.testing.assert_allclose(share, preference)
    np.testing.assert_allclose(weighed, weight)


def test_a_rare_side_is_weighed_five_times_at_most():
    log_length = np.ones(100)
    preference = np.r_[np.ones(99), 0.0]
    _, weighed = after(log_length, preference, np.ones(100))
    assert weighed[-1] / weighed[0] == pytest.approx(5 / (100 / (2 * 99)))


@given(st.lists(st.tuples(st.floats(-2, 2), st.sampled_from([0.0, 0.3, 0.5, 1.0])), max_size=8))
def test_a_pair_and_its_mirror_image_get_the_same(rows):
    log_length = np.array([length for length, _ in rows], dtype=float)
    preference = np.array([share for _, share in rows], dtype=float)
    share, weighed = after(log_length, preference, np.ones(len(rows)))
    other_share, other_weighed = after(-log_length, 1 - preference, np.ones(len(rows)))
    np.testing.assert_allclose(other_share, 1 - share, atol=1e-12)
    np.testing.assert_allclose(other_weighed, weighed)
    assert np.isfinite(weighed).all() and (weighed > 0).all()
