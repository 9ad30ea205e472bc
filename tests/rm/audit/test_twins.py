import itertools
import json
import math

import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from rm.audit.twins import Twins, measure, sign_flip_p
from rm.errors import AuditError
from rm.stats.clustered import Statistic, bootstrap
from rm.stats.config import BootstrapConfig
from rm.stats.finding_names import flat_name

CONFIG = BootstrapConfig(num_resamples=200)
KINDS = (
    "twin_change",
    "twin_lower_share",
    "twin_flips",
    "twin_lost",
    "twin_gained",
    "twin_accuracy_change",
    "twin_confidence_change",
)


def found(result):
    return {finding.kind: finding for finding in result.findings}


def estimates(result):
    return {finding.kind: finding.estimate for finding in result.findings}


def make(seed, num_prompts=100, per_prompt=2, planted=0.0, planted_chosen=0.0, noise=0.5):
    """Pairs of which about 3 in 4 are right; twins differ by noise that prompts share, and by what is planted."""
    generator = np.random.default_rng(seed)
    size = num_prompts * per_prompt
    ids = [f"prompt {number // per_prompt}" for number in range(size)]
    rewards = generator.normal([1.0, 0.0], 1.0, (size, 2))
    common = np.repeat(generator.normal(0, noise, num_prompts), per_prompt)[:, None]
    change = planted + common + generator.normal([planted_chosen, 0.0], noise, (size, 2))
    return ids, rewards, rewards + change


def test_numbers_of_four_pairs_by_hand():
    rewards = [(2.0, 0.0), (1.0, 1.0), (0.0, 2.0), (3.0, 1.0)]
    twins = [(0.0, 1.0), (1.0, 0.0), (0.0, 2.0), (2.0, 1.0)]  # right to wrong, tie to right, unchanged, still right
    result = measure(Twins.of(["a", "b", "c", "d"], rewards, twins, "dialect"), CONFIG)
    spread = math.sqrt(np.mean(np.square([2, 0, 1, 1, 0, 2, 3, 1])) - 1.25**2)
    assert result.spread == pytest.approx(spread)
    expected = {
        "twin_change": (-2 + 1 + 0 - 1 - 1) / 8 / spread,
        "twin_lower_share": (3 + 4 / 2) / 8,  # 3 of 8 are lower, 1 is higher, 4 tie
        "twin_flips": 1.5 / 4,
        "twin_lost": 1 / 4,
        "twin_gained": 0.5 / 4,
        "twin_accuracy_change": -0.5 / 4,
    }
    values = estimates(result)
    assert {kind: values[kind] for kind in expected} == pytest.approx(expected)
    assert (result.accuracy, result.accuracy_twin) == (2.5 / 4, 2 / 4)
    assert (result.num_prompts, result.num_twins, result.num_pairs) == (4, 8, 4)
    assert [finding.name for finding in result.findings] == [f"{kind}_dialect" for kind in KINDS]
    assert found(result)["twin_change"].num_pairs == 8
    assert found(result)["twin_flips"].num_pairs == 4


def test_responses_without_pairs_have_the_two_numbers_that_need_no_label():
    result = measure(Twins.of(["a", "a", "b"], [(1.0,), (2.0,), (3.0,)], [(0.0,), (2.0,), (5.0,)]), CONFIG)
    values = estimates(result)
    assert values == pytest.approx({"twin_change": (1 / 3) / math.sqrt(2 / 3), "twin_lower_share": 0.5})
    assert [finding.name for finding in result.findings] == ["twin_change", "twin_lower_share"]
    assert (result.accuracy, result.temperature, result.num_pairs) == (None, None, 0)


def test_the_change_of_confidence_is_that_of_a_temperature_from_scikit_learn():
    ids, rewards, twins = make(1, planted_chosen=-0.7)
    result = measure(Twins.of(ids, rewards, twins), CONFIG)
    margins, margins_twin = rewards[:, 0] - rewards[:, 1], twins[:, 0] - twins[:, 1]
    label = np.arange(len(margins)) % 2 == 0  # every other pair is shown the other way round
    fitted = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10)
    fitted.fit(np.where(label, margins, -margins)[:, None], label)
    temperature = 1 / fitted.coef_.item()
    assert result.temperature == pytest.approx(temperature, rel=1e-4)
    change = scipy.special.expit(margins_twin / temperature) - scipy.special.expit(margins / temperature)
    assert estimates(result)["twin_confidence_change"] == pytest.approx(change.mean(), rel=1e-4)


def test_few_pairs_whose_margins_are_log_odds_have_a_temperature_of_about_1():
    found = []
    for seed in range(50):
        generator = np.random.default_rng(seed)
        margins = generator.normal(0, 2, 50)
        right = generator.random(50) < scipy.special.expit(np.abs(margins))
        rewards = np.where(right, np.abs(margins), -np.abs(margins))[:, None] * [1.0, 0.0]
        twins = Twins.of([str(number) for number in range(50)], rewards, rewards)
        found.append(measure(twins, BootstrapConfig(num_resamples=100)).temperature)
    assert np.median(found) == pytest.approx(1, abs=0.15)


def test_a_model_that_is_never_wrong_has_no_temperature_and_the_finding_says_why():
    ids = [str(number) for number in range(20)]
    result = measure(Twins.of(ids, [(1.0, 0.0)] * 20, [(0.5, 0.0)] * 20), CONFIG)
    assert math.isnan(result.temperature)
    assert math.isnan(found(result)["twin_confidence_change"].estimate)
    assert found(result)["twin_confidence_change"].method.endswith("; undefined: no margin is below 0")


def test_the_interval_of_the_confidence_fits_the_temperature_again_in_each_resample():
    ids, rewards, twins = make(2, num_prompts=60, planted_chosen=-0.7)
    one = found(measure(Twins.of(ids, rewards, twins), CONFIG))["twin_confidence_change"]
    clusters = np.repeat(np.arange(60), 2)
    unit = math.sqrt(np.mean((rewards[:, 0] - rewards[:, 1]) ** 2))
    before, after = ((side[:, 0] - side[:, 1]) / unit for side in (rewards, twins))

    def refitted(_, weights):
        return np.array([change(np.repeat(np.arange(120), each[clusters].astype(int))) for each in weights])

    def change(drawn):
        slope = 0.0
        for _ in range(30):  # Newton's method
            right = scipy.special.expit(slope * before[drawn])
            slope += ((1 - right) @ before[drawn]) / ((right * (1 - right)) @ before[drawn] ** 2)
        return np.mean(scipy.special.expit(slope * after[drawn]) - scipy.special.expit(slope * before[drawn]))

    slow = Statistic(refitted, np.zeros((60, 1)))
    (expected,) = bootstrap({"slow": slow}, 60, CONFIG.num_resamples, CONFIG.seed).values()
    assert one.estimate == pytest.approx(expected.estimate, abs=1e-6)
    assert (one.ci_low, one.ci_high) == pytest.approx((expected.low, expected.high), abs=0.002)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("shift", "scale"), [(-64.0, 1.0), (0.0, 0.125), (32.0, 1024.0)])
def test_shift_and_scale_of_the_rewards_change_nothing(seed, shift, scale):
    ids, rewards, twins = make(seed, num_prompts=40, planted=-0.3)
    plain = measure(Twins.of(ids, rewards, twins), CONFIG)
    moved = measure(Twins.of(ids, rewards * scale + shift, twins * scale + shift), CONFIG)
    assert np.isfinite([finding.ci_low for finding in plain.findings]).all()
    for one, other in zip(plain.findings, moved.findings, strict=True):
        numbers = [(each.estimate, each.ci_low, each.ci_high) for each in (one, other)]
        assert numbers[0] == pytest.approx(numbers[1], rel=1e-6, abs=1e-9)
    assert moved.p_value == pytest.approx(plain.p_value)
    assert moved.spread == pytest.approx(scale * plain.spread)
    assert moved.temperature == pytest.approx(scale * plain.temperature)


@pytest.mark.parametrize("seed", range(5))
def test_originals_and_twins_in_each_others_place_turn_every_sign(seed):
    ids, rewards, twins = make(seed, num_prompts=20, planted=-0.3, planted_chosen=-0.5)
    one, other = (
        measure(Twins.of(ids, *sides), BootstrapConfig(num_resamples=100))
        for sides in ((rewards, twins), (twins, rewards))
    )
    before, after = estimates(one), estimates(other)
    assert after["twin_change"] * other.spread == pytest.approx(-before["twin_change"] * one.spread)
    assert after["twin_lower_share"] == pytest.approx(1 - before["twin_lower_share"])
    assert (after["twin_lost"], after["twin_gained"]) == pytest.approx((before["twin_gained"], before["twin_lost"]))
    assert after["twin_accuracy_change"] == pytest.approx(-before["twin_accuracy_change"])
    assert after["twin_flips"] == pytest.approx(before["twin_flips"])
    assert (other.accuracy, other.accuracy_twin) == (one.accuracy_twin, one.accuracy)
    assert other.p_value == one.p_value


def test_rows_that_stand_twice_in_their_prompt_make_nothing_more_certain():
    ids, rewards, twins = make(3, planted=-0.1)
    once = measure(Twins.of(ids, rewards, twins), CONFIG)
    twice = measure(Twins.of(ids * 2, np.tile(rewards, (2, 1)), np.tile(twins, (2, 1))), CONFIG)
    assert twice.p_value == once.p_value
    for one, other in zip(once.findings, twice.findings, strict=True):
        assert (other.ci_low, other.ci_high) == pytest.approx((one.ci_low, one.ci_high))


@given(st.lists(st.integers(-8, 8), min_size=1, max_size=10), st.integers(0, 3))
def test_the_permutation_test_agrees_with_all_signs(sums, seed):
    totals = [abs(np.dot(signs, sums)) for signs in itertools.product([-1, 1], repeat=len(sums))]
    exact = float(np.mean([total >= abs(sum(sums)) for total in totals]))
    assert sign_flip_p(np.array(sums, dtype=float), seed) == pytest.approx(exact, abs=0.025)  # 5 standard errors


def test_the_permutation_test_is_never_0_and_is_1_where_nothing_changes():
    assert sign_flip_p(np.ones(200), 0) == 1 / 10_001
    assert sign_flip_p(np.zeros(200), 0) == 1.0
    assert sign_flip_p(np.ones(1), 0) == 1.0  # one prompt shows nothing


def test_the_size_of_the_permutation_test_is_5_percent_with_few_prompts_of_unequal_weight():
    generator = np.random.default_rng(0)
    weights = np.arange(1, 16)
    p_values = [sign_flip_p(generator.standard_t(3, 15) * weights, seed) for seed in range(400)]
    rejected = sum(p <= 0.05 for p in p_values)
    assert 8 <= rejected <= 33  # 20 expected, three standard errors


def test_what_is_planted_is_found():
    result = measure(Twins.of(*make(4, num_prompts=300, planted=-0.5, planted_chosen=-0.6)), CONFIG)
    assert result.p_value == 1 / 10_001
    values = found(result)
    assert values["twin_change"].ci_high < -0.4 < values["twin_change"].estimate + 0.4
    assert values["twin_lower_share"].ci_low > 0.6
    assert values["twin_accuracy_change"].ci_high < 0
    assert values["twin_confidence_change"].ci_high < 0
    assert values["twin_lost"].ci_low > values["twin_gained"].ci_high


def test_a_penalty_that_both_responses_share_costs_reward_but_no_accuracy():
    ids, rewards, _ = make(5)
    result = measure(Twins.of(ids, rewards, rewards - 2.0), CONFIG)
    values = estimates(result)
    assert values["twin_change"] == pytest.approx(-2 / result.spread)
    assert values["twin_lower_share"] == 1.0
    assert [values[kind] for kind in KINDS[2:6]] == [0.0] * 4
    assert values["twin_confidence_change"] == pytest.approx(0, abs=1e-9)


def test_where_nothing_is_planted_few_intervals_leave_0_out():
    outside = dict.fromkeys(("twin_change", "twin_accuracy_change", "twin_confidence_change", "p"), 0)
    for seed in range(100):
        ids, rewards, twins = make(100 + seed, num_prompts=60)
        generator = np.random.default_rng(seed)
        swapped = np.repeat(generator.random(60) < 0.5, 2)[:, None]  # so that both are drawn alike
        sides = np.where(swapped, twins, rewards), np.where(swapped, rewards, twins)
        result = measure(Twins.of(ids, *sides), CONFIG)
        values = found(result)
        for kind in ("twin_change", "twin_accuracy_change", "twin_confidence_change"):
            outside[kind] += not values[kind].ci_low <= 0 <= values[kind].ci_high
        outside["p"] += result.p_value <= 0.05
    assert max(outside.values()) <= 13, outside  # 5 expected, and a bootstrap of 60 prompts has a little more


def test_with_few_prompts_there_is_an_estimate_but_no_interval():
    result = measure(Twins.of(*make(6, num_prompts=9)), CONFIG)
    assert all(math.isfinite(finding.estimate) for finding in result.findings)
    assert all(math.isnan(finding.ci_low) and math.isnan(finding.ci_high) for finding in result.findings)
    enough = measure(Twins.of(*make(6, num_prompts=10)), CONFIG)
    *others, _ = enough.findings  # the last needs a wrong pair in 95 of 100 resamples
    assert all(math.isfinite(finding.ci_high) for finding in others)


def test_rewards_that_are_all_equal_leave_their_unit_and_the_temperature_undefined():
    ids = [str(number) for number in range(20)]
    result = measure(Twins.of(ids, [(1.0, 1.0)] * 20, [(0.0, 0.5)] * 20), CONFIG)
    values = estimates(result)
    assert math.isnan(values["twin_change"])
    assert math.isnan(values["twin_confidence_change"])
    assert math.isnan(result.temperature)
    assert values["twin_accuracy_change"] == -0.5
    assert values["twin_lower_share"] == 1.0


def test_a_model_that_follows_no_label_has_no_temperature():
    ids = [str(number) for number in range(20)]
    result = measure(Twins.of(ids, [(0.0, 1.0)] * 20, [(1.0, 0.0)] * 20), CONFIG)
    assert math.isnan(result.temperature)
    assert math.isnan(estimates(result)["twin_confidence_change"])
    assert estimates(result)["twin_gained"] == 1.0


@pytest.mark.parametrize(
    ("ids", "rewards", "twins", "message"),
    [
        ([], [], [], "twins of kind name: expected at least one, got none"),
        (["a"], [(1.0,)], [], "as many prompts, rewards and rewards of twins, got 1, 1 and 0"),
        (["a"], [(1.0,)], [(1e200,)], "finite rewards whose squares are finite too, got 1e\\+200"),
        (["a"], [(math.nan,)], [(1.0,)], "finite rewards whose squares are finite too, got nan"),
    ],
)
def test_what_cannot_be_measured_is_told(ids, rewards, twins, message):
    with pytest.raises(AuditError, match=message):
        Twins.of(ids, rewards, twins, "name")


WORD = st.text("abx_.-", min_size=1) | st.sampled_from(["change", "lost", "share_a", "accuracy_change"])


@given(st.lists(WORD, min_size=1, max_size=4, unique=True))
def test_no_two_kinds_of_twins_share_a_name(words):
    names = [flat_name(kind, labels) for kind in KINDS for labels in ({}, *({"kind": word} for word in words))]
    assert len(set(names)) == len(names)


def test_the_largest_changes_are_shown_where_the_texts_are_known():
    ids, texts = ["a", "b", "c", "d", "e"], [("one", "1"), None, ("three", "3"), ("four", "4"), ("same", "=")]
    twins = Twins.of(ids, [(0.0,)] * 5, [(1.0,), (9.0,), (-3.0,), (2.0,), (0.0,)], None, texts)
    shown = measure(twins, CONFIG).examples
    assert [(one.original, one.twin, one.reward_twin) for one in shown] == [
        ("three", "3", -3.0),
        ("four", "4", 2.0),
        ("one", "1", 1.0),
    ]
    assert json.loads(shown[0].model_dump_json())["reward"] == 0.0
