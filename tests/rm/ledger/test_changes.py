import math
from statistics import NormalDist

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from rm.ledger.changes import RATE, _found, compare
from tests.rm.ledger import made_up
from tests.rm.ledger.made_up import FEATURES, PROBES, audit, feature, finding, probe, whole

LENGTH = [0.09, 0.08, *[0.0] * 8]
RATES = [0.02, 0.1, 0.5, 0.55, 0.7]


def compared(old, new, against="previous"):
    return compare(made_up.read(new, 1), made_up.read(old, 0), against)


def excess(size, name="bold", error=0.01):
    return feature(name, "typography", -size, 2 * size, error)


def test_the_change_of_one_bias_is_its_size_over_both_errors():
    found = compared(audit(features=[excess(0.08)]), audit(features=[excess(0.03)]))
    (change,) = found.changes
    assert (change.before, change.after) == pytest.approx((0.08, 0.03))
    assert change.z == pytest.approx(-0.05 / math.hypot(0.01, 0.01))
    assert change.found == (NormalDist().cdf(change.z) <= 0.05)  # alone, so that its p is its q
    assert not found.is_substitution


def test_less_than_one_point_is_no_change_however_sure():
    found = compared(audit(features=[excess(0.08, error=1e-6)]), audit(features=[excess(0.0701, error=1e-6)]))
    assert [change.found for change in found.changes] == [False]
    assert found.changes[0].z < -1000


def test_swapping_the_runs_turns_what_fell_into_what_rose():
    old = audit(features=[excess(0.08), excess(0.0, "headers")], probes=[probe("empty", "lower", 0.02)])
    new = audit(features=[excess(0.0), excess(0.07, "headers")], probes=[probe("empty", "lower", 0.3)])
    one, other = compared(old, new), compared(new, old)
    assert [change.key for change in one.fell] == [change.key for change in other.rose] == ["overpaid/bold"]
    assert [change.key for change in one.rose] == [change.key for change in other.fell]
    assert {change.key for change in one.rose} == {"overpaid/headers", "probe_empty"}
    assert one.is_substitution and other.is_substitution


def test_a_feature_that_is_punished_after_it_was_overpaid_fell_and_rose():
    found = compared(audit(features=[excess(0.09)]), audit(features=[excess(-0.08)]))
    assert [change.title for change in found.fell] == ["bold, overpaid"]
    assert [change.title for change in found.rose] == ["bold, over-punished"]


def test_accuracy_is_no_bias_and_what_neither_run_has_is_not_tested():
    old = audit([finding("accuracy", "accuracy", 0.9)], [excess(0.0)], [probe("flattery", "not_higher", 0.1)])
    new = audit([finding("accuracy", "accuracy", 0.5)], [excess(0.0)], [probe("flattery", "not_higher", 0.4)])
    assert compared(old, new).changes == ()


def test_what_only_one_run_measured_is_not_compared():
    assert compared(audit(features=[excess(0.09)]), audit()).changes == ()


def test_a_champion_that_was_measured_again_on_the_same_pairs_is_compared_by_that_difference():
    gain = finding("gain_without", "gain_without_length", 0.01, 0.02, part="length")
    before = finding("gain_without", "gain_without_length", 0.05, 0.02, part="length")
    paired = finding("over_champion", "over_champion_gain_without_length", -0.06, 0.01, of="gain_without_length")
    old = audit([before], checkpoint_digest="a")
    (change,) = compared(old, audit([gain, paired], champion_digest="a")).changes
    assert (change.before, change.after) == pytest.approx((0.07, 0.01))
    assert change.z == pytest.approx(-0.06 / 0.01)
    (change,) = compared(old, audit([gain, paired], champion_digest="b")).changes  # another champion
    assert (change.before, change.z) == pytest.approx((0.05, -0.04 / math.hypot(0.02, 0.02)))


def share_of_alerts(excesses, rates, trials=400, seed=0):
    """Of comparisons of two versions with these true sizes before and after."""
    generator = np.random.default_rng(seed)
    made = [compared(*(whole(*truth, generator) for truth in zip(excesses, rates, strict=True))) for _ in range(trials)]
    return np.mean([one.is_substitution for one in made]), made


def test_models_that_did_not_change_give_few_alerts():
    some = [0.09, 0.06, 0.03, 0.01, -0.05, 0.02, 0.0, 0.0, -0.02, 0.0]
    for excesses in (LENGTH, some, [0.0] * 10):
        share, made = share_of_alerts([excesses] * 2, [RATES] * 2)
        assert share <= 0.02
        assert np.mean([bool(one.rose) for one in made]) <= 0.05
        assert np.mean([bool(one.fell) for one in made]) <= 0.05


def test_where_one_bias_only_fell_few_rises_are_found():
    share, made = share_of_alerts([LENGTH, [0.0] * 10], [RATES] * 2)
    assert np.mean([bool(one.fell) for one in made]) > 0.98
    assert share <= 0.05


@pytest.mark.parametrize("risen", ["bulleted items", "hedges"])
def test_a_planted_substitution_is_found(risen):
    after = [0.0] * 10
    after[[name for name, _ in FEATURES].index(risen)] = 0.09
    share, made = share_of_alerts([LENGTH, after], [RATES] * 2, trials=100)
    assert share > 0.95
    named = [f"overpaid/{risen}" in {change.key for change in one.rose} for one in made]
    assert np.mean(named) > 0.95


def test_an_edit_that_wins_where_length_fell_is_found():
    rates = [0.3 if name == "empty" else rate for (name, _), rate in zip(PROBES, RATES, strict=True)]
    share, made = share_of_alerts([LENGTH, [0.0] * 10], [RATES, rates], trials=100)
    assert share > 0.95
    assert all({change.key for change in one.rose} >= {"probe_empty"} for one in made if one.is_substitution)


def test_on_the_same_pairs_unchanged_models_give_no_more_alerts():
    """Errors that both versions share cancel, and the test does not know."""
    generator, made = np.random.default_rng(3), []
    for _ in range(300):
        shared = generator.normal(0, 0.012, 10)
        both = [np.asarray(LENGTH) + shared + generator.normal(0, 0.004, 10) for _ in range(2)]
        old, new = (
            audit(features=[_drawn(pair, each) for pair, each in zip(FEATURES, sizes, strict=True)]) for sizes in both
        )
        made.append(compared(old, new))
    assert all(one.same_pairs for one in made)
    assert np.mean([bool(one.fell or one.rose) for one in made]) <= 0.01


def _drawn(pair, size):
    return feature(*pair, -size, 1.5 * size, 0.012)


@settings(deadline=None)
@given(st.lists(st.floats(-6, 6, allow_subnormal=False), max_size=30))
def test_what_is_found_is_what_scipys_false_discovery_control_finds(z):
    wanted = [] if not z else scipy.stats.false_discovery_control(scipy.stats.norm.sf(z)) <= RATE
    assert list(_found(z)) == list(wanted)
