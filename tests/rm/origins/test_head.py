"""A head that is fitted anew, and what each judgement adds to what it pays."""

import numpy as np
import pytest
import scipy.special
from sklearn.linear_model import LogisticRegression

from rm.origins.head import Head
from rm.origins.payment import Payment

NUM, WIDTH = 300, 5


@pytest.fixture(scope="module")
def drawn():
    random = np.random.default_rng(0)
    states = random.normal(0, [1, 2, 0.5, 1, 3], (NUM, WIDTH))
    log_odds = states @ [1.0, 0.2, 0.0, -0.5, 0.1]
    preference = (random.random(NUM) < scipy.special.expit(log_odds)).astype(float)
    preference[::9] = 0.5
    return states, preference, random.uniform(0.5, 2.0, NUM), np.arange(NUM) // 3


@pytest.fixture(scope="module")
def head(drawn):
    return Head(*drawn)


@pytest.fixture(scope="module")
def payment():
    random = np.random.default_rng(1)
    return Payment.of(random.normal(size=(200, WIDTH)), random.normal(size=200) * 7)


def test_the_weights_are_those_of_scikit_learn(head, drawn):
    states, preference, weight, _ = drawn
    inputs = states / np.sqrt((states**2).mean(axis=0))
    other = LogisticRegression(C=1 / head.penalty, fit_intercept=False, tol=1e-10, max_iter=1000)
    both = np.concatenate([weight * preference, weight * (1 - preference)])
    other.fit(np.concatenate([inputs, inputs]), np.repeat([1, 0], NUM), both)
    assert head.weights == pytest.approx(other.coef_[0], abs=1e-5)
    assert head.margins(states) == pytest.approx(inputs @ other.coef_[0], abs=1e-4)


def test_pairs_the_other_way_round_give_the_same_head(head, drawn):
    states, preference, weight, prompt = drawn
    sign = np.where(np.arange(NUM) % 2, 1.0, -1.0)
    turned = Head(states * sign[:, None], np.where(sign > 0, preference, 1 - preference), weight, prompt)
    assert turned.weights == pytest.approx(head.weights, abs=1e-6)


def test_the_direction_is_the_gradient_of_what_is_paid(head, payment):
    for axis in range(WIDTH):
        step = np.zeros(WIDTH)
        step[axis] = 1e-5 * head.scale[axis]  # weights are for states in units of their size
        slope = (payment.paid(head, head.weights + step) - payment.paid(head, head.weights - step)) / 2e-5
        assert payment.direction(head)[axis] == pytest.approx(slope, abs=1e-8)


def test_one_newton_step_foretells_what_leaving_out_a_judgement_does(head, payment):
    foretold = head.without_each(payment.direction(head))
    for index in range(0, NUM, 29):
        kept = np.arange(NUM) != index
        really = payment.paid(head, head.fitted(kept)) - payment.paid(head)
        assert foretold[index] == pytest.approx(really, rel=0.1, abs=2e-5)


def test_without_a_curvature_the_gradients_say_the_same_up_to_size_where_all_directions_are_alike():
    random = np.random.default_rng(2)
    states = np.linalg.qr(random.normal(size=(60, 60)))[0] * 3
    head = Head(states, np.full(60, 0.7), np.ones(60), np.arange(60))
    direction = random.normal(size=60)
    one, other = head.without_each(direction), head.gradients_along(direction)
    assert np.corrcoef(one, other)[0, 1] > 0.99


def test_what_is_paid_and_asked_by_hand():
    states, feature = np.array([[1.0], [-1.0], [2.0]]), np.array([2.0, -2.0, 2.0])
    payment = Payment.of(states, feature)
    assert payment.feature.tolist() == [1.0, -1.0, 1.0]
    head = Head(np.array([[1.0], [1.0], [1.0]]), np.array([1.0, 1.0, 0.0]), np.ones(3), np.arange(3))
    chance = scipy.special.expit(states[:, 0] * head.weights[0])
    assert payment.paid(head) == pytest.approx(((chance - 0.5) * [1, -1, 1]).mean())
    assert payment.asked(head) == pytest.approx(((1 - chance) * [1, -1, 1]).mean())
    assert payment.accuracy(head) == pytest.approx(2 / 3)
    assert payment.paid(head) + payment.asked(head) == pytest.approx(0.5 * np.mean([1, -1, 1]))


@pytest.mark.parametrize("share", [1.0, 0.25, 0.04])
def test_what_is_paid_for_a_mark_is_that_of_the_pairs_that_differ_in_it(share):
    """Whoever has the mark wins so much, however few pairs differ in it."""
    marked = np.where(np.arange(400) < 400 * share, np.where(np.arange(400) % 2, 1.0, -1.0), 0.0)
    payment = Payment.of(marked[:, None], 7 * marked)
    head = Head(np.ones((400, 1)), np.repeat([1.0, 0.0], [300, 100]), np.ones(400), np.arange(400))
    wins = scipy.special.expit(head.weights[0])
    assert payment.paid(head) == pytest.approx(wins - 0.5)
    chosen = Payment.of(np.abs(marked)[:, None], np.abs(marked))
    assert chosen.asked(head) == pytest.approx(1 - wins)
    assert payment.direction(head) == pytest.approx([wins * (1 - wins)])
