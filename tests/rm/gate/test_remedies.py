import math
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rm.gate.checks import Check
from rm.gate.judging import judge
from rm.gate.remedies import Size, more_pairs, times
from tests.rm.gate.made_up import checks, finding, findings

AT_LEAST = Check(name="number", min_value=0.45)


def shrunk(found, factor):
    """The finding as it would be on so many times as many pairs, its interval shrunk towards the estimate."""
    ends = {end: found.estimate + (getattr(found, end) - found.estimate) / factor**0.5 for end in ("ci_low", "ci_high")}
    return found.model_copy(update=ends)


def is_undecided(check, found):
    return judge(check, found)[0] == "inconclusive"


@given(checks(decides=["interval"], about=["model"]), findings(least_pairs=50))
def test_so_many_times_as_many_pairs_decide_and_fewer_do_not(check, found):
    assume(is_undecided(check, found))
    factor = times(check, found)
    if factor is None:
        near = [limit for limit in (check.min_value, check.max_value) if limit is not None]
        assert min(abs(limit - found.estimate) for limit in near) < 1e-100
        return
    assert factor >= 1
    assume(factor < 1e9)  # beyond that the floats' last digits decide
    assert not is_undecided(check, shrunk(found, factor * 1.001))
    if factor > 1.01:
        assert is_undecided(check, shrunk(found, factor * 0.999))


@given(st.floats(0.01, 1), st.floats(0.01, 1), st.floats(0.001, 1), st.floats(0.001, 1))
def test_more_pairs_are_needed_for_wider_intervals_and_nearer_limits(width, wider, distance, farther):
    def needed(half_width, limit):
        return times(Check(name="number", max_value=limit, min_pairs=1), finding(0.0, -half_width, half_width))

    assert needed(width + wider, distance) >= needed(width, distance) >= needed(width, distance + farther)


def test_the_side_towards_the_limit_is_what_has_to_shrink():
    skewed = finding(0.5, low=0.1, high=0.6)
    for limits, factor in (
        ({"max_value": 0.55}, 4),
        ({"min_value": 0.3}, 4),
        ({"min_value": 0.45, "max_value": 0.55}, 64),
        ({"max_value": 0.4}, 16),
        ({"min_value": 0.55}, 4),
    ):
        assert times(Check(name="number", **limits), skewed) == pytest.approx(factor), limits


@pytest.mark.parametrize("estimate", [0.45, math.nextafter(0.45, 1)])
def test_no_number_of_pairs_decides_an_estimate_on_the_limit(estimate):
    found = finding(estimate)
    assert times(AT_LEAST, found) is None or times(AT_LEAST, found) > 1e20
    assert not re.search(r"about|snapshot", more_pairs(AT_LEAST, found, Size(1000, 9000)))


def test_an_estimate_all_but_on_the_limit_is_no_overflow():
    assert times(Check(name="number", min_value=0.0), finding(1e-200, -1.0, 1.0)) is None


@pytest.mark.parametrize(("num_pairs", "factor"), [(99, 100 / 99), (25, 4.0), (1, 100.0), (0, None)])
def test_where_pairs_are_too_few_the_missing_ones_are_needed(num_pairs, factor):
    by_bound = AT_LEAST.model_copy(update={"decides": "bound"})
    assert times(by_bound, finding(num_pairs=num_pairs)) == factor
    undefined = finding(math.nan, math.nan, math.nan, num_pairs=num_pairs)
    assert times(AT_LEAST, undefined) == factor


@pytest.mark.parametrize(("num_pairs", "factor"), [(99, 4.0), (26, 4.0), (10, 10.0)])
def test_on_too_few_pairs_an_interval_that_is_too_wide_needs_more_than_the_missing_ones(num_pairs, factor):
    assert times(AT_LEAST, finding(num_pairs=num_pairs)) == pytest.approx(factor)


def test_what_could_have_been_seen_shrinks_with_the_root_of_the_number_of_pairs_and_prompts_grow_with_it():
    visible = finding(0.2, 0.2, 0.2, name="visible", labels={"family": "length"})
    assert times(Check(name="visible_length", max_value=0.1, about="data"), visible) == pytest.approx(4)
    prompts = finding(20, 20, 20, name="num_prompts")
    assert times(Check(name="num_prompts", min_value=50, about="data"), prompts) == pytest.approx(2.5)
    dropped = finding(0.2, 0.2, 0.2)
    assert times(Check(name="number", max_value=0.1, about="data"), dropped) == pytest.approx(2)
    assert times(Check(name="number", max_value=0.0, about="data"), dropped) is None


def test_what_is_about_the_data_and_holds_only_by_estimate_needs_a_narrower_interval():
    check = Check(name="number", min_value=0.45, about="data")
    assert times(check, finding()) == pytest.approx(4)


# The interval is 0.1 to either side, the limit 0.05 away: four times as many pairs.
@pytest.mark.parametrize(
    ("size", "text"),
    [
        (None, "about 3,000 more held-out pairs would decide it"),
        (Size(1000, None), "about 3,000 more held-out pairs would decide it"),
        (Size(1000, 9000), "about 3,000 more held-out pairs would decide it; or snapshot.heldout_share=0.4"),
        (Size(1000, 9100), "about 3,000 more held-out pairs would decide it; or snapshot.heldout_share=0.4"),
        (Size(1000, 7001), "about 3,000 more held-out pairs would decide it; or snapshot.heldout_share=0.5"),
        (Size(1000, 6999), "about 3,000 more held-out pairs would decide it"),
        (Size(333, 3000), "about 1,000 more held-out pairs would decide it; or snapshot.heldout_share=0.4"),
    ],
)
def test_a_remedy_is_a_number_of_pairs_and_a_share_to_hold_out_if_the_data_have_them(size, text):
    assert more_pairs(AT_LEAST, finding(), size) == text


@given(checks(), findings(), st.integers(1, 10**6), st.none() | st.integers(0, 10**6))
def test_no_remedy_asks_for_more_than_twenty_times_the_pairs_or_half_the_data(check, found, num_pairs, num_train):
    assume(is_undecided(check, found))
    text = more_pairs(check, found, Size(num_pairs, num_train))
    if extra := re.search(r"about ([\d,]+) more", text):
        asked = int(extra[1].replace(",", ""))
        assert 1 <= asked <= 21 * num_pairs  # rounded up
        assert len(str(asked).rstrip("0")) <= 2
    if share := re.search(r"heldout_share=([\d.]+)$", text):
        assert extra
        assert asked + num_pairs <= float(share[1]) * (num_pairs + num_train) + 1e-6
        assert float(share[1]) <= 0.5


def test_a_number_that_nobody_would_collect_is_not_said():
    far = finding(num_pairs=4)
    assert more_pairs(AT_LEAST, far, Size(4, 10**6)) == "more than 20 times as many held-out pairs would be needed"
    none = finding(num_pairs=0)
    assert more_pairs(AT_LEAST, none, Size(500, 10**6)) == "none of the held-out pairs says anything about it"
    on_the_limit = finding(0.45)
    assert more_pairs(AT_LEAST, on_the_limit, None) == "no number of held-out pairs would decide it"


def test_an_undecided_probe_needs_edits_which_are_not_only_a_matter_of_pairs():
    check = Check(name="probe_double", max_value=0.3, min_pairs=50)
    few = finding(num_pairs=20, name="probe_win_rate", labels={"probe": "double"})
    assert more_pairs(check, few, Size(800, 7200)) == (
        "about 30 more edits would decide it: audit.probes.budget, or more held-out prompts"
    )
