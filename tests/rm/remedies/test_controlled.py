"""Terms of features that are learnt beside the model, against derivatives, likelihoods and planted values."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from rm.remedies.controlled import Control
from rm.train.loss import bradley_terry_loss


def drawn(count, seed=0, features=2):
    """Margins of rewards, differences of features, shares of votes, target margins and weights."""
    random = np.random.default_rng(seed)
    rows = random.normal(0, 2, count), random.normal(size=(count, features)), random.choice([0, 0.3, 0.5, 1], count)
    return [torch.from_numpy(each) for each in (*rows, random.choice([0, 0.5], count), random.uniform(0.5, 2, count))]


def took(control, *columns):
    control.advance(control.sums(*columns).tolist(), len(columns[0]))


@given(st.integers(0, 10**6))
def test_the_sums_are_the_gradient_of_the_loss_and_at_least_its_curvature(seed):
    control = Control(2)
    control.restore((0.7, -1.1, 1.0, 0.0, 0.0, 1.0))
    columns = [each.float() for each in drawn(9, seed)]
    margin, differences, preference, target, weight = columns

    def loss(coefficients):
        explained = margin + differences @ coefficients
        return (weight * bradley_terry_loss(explained, torch.zeros_like(explained), preference, target)).sum()

    at = torch.tensor(control.coefficients, dtype=torch.float32)
    found = control.sums(*columns)
    torch.testing.assert_close(found[:2].float(), -torch.autograd.functional.jacobian(loss, at), rtol=1e-3, atol=1e-4)
    second = torch.autograd.functional.hessian(loss, at)
    assert torch.linalg.eigvalsh(found[2:].reshape(2, 2).float() - second).min() > -1e-3


def test_where_votes_are_as_likely_as_the_rewards_say_the_sums_are_the_curvature():
    margin, differences, _, _, weight = (each.float() for each in drawn(50))
    share = torch.sigmoid(margin)

    def loss(coefficients):
        explained = margin + differences @ coefficients
        return (weight * bradley_terry_loss(explained, torch.zeros_like(explained), share, 0 * share)).sum()

    found = Control(2).sums(margin, differences, share, 0 * share, weight)
    second = torch.autograd.functional.hessian(loss, torch.zeros(2))
    torch.testing.assert_close(found[2:].reshape(2, 2).float(), second, rtol=1e-3, atol=1e-4)


def test_votes_that_are_errors_do_not_make_the_coefficients_jump_where_rewards_are_sure():
    random = np.random.default_rng(0)
    control, seen = Control(1), []
    for _ in range(400):
        sure, feature = 20 * random.choice([-1.0, 1.0], 64), random.normal(size=(64, 1))
        vote = (sure > 0) != (random.random(64) < 0.05)
        rows = sure, feature, vote.astype(float), np.zeros(64), np.ones(64)
        took(control, *(torch.from_numpy(each).float() for each in rows))
        seen.append(control.coefficients[0])
    assert np.std(seen) < 0.5  # by the curvature alone it is 5
    assert abs(np.mean(seen)) < 0.2


def test_on_the_same_pairs_again_and_again_it_ends_at_their_likeliest_coefficients():
    columns = [each.float() for each in drawn(300)]
    margin, differences, preference, target, weight = (each.numpy().astype(float) for each in columns)

    def loss(coefficients):
        explained = margin + differences @ coefficients
        sides = np.logaddexp(0, target - explained), np.logaddexp(0, target + explained)
        return (weight * (preference * sides[0] + (1 - preference) * sides[1])).sum()

    control = Control(2)
    for _ in range(2000):
        took(control, *columns)
    np.testing.assert_allclose(control.coefficients, minimize(loss, np.zeros(2), tol=1e-10).x, atol=1e-3)


def test_a_planted_liking_is_found_whole_where_the_rewards_know_the_quality():
    """A regression of votes on the feature alone, which is what rewards of zero give, finds two thirds of it."""
    random = np.random.default_rng(0)
    knowing, blind = Control(1), Control(1)
    for _ in range(400):
        quality, feature = random.normal(0, 3, 32), random.normal(size=(32, 1))
        vote = random.random(32) < 1 / (1 + np.exp(-quality - 2 * feature[:, 0]))
        rows = feature, vote.astype(float), np.zeros(32), np.ones(32)
        rest = [torch.from_numpy(each).float() for each in rows]
        took(knowing, torch.from_numpy(quality).float(), *rest)
        took(blind, torch.zeros(32), *rest)
    assert knowing.coefficients[0] == pytest.approx(2, abs=0.3)
    assert 0.5 < blind.coefficients[0] < 1.4


@pytest.mark.parametrize("scale", [1e-4, 1e-2, 1.0, 100.0])
def test_on_whatever_scale_all_weights_are_the_coefficients_are_the_same(scale):
    *columns, weight = (each.float() for each in drawn(200))
    plain, scaled = Control(2, float(weight.mean())), Control(2, scale * float(weight.mean()))
    for _ in range(20):
        took(plain, *columns, weight)
        took(scaled, *columns, scale * weight)
    np.testing.assert_allclose(scaled.coefficients, plain.coefficients, rtol=1e-4)


def test_older_pairs_are_forgotten():
    random = np.random.default_rng(1)
    control = Control(1)
    for liking in [3.0] * 200 + [-1.0] * 400:
        feature = random.normal(size=(32, 1))
        vote = (random.random(32) < 1 / (1 + np.exp(-liking * feature[:, 0]))).astype(float)
        rows = np.zeros(32), feature, vote, np.zeros(32), np.ones(32)
        took(control, *(torch.from_numpy(each).float() for each in rows))
    assert control.coefficients[0] == pytest.approx(-1, abs=0.3)


def test_what_never_differs_or_says_the_same_again_is_no_trouble():
    margin, differences, *rest = (each.float() for each in drawn(200))
    control = Control(3)
    columns = torch.stack([differences[:, 0], torch.zeros(200), differences[:, 0]], dim=1)
    for _ in range(50):
        took(control, margin, columns, *rest)
    assert control.coefficients[1] == 0
    assert control.coefficients[0] == pytest.approx(control.coefficients[2])
    alone = Control(1)
    for _ in range(50):
        took(alone, margin, differences[:, :1], *rest)
    assert control.coefficients.sum() == pytest.approx(alone.coefficients[0], abs=1e-2)


def test_without_features_nothing_is_explained():
    margin, _, *rest = (each.float() for each in drawn(5))
    control = Control(0)
    none = torch.empty(5, 0)
    assert control.num_sums == 0 and control.sums(margin, none, *rest).shape == (0,)
    took(control, margin, none, *rest)
    assert control.log_odds(none).tolist() == [0.0] * 5


def test_a_state_that_was_kept_goes_on_as_before():
    columns = [each.float() for each in drawn(40)]
    one, other = Control(2), Control(2)
    other.restore(())
    assert other.coefficients.tolist() == [0, 0]
    took(one, *columns)
    other.restore(one.state)
    for each in (one, other):
        took(each, *columns)
    assert one.state == other.state
