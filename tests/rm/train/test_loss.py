import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rm.train.config import TrainConfig
from rm.train.loss import PAIR_TERMS, bradley_terry_loss, pair_loss
from rm.train.settings import StepSettings

rewards = st.floats(-30, 30, width=32)
shares = st.floats(0, 1, width=32)


def loss(first, second, preference=None, target_margin=None, centering=0.0):
    """The loss of one pair, a float."""
    optional = [None if value is None else torch.tensor([value]) for value in (preference, target_margin)]
    rewards = torch.tensor([first]), torch.tensor([second])
    if not centering:
        return bradley_terry_loss(*rewards, *optional).item()
    label = [
        torch.tensor([float(default)]) if value is None else value
        for value, default in zip(optional, (1, 0), strict=True)
    ]
    return pair_loss(*rewards, *label, {"centering": centering}, torch.zeros(1)).item()


@pytest.mark.parametrize("reward", [0.0, -3.5, 1e4])
@pytest.mark.parametrize("preference", [None, 0.0, 0.3, 1.0])
def test_loss_is_ln_2_at_equal_rewards_whatever_the_label(reward, preference):
    assert loss(reward, reward, preference) == pytest.approx(math.log(2), rel=1e-6)


@pytest.mark.parametrize(("margin", "nats"), [(1.0, 0.31326169), (-1.0, 1.31326169), (-100.0, 100.0), (100.0, 0.0)])
def test_loss_matches_closed_form(margin, nats):
    assert loss(margin, 0.0) == pytest.approx(nats, rel=1e-6)
    assert loss(0.0, margin, preference=0.0) == pytest.approx(nats, rel=1e-6)


@given(rewards, rewards, shares, st.floats(0, 5, width=32))
def test_loss_matches_a_double_precision_oracle(first, second, preference, target):
    def softplus(value):
        return max(value, 0) + math.log1p(math.exp(-abs(value)))

    margin = first - second
    expected = preference * softplus(target - margin) + (1 - preference) * softplus(target + margin)
    assert loss(first, second, preference, target) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_loss_is_one_value_a_pair_so_that_the_caller_can_weigh_them():
    first, second = torch.tensor([1.0, 0.0, -2.0]), torch.tensor([0.0, 0.0, 1.0])
    each = [loss(one, other) for one, other in zip(first.tolist(), second.tolist(), strict=True)]
    torch.testing.assert_close(bradley_terry_loss(first, second), torch.tensor(each))


@given(rewards, rewards, shares, st.sampled_from([-64.0, 8.0, 512.0]))
def test_loss_ignores_a_shared_offset(first, second, preference, offset):
    shifted = loss(first + offset, second + offset, preference)
    assert shifted == pytest.approx(loss(first, second, preference), rel=1e-3, abs=1e-3)


@given(rewards, rewards, shares, st.floats(0, 5, width=32), st.sampled_from([0.0, 0.1]))
def test_swapping_the_responses_and_their_label_changes_nothing(first, second, preference, target, centering):
    here = loss(first, second, preference, target, centering)
    there = loss(second, first, 1 - preference, target, centering)
    assert here == pytest.approx(there, rel=1e-5, abs=1e-6)


@given(st.floats(0.05, 0.95), rewards)
def test_a_soft_label_is_fitted_best_by_its_own_log_odds_and_then_costs_its_entropy(preference, other):
    best = loss(math.log(preference / (1 - preference)), 0.0, preference)
    entropy = -preference * math.log(preference) - (1 - preference) * math.log(1 - preference)
    assert best == pytest.approx(entropy, rel=1e-5)
    assert loss(other, 0.0, preference) >= best - 1e-6


@pytest.mark.parametrize("distance", [0.1, 1.0, 50.0])
def test_a_tie_is_fitted_best_by_equal_rewards(distance):
    assert loss(2.0, 2.0, 0.5) < loss(2.0 + distance, 2.0, 0.5)
    assert loss(2.0 + distance, 2.0, 0.5) == pytest.approx(loss(2.0, 2.0 + distance, 0.5), rel=1e-6)


@pytest.mark.parametrize("preference", [1.0, 0.0])
def test_a_target_margin_asks_the_preferred_response_for_more(preference):
    first, second = (1.5, 0.0) if preference else (0.0, 1.5)
    assert loss(first, second, preference, target_margin=1.5) == pytest.approx(math.log(2), rel=1e-6)
    assert loss(first, second, preference, target_margin=2.0) > loss(first, second, preference, target_margin=1.0)


def test_centering_adds_the_squared_sum_and_so_fixes_the_offset():
    assert loss(3.0, -1.0, centering=0.25) == pytest.approx(loss(3.0, -1.0) + 0.25 * 4, rel=1e-6)
    assert loss(2.0, -2.0, centering=10.0) == loss(2.0, -2.0)
    assert loss(5.0, 4.0, centering=0.1) > loss(0.5, -0.5, centering=0.1)


@pytest.mark.parametrize("preference", [0.0, 0.25, 0.5, 1.0])
def test_loss_and_gradient_stay_finite_at_huge_rewards(preference):
    first = torch.tensor([1e4, -1e4, 1e4], requires_grad=True)
    second = torch.tensor([-1e4, 1e4, 1e4], requires_grad=True)
    losses = bradley_terry_loss(first, second, torch.full((3,), preference))
    expected = torch.tensor([2e4 * (1 - preference), 2e4 * preference, math.log(2)])
    torch.testing.assert_close(losses.detach(), expected)
    losses.sum().backward()
    assert first.grad.isfinite().all()
    torch.testing.assert_close(first.grad, -second.grad)


@pytest.mark.parametrize(
    "shapes",
    [
        [(3, 1), (3,)],
        [(3,), (3, 1)],
        [(3, 1), (3, 1)],
        [(), ()],
        [(0,), (0,)],
        [(3,), (2,)],
        [(3,), (3,), (1,)],
        [(3,), (3,), (3,), (3, 1)],
    ],
    ids=str,
)
def test_shapes_that_would_broadcast_or_are_empty_are_refused(shapes):
    with pytest.raises(ValueError, match=r"expected tensors of one shape \(B,\) with B > 0, got \[\("):
        bradley_terry_loss(*(torch.zeros(shape) for shape in shapes))


@pytest.mark.parametrize("place", range(4))
def test_gradient_matches_finite_differences(place):
    values = [torch.tensor([0.3, -1.2, 2.0]), torch.tensor([0.5, 1.0, -0.7])]
    values += [torch.tensor([1.0, 0.0, 0.4]), torch.tensor([0.0, 0.5, 1.0])]
    values[place].requires_grad_()
    explained = torch.tensor([0.0, 1.0, -2.0])
    pair_loss(*values, {"centering": 0.2}, explained).sum().backward()

    def at(step):
        moved = [value.detach() + (step if index == place else 0.0) for index, value in enumerate(values)]
        return pair_loss(*moved, {"centering": 0.2}, explained)

    torch.testing.assert_close(values[place].grad, (at(1e-2) - at(-1e-2)) / 2e-2, rtol=1e-3, atol=1e-3)


def test_bfloat16_rewards_are_subtracted_in_float32():
    first, second = torch.tensor([0.25], dtype=torch.bfloat16), torch.tensor([200.0], dtype=torch.bfloat16)
    assert (second - first).item() == 200.0  # the difference rounds in bfloat16
    losses = bradley_terry_loss(first, second)
    assert losses.dtype == torch.float32
    assert losses.item() == 199.75


def test_every_term_has_a_coefficient_that_is_0_by_default_and_a_line_in_the_document():
    document = (Path(__file__).parents[3] / "docs" / "training.md").read_text(encoding="utf-8")
    for name in PAIR_TERMS:
        assert TrainConfig.model_fields[name].default == 0.0
        assert isinstance(vars(StepSettings)[name], property)
        assert f"`train.{name}`" in document
