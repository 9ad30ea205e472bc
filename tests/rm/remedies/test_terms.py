"""Terms of the loss that look at all rewards of a step, against their definitions."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rm.remedies.correlation import RunningCorrelation, moments, squared_correlation

numbers = st.floats(-5, 5, allow_nan=False, width=32)
pairs = st.lists(st.tuples(numbers, numbers, numbers, st.floats(0.125, 4, width=32)), min_size=1, max_size=12)


def columns(rows):
    return [torch.tensor(column, dtype=torch.float64) for column in zip(*rows, strict=True)]


def squared(margin, surface, weight):
    """Of one head over these pairs alone."""
    own = moments(margin[:, None], surface.reshape(len(margin), -1), weight[:, None])
    return squared_correlation(own / own[:, :1, :1]).item()


@given(pairs)
def test_with_one_feature_it_is_the_correlation_of_numpy_over_both_orders_of_each_pair(rows):
    first, second, length, weight = columns(rows)
    margin = first - second
    found = squared(margin, length, weight)
    both = [np.concatenate([each.numpy(), -each.numpy()]) for each in (margin, length)]
    if min(np.abs(each).max() for each in both) < 1e-2:
        return
    covariance = np.cov(*both, aweights=np.tile(weight.numpy(), 2), ddof=0)
    expected = covariance[0, 1] ** 2 / (covariance[0, 0] * covariance[1, 1])
    assert found == pytest.approx(expected, abs=1e-6)
    assert squared(-margin, -length, weight) == pytest.approx(found)
    assert squared(7 * margin, length / 3, weight) == pytest.approx(found, abs=1e-6)


def drawn(count, seed=0):
    """Reward differences that follow two of four features, the last of which says what the first says."""
    random = np.random.default_rng(seed)
    surface = random.normal(size=(count, 4)) * [1, 3, 0, 1]
    surface[:, 3] = 2 * surface[:, 0]
    margin = surface[:, 0] - surface[:, 1] / 3 + random.normal(size=count) + 0.5
    return [torch.from_numpy(each) for each in (margin, surface, random.uniform(0.5, 2, count))]


def test_with_several_it_is_the_explained_share_of_a_weighted_regression_without_constant():
    margin, surface, weight = drawn(500)
    root = np.sqrt(weight.numpy())
    left, right = root[:, None] * surface.numpy()[:, :2], root * margin.numpy()
    fitted = left @ np.linalg.lstsq(left, right, rcond=None)[0]
    share = (fitted**2).sum() / (right**2).sum()
    assert 0.3 < share < 0.9
    assert squared(margin, surface[:, :2], weight) == pytest.approx(share, abs=0.01)
    # A feature that never differs and one that says the same again change nothing.
    assert squared(margin, surface, weight) == pytest.approx(share, abs=0.01)


def test_equal_rewards_or_lengths_have_no_correlation_and_a_finite_gradient():
    zero, length = torch.zeros(3, 1, requires_grad=True), torch.tensor([[1.0], [-1.0], [2.0]])
    term = RunningCorrelation().term(zero, length, torch.ones(3, 1))
    assert term.item() == 0
    [gradient] = torch.autograd.grad(term.sum(), zero)
    assert gradient.isfinite().all()
    rewards = torch.tensor([[1.0], [2.0], [3.0]])
    assert RunningCorrelation().term(rewards, torch.zeros(3, 1), torch.ones(3, 1)).item() == 0
    assert RunningCorrelation().term(rewards, torch.zeros(3, 0), torch.ones(3, 1)).item() == 0
    assert RunningCorrelation().term(rewards, length, torch.zeros(3, 1)).item() == 0


def steps(count, size, seed=0):
    margin, surface, weight = drawn(count * size, seed)
    return [(margin[at::count, None], surface[at::count], weight[at::count, None]) for at in range(count)]


def test_the_first_step_has_the_correlation_and_the_gradient_of_its_own_pairs():
    [(margin, surface, weight)] = steps(1, 40)
    one, other = margin.clone().requires_grad_(), margin.clone().requires_grad_()
    own = moments(one, surface, weight)
    expected = squared_correlation(own / own[:, :1, :1])
    found = RunningCorrelation().term(other, surface, weight)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(term.sum(), each)[0] for term, each in ((expected, one), (found, other))]
    torch.testing.assert_close(*gradients)


def test_later_steps_are_judged_by_all_pairs_with_fading_weights():
    running, every = RunningCorrelation(), steps(5, 8)
    for step in every:
        found = running.term(*step)
        assert running.term(*step).item() == pytest.approx(found.item())  # a step that is tried again counts once
        running.advance()
    faded = [0.5 ** (4 - at) * weight for at, (_, _, weight) in enumerate(every)]
    margin, surface = (torch.cat([step[column] for step in every]) for column in (0, 1))
    assert found.item() == pytest.approx(squared(margin[:, 0], surface, torch.cat(faded)[:, 0]), abs=1e-9)


def test_small_steps_without_correlation_are_not_taken_for_correlated():
    random = np.random.default_rng(0)
    running, alone, together = RunningCorrelation(), [], []
    for _ in range(1500):
        margin, surface, weight = (torch.from_numpy(random.normal(size=(16, 1))) for _ in range(3))
        weight = torch.ones_like(weight)
        together.append(running.term(margin, surface, weight).item())
        alone.append(RunningCorrelation().term(margin, surface, weight).item())
        running.advance()
    assert np.mean(alone) == pytest.approx(1 / 16, rel=0.3)
    assert np.mean(together[20:]) == pytest.approx(1 / 48, rel=0.25)


def test_heads_have_their_own_and_a_state_that_was_kept_goes_on_as_before():
    running, every = RunningCorrelation(), steps(3, 8)
    assert running.state == ()
    running.restore(())
    for margin, surface, weight in every[:2]:
        running.term(
            torch.cat([margin, -2 * surface[:, :1]], dim=1).float(), surface.float(), weight.repeat(1, 2).float()
        )
        running.advance()
    again = RunningCorrelation()
    again.restore(running.state)
    assert again.state == running.state
    margin, surface, weight = (each.float() for each in every[2])
    both = torch.cat([margin, -2 * surface[:, :1]], dim=1)
    found = again.term(both, surface, weight.repeat(1, 2))
    assert torch.equal(found, running.term(both, surface, weight.repeat(1, 2)))
    assert found[1].item() == pytest.approx(1, abs=0.01) and found[0] < 0.95
