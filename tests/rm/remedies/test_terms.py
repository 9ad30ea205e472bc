"""Terms of the loss that look at all rewards of a step, against their definitions."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rm.remedies.length_correlation import length_correlation
from rm.remedies.sum_to_zero import sum_to_zero

numbers = st.floats(-5, 5, allow_nan=False, width=32)
pairs = st.lists(st.tuples(numbers, numbers, numbers, st.floats(0.125, 4, width=32)), min_size=1, max_size=12)


def columns(rows):
    return [torch.tensor(column, dtype=torch.float64) for column in zip(*rows, strict=True)]


@given(pairs)
def test_the_sum_is_that_of_its_definition_and_a_constant_shows(rows):
    first, second, _, weight = columns(rows)
    mean = np.average([(a + b) / 2 for a, b, *_ in rows], weights=[row[3] for row in rows])
    assert sum_to_zero(first, second, weight).item() == pytest.approx(mean**2, abs=1e-9)
    assert sum_to_zero(first + 3 - mean, second + 3 - mean, weight).item() == pytest.approx(9)


def test_differences_between_prompts_are_no_sum():
    first, second = torch.tensor([4.0, -4.0]), torch.tensor([3.0, -3.0])
    assert sum_to_zero(first, second, torch.ones(2)) == 0


@given(pairs)
def test_the_correlation_is_that_of_numpy_over_both_orders_of_each_pair(rows):
    first, second, length, weight = columns(rows)
    found = length_correlation(first, second, length, weight).item()
    margin = (first - second).numpy()
    both = np.concatenate([margin, -margin]), np.concatenate([length.numpy(), -length.numpy()])
    if min(np.abs(margin).max(), np.abs(length.numpy()).max()) < 1e-2:
        return
    covariance = np.cov(*both, aweights=np.tile(weight.numpy(), 2), ddof=0)
    expected = covariance[0, 1] ** 2 / (covariance[0, 0] * covariance[1, 1])
    assert found == pytest.approx(expected, abs=1e-6)
    assert length_correlation(second, first, -length, weight).item() == pytest.approx(found)
    assert length_correlation(7 * first, 7 * second, length / 3, weight).item() == pytest.approx(found, abs=1e-6)


def test_equal_rewards_or_lengths_have_no_correlation_and_a_finite_gradient():
    zero, length = torch.zeros(3, requires_grad=True), torch.tensor([1.0, -1.0, 2.0])
    term = length_correlation(zero, torch.zeros(3), length, torch.ones(3))
    assert term == 0
    [gradient] = torch.autograd.grad(term, zero)
    assert gradient.isfinite().all()
    rewards = torch.tensor([1.0, 2.0, 3.0])
    assert length_correlation(rewards, torch.zeros(3), torch.zeros(3), torch.ones(3)) == 0
