import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rm.stats.sufficiency import Account, Judged, Sufficiency, critical_value, ranked, usual


def world(num_pairs=600, seed=0, per_prompt=2):
    """Pairs with a quality that labels follow, and a model that sees it with noise; no feature matters."""
    random = np.random.default_rng(seed)
    quality = random.normal(size=num_pairs)
    length = random.normal(size=num_pairs)
    feature = random.normal(size=num_pairs) * (random.random(num_pairs) < 0.4)
    other = feature + 0.5 * random.normal(size=num_pairs)
    won = random.random(num_pairs) < scipy.special.expit(1.5 * quality)
    pairs = Judged(
        margin=quality + random.normal(size=num_pairs),
        preference=np.where(won, 1.0, 0.0),
        cluster=np.arange(num_pairs) // per_prompt,
        num_clusters=-(-num_pairs // per_prompt),
        stratum=random.integers(0, 3, num_pairs),
        length=length,
        weight=random.choice([1.0, 2.0], num_pairs),
    )
    return pairs, np.column_stack([length, feature, other])


IS_LENGTH = [True, False, False]


def overpaying(strength, column=0, **sizes):
    pairs, features = world(**sizes)
    return replace(pairs, margin=pairs.margin + strength * usual(features)[:, column]), features


def slowly(pairs, features, is_length):
    """The formulas of the docstring, one pair at a time where it can be, with another optimiser."""
    n = len(pairs.margin)
    size = np.abs(pairs.margin)
    w = pairs.weight / pairs.weight.mean()
    rank = np.array([w[size < each].sum() + (w[size == each].sum() + 1) / 2 for each in size])
    r = np.sign(pairs.margin) * scipy.stats.norm.ppf(0.5 + rank / (2 * (n + 1)))

    def scaled(values):
        return values / np.sqrt((w * values**2).sum() / w[values != 0].sum())

    def above_the_median(values):
        return np.array([w[values < each].sum() >= n / 2 for each in values])

    def fitted(base):
        def loss(b):
            odds = base @ b
            return (w * (np.logaddexp(0, odds) - pairs.preference * odds)).sum()

        def slope(b):
            return base.T @ (w * (scipy.special.expit(base @ b) - pairs.preference))

        found = scipy.optimize.minimize(loss, np.zeros(base.shape[1]), jac=slope, method="BFGS", options={"gtol": 1e-9})
        return found.x, scipy.special.expit(base @ found.x)

    def freed(values, base, weights):
        root = np.sqrt(weights)
        return values - base @ np.linalg.lstsq(base * root[:, None], values * root, rcond=None)[0]

    length = scaled(pairs.length)
    largest = max(set(pairs.stratum.tolist()), key=lambda value: (pairs.stratum == value).sum())
    (t,), _ = fitted(r[:, None])
    for column, flag in zip(features.T, is_length, strict=True):
        d = scaled(column)
        columns = [r, *(r * (pairs.stratum == value) for value in sorted(set(pairs.stratum.tolist()) - {largest}))]
        columns += [r * np.minimum(abs(length), 3), r * above_the_median(abs(length))]
        columns += [] if flag else [length]
        if (d != 0).sum() >= 100 and not flag:  # for length itself the column is there already
            columns += [r * np.minimum(abs(d), 3)]
        base = np.column_stack(columns)
        _, p = fitted(base)
        curvature = w * p * (1 - p)
        rest = freed(d, base, curvature)
        u = np.zeros(pairs.num_clusters)
        for pair, cluster in enumerate(pairs.cluster):
            u[cluster] += w[pair] * rest[pair] * (pairs.preference[pair] - p[pair])
        information = (curvature * rest**2).sum()
        root = math.sqrt(max((u**2).sum(), (w * curvature * rest**2).sum()))
        d0, r0 = (d, r) if flag else (freed(d, length[:, None], w), freed(r, length[:, None], w))
        k = (w * d0 * r0).sum() / (w * d0**2).sum()
        v = np.zeros(pairs.num_clusters)
        for pair, cluster in enumerate(pairs.cluster):
            v[cluster] += w[pair] * d0[pair] * (r0[pair] - k * d0[pair])
        scale = curvature.mean()
        yield (
            scale * u.sum() / information,
            scale * root / information,
            scale * t * k,
            scale * t * math.sqrt((v**2).sum()) / (w * d0**2).sum(),
        )


def test_every_number_is_that_of_a_slow_reading_of_the_formulas():
    pairs, features = overpaying(0.5)
    found, _ = Sufficiency(pairs).accounts(features, IS_LENGTH)
    for account, expected in zip(found, slowly(pairs, features, IS_LENGTH), strict=True):
        numbers = (account.asked, account.asked_error, account.paid, account.paid_error)
        assert numbers == pytest.approx(expected, rel=1e-5, abs=1e-9)


@given(arrays.arrays(np.float64, st.integers(1, 30), elements=st.floats(-1e6, 1e6)))
def test_normal_scores_keep_order_size_and_sign(margin):
    scores = ranked(margin)
    np.testing.assert_array_equal(np.sign(scores), np.sign(margin))
    np.testing.assert_array_equal(ranked(-margin), -scores)
    order = np.argsort(np.abs(margin))
    assert (np.diff(np.abs(scores[order])) >= 0).all()
    assert len(set(np.abs(scores).tolist()) - {0.0}) == len(set(np.abs(margin).tolist()) - {0.0})


@pytest.mark.parametrize("change", [np.arctan, np.sinh, lambda m: 1e6 * m, np.cbrt])
def test_what_keeps_the_order_of_margins_changes_nothing(change):
    pairs, features = overpaying(0.5)
    one, _ = Sufficiency(pairs).accounts(features, IS_LENGTH)
    other, _ = Sufficiency(replace(pairs, margin=change(pairs.margin))).accounts(features, IS_LENGTH)
    assert one == other


@given(
    arrays.arrays(np.float64, 12, elements=st.integers(-3, 3)),
    arrays.arrays(np.int64, 12, elements=st.integers(1, 4)),
)
def test_a_margin_of_weight_k_has_the_score_of_k_equal_margins(margin, times):
    several = ranked(np.repeat(margin, times))
    np.testing.assert_allclose(np.repeat(ranked(margin, times.astype(float)), times), several, rtol=1e-12)
    np.testing.assert_array_equal(ranked(margin, np.ones(12)), ranked(margin))


def repeated(pairs, times):
    """Each pair several times, in the same cluster and with weight 1."""
    columns = {name: np.repeat(getattr(pairs, name), times) for name in ("margin", "preference", "cluster", "stratum")}
    weight = np.ones(times.sum())
    return replace(pairs, **columns, length=np.repeat(pairs.length, times), weight=weight)


def test_a_pair_of_weight_k_asks_and_pays_what_k_equal_pairs_do():
    """With two rewards, so that ranks do not depend on the number of pairs."""
    pairs, features = overpaying(0.5)
    times = np.random.default_rng(4).integers(1, 5, len(pairs.margin))
    pairs = replace(pairs, margin=np.sign(pairs.margin), weight=times.astype(float))
    weighted, _ = Sufficiency(pairs).accounts(features, IS_LENGTH)
    several, _ = Sufficiency(repeated(pairs, times)).accounts(np.repeat(features, times, axis=0), IS_LENGTH)
    for one, other in zip(weighted, several, strict=True):
        assert (one.asked, one.paid) == pytest.approx((other.asked, other.paid), rel=1e-6)


def disagreeing(seed, paid, num_pairs=4000):
    """Pairs that were drawn more often where the model disagrees with labels that go by length: what was drawn looks as
    if the model punished length. It pays ``paid`` for it, and labels ask for more.
    """
    pairs, features = world(num_pairs=num_pairs, seed=seed, per_prompt=1)
    random = np.random.default_rng([seed, 1])
    labels = random.random(num_pairs) < scipy.special.expit(3 * pairs.margin + 2 * pairs.length)
    margin = pairs.margin + paid * pairs.length
    probability = np.where((margin > 0) == labels, 0.2, 0.9)
    kept = np.flatnonzero(random.random(num_pairs) < probability)
    drawn = Judged(
        margin=margin[kept],
        preference=labels[kept].astype(float),
        cluster=np.arange(len(kept)),
        num_clusters=len(kept),
        stratum=np.zeros(len(kept), dtype=np.int64),
        length=pairs.length[kept],
        weight=1 / probability[kept],
    )
    return drawn, features[kept]


def bound(pairs, features):
    found, scores = Sufficiency(pairs).accounts(features, IS_LENGTH)
    return found[0].bound(critical_value(scores, 500, 0))


@pytest.mark.parametrize("seed", range(3))
def test_known_probabilities_acquit_a_sound_model_that_a_choice_by_disagreement_accuses(seed):
    pairs, features = disagreeing(seed, paid=0.05)
    assert bound(replace(pairs, weight=np.ones(len(pairs.margin))), features) > 0
    assert bound(pairs, features) < 0


def test_known_probabilities_leave_a_planted_bias():
    assert bound(*disagreeing(0, paid=-0.5)) > 0.04


@pytest.mark.slow
def test_an_indifferent_model_on_weighted_pairs_is_accused_no_more_often_than_by_chance():
    """Labels ask for length and it pays 0, so that the sign of what it seems to pay is chance."""
    accused = sum(bound(*disagreeing(seed, paid=0.0, num_pairs=1500)) > 0 for seed in range(100, 400))
    assert accused <= scipy.stats.binom.ppf(0.999, 300, 0.05)


def numbers(accounts):
    return [[each.asked, each.asked_error, each.paid, each.paid_error] for each in accounts]


def test_swapping_the_sides_of_a_pair_and_the_units_of_features_change_nothing():
    pairs, features = overpaying(0.5)
    flip = np.where(np.random.default_rng(1).random(len(pairs.margin)) < 0.5, -1.0, 1.0)
    swapped = replace(
        pairs,
        margin=flip * pairs.margin,
        preference=np.where(flip < 0, 1 - pairs.preference, pairs.preference),
        length=7 * flip * pairs.length,
        weight=3 * pairs.weight,
    )
    one, _ = Sufficiency(pairs).accounts(features, IS_LENGTH)
    other, _ = Sufficiency(swapped).accounts(1e3 * flip[:, None] * features, IS_LENGTH)
    np.testing.assert_allclose(numbers(one), numbers(other), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(("column", "strength"), [(0, 1.0), (0, -1.0), (1, 1.5), (1, -1.5)])
def test_what_is_overpaid_or_over_punished_is_shown_with_its_sign(column, strength):
    pairs, features = overpaying(strength, column, num_pairs=2000)
    found, scores = Sufficiency(pairs).accounts(features, IS_LENGTH)
    critical = critical_value(scores, 1000, 0)
    assert found[column].bound(critical) > 0.02
    assert math.copysign(1, found[column].excess) == math.copysign(1, strength)
    assert found[column].visible(critical) > critical * found[column].asked_error


def test_a_sound_model_on_labels_that_choose_by_length_is_not_accused_whether_it_follows_or_not():
    pairs, features = world(num_pairs=2000)
    random = np.random.default_rng(3)
    asked = 1.5 * pairs.margin + 1.0 * pairs.length
    labels = (random.random(2000) < scipy.special.expit(asked)).astype(float)
    for margin in (pairs.margin, asked, asked + random.normal(size=2000)):
        judged = replace(pairs, preference=labels, margin=margin)
        found, scores = Sufficiency(judged).accounts(features, IS_LENGTH)
        assert max(each.bound(critical_value(scores, 500, 0)) for each in found) < 0.01


def test_what_is_named_is_not_seen_again():
    pairs, features = overpaying(2.0, 1, num_pairs=2000)
    found, scores = Sufficiency(pairs).accounts(features, IS_LENGTH)
    critical = critical_value(scores, 500, 0)
    assert found[1].bound(critical) > found[2].bound(critical) > 0
    after, _ = Sufficiency(pairs, [features[:, 1]]).accounts(features, IS_LENGTH)
    assert not after[1].measurable
    assert not after[2].bound(critical) > 0


def test_where_labels_are_blunter_one_slope_accuses_and_several_do_not():
    random = np.random.default_rng(5)
    pairs, features = world(num_pairs=4000)
    blunt = np.abs(features[:, 1]) > 0
    paid = pairs.margin + 0.7 * features[:, 1]
    labels = (random.random(4000) < scipy.special.expit(np.where(blunt, 0.5, 2.0) * paid)).astype(float)
    judged = replace(pairs, margin=paid, preference=labels)
    one, scores = Sufficiency(judged, interacting=False).accounts(features, IS_LENGTH)
    assert one[1].bound(critical_value(scores, 500, 0)) > 0
    several, scores = Sufficiency(judged).accounts(features, IS_LENGTH)
    assert several[1].bound(critical_value(scores, 500, 0)) < 0


def test_without_a_maximum_or_without_a_signal_nothing_is_measured():
    pairs, features = world()
    random = np.random.default_rng(2)
    separated = replace(pairs, margin=np.where(pairs.preference > 0.5, 1.0, -1.0) * (1 + random.random(600)))
    chance = replace(pairs, margin=random.normal(size=600))
    wrong = replace(pairs, margin=-pairs.margin)
    constant = replace(pairs, margin=np.zeros(600))
    for judged in (separated, chance, wrong, constant):
        tests = Sufficiency(judged)
        assert not tests.follows_labels
        found, scores = tests.accounts(features, IS_LENGTH)
        assert not any(each.measurable for each in found)
        assert math.isnan(found[0].excess) and math.isnan(found[0].bound(2.0)) and found[0].visible(2.0) == math.inf
        assert math.isnan(critical_value(scores, 100, 0))


def test_a_feature_of_few_prompts_is_not_measured_and_says_how_many():
    pairs, features = world()
    features[28:, 1] = 0  # two pairs per prompt
    features[:28, 1] = 1.0
    found, _ = Sufficiency(pairs).accounts(features, IS_LENGTH)
    assert (found[1].num_pairs, found[1].num_clusters) == (28, 14)
    assert not found[1].measurable
    assert found[0].measurable


@pytest.mark.parametrize("count", [1, 5, 40])
def test_the_critical_value_of_independent_features_is_known(count):
    scores = np.random.default_rng(0).normal(size=(4000, count))
    scores /= np.sqrt((scores**2).sum(axis=0))
    expected = scipy.stats.norm.ppf(0.95 ** (1 / count))
    assert critical_value(scores, 4000, 1) == pytest.approx(expected, abs=0.06)
    assert critical_value(np.repeat(scores[:, :1], count, axis=1), 4000, 1) == pytest.approx(1.645, abs=0.06)


@given(st.floats(-1, 1), st.floats(1e-3, 1), st.floats(-1, 1), st.floats(1e-3, 1), st.floats(0, 5))
def test_the_bound_is_below_the_excess_and_both_need_opposite_signs(asked, asked_error, paid, paid_error, critical):
    account = Account(
        num_pairs=99, num_clusters=50, asked=asked, asked_error=asked_error, paid=paid, paid_error=paid_error
    )
    assert account.bound(critical) <= abs(account.excess)
    assert (account.excess == 0) == (asked * paid >= 0)
    if account.bound(critical) > 0:
        assert asked * paid < 0
        assert abs(account.excess) == min(abs(asked), abs(paid))
