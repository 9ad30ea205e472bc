import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from rm.gate.checks import LENGTH_FOLLOWING, Check, Unless
from rm.gate.judging import judge, relaxed
from rm.gate.remedies import Size
from tests.rm.gate.made_up import checks, finding, findings

not_numbers = st.sampled_from([math.nan, math.inf, -math.inf])
WORSE_FIRST = ["failed", "inconclusive", "warned", "passed"]


def status(check, found):
    return judge(check, found)[0]


def rank(check, found):
    return WORSE_FIRST.index(status(check, found))


def limits(check):
    return (
        -math.inf if check.min_value is None else check.min_value,
        math.inf if check.max_value is None else check.max_value,
    )


@given(checks(), findings())
def test_a_check_passes_exactly_if_all_that_it_asks_for_was_measured(check, found):
    low, high = limits(check)
    values = [found.estimate] if check.decides == "estimate" else [found.ci_low, found.estimate, found.ci_high]
    within = [low <= value <= high for value in values]
    if check.decides == "bound":
        beyond = check.warns_beyond
        warned = beyond is not None and (min(values) > beyond or max(values) < -beyond)
        holds = not (max(values) < low or min(values) > high) and not warned
    else:
        holds = all(within)
    assert (status(check, found) == "passed") == (found.num_pairs >= check.min_pairs and holds)


@given(checks(decides=["interval"], about=["model"]), findings(least_pairs=50))
def test_by_interval_a_check_passes_inside_the_limits_fails_beyond_one_and_is_undecided_else(check, found):
    low, high = limits(check)
    inside, beyond = low <= found.ci_low and found.ci_high <= high, found.ci_low > high or found.ci_high < low
    assert status(check, found) == ("passed" if inside else "failed" if beyond else "inconclusive")


@given(checks(decides=["estimate"], about=["model"]), findings(least_pairs=50))
def test_by_estimate_nothing_stays_undecided(check, found):
    assert status(check, found) in ("passed", "failed")


@given(checks(decides=["bound"], about=["model"]), findings(least_pairs=50))
def test_by_bound_a_check_fails_exactly_if_the_whole_interval_lies_beyond_a_limit(check, found):
    low, high = limits(check)
    result = status(check, found)
    assert (result == "failed") == (found.ci_high < low or found.ci_low > high)
    assert result != "inconclusive"
    if check.warns_beyond is None:
        assert result != "warned"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.041, 0.09, "failed"),
        (0.04, 0.09, "warned"),
        (0.001, 0.09, "warned"),
        (0.0, 0.09, "passed"),
        (-0.09, 0.09, "passed"),
        (-0.09, -0.001, "warned"),
        (-0.09, -0.041, "failed"),
    ],
)
def test_a_bound_fails_beyond_the_limits_and_warns_beyond_0(low, high, expected):
    check = Check(name="number", min_value=-0.04, max_value=0.04, decides="bound", warns_beyond=0.0)
    assert status(check, finding((low + high) / 2, low, high)) == expected


@given(checks(), findings(), st.sampled_from(["estimate", "ci_low", "ci_high"]), not_numbers)
def test_what_is_no_finite_number_has_failed(check, found, field, value):
    assert status(check, found.model_copy(update={field: value, "num_pairs": 1000})) == "failed"


@given(checks(), st.text(min_size=1))
def test_by_bound_what_could_not_be_tested_for_a_known_reason_is_undecided(check, detail):
    untested = finding(math.nan, math.nan, math.nan, detail=detail)
    result, reason = judge(check, untested)
    if check.decides == "bound":
        assert (result, reason) == ("inconclusive", f"undecided: number ({detail})")
    else:
        assert result == "failed"


@given(checks(), findings(), st.sampled_from(["min_value", "max_value"]))
def test_a_limit_that_is_no_number_lets_nothing_pass(check, found, limit):
    spoilt = check.model_copy(update={limit: math.nan})
    assert status(spoilt, found.model_copy(update={"num_pairs": 1000})) == "failed"


def test_an_interval_that_is_upside_down_has_failed():
    assert status(Check(name="number", min_value=0.0, max_value=1.0), finding(0.5, low=0.9, high=0.1)) == "failed"


@given(checks())
def test_what_was_not_measured_has_failed(check):
    assert judge(check, None) == ("failed", "number was not measured")


@given(checks(), findings())
def test_too_few_pairs_leave_a_check_undecided_whatever_they_show(check, found):
    few = found.model_copy(update={"num_pairs": check.min_pairs - 1})
    result, reason = judge(check, few)
    assert result == "inconclusive"
    pairs = "1 pair" if check.min_pairs == 2 else f"{check.min_pairs - 1} pairs"
    assert reason.startswith(f"undecided: number rests on {pairs}, needs {check.min_pairs}; ")


@given(checks(), findings(least_pairs=50))
def test_what_is_about_the_data_does_not_fail_a_model_and_passes_as_easily(check, found):
    about = {each: status(check.model_copy(update={"about": each}), found) for each in ("model", "data")}
    assert about["data"] == ("inconclusive" if about["model"] == "failed" else about["model"])


@pytest.mark.parametrize("sides", ["min", "max", "both"])
@pytest.mark.parametrize("decides", ["interval", "estimate"])
def test_a_value_at_the_limit_passes_and_the_next_float_does_not(sides, decides):
    low, high = (0.4, 0.6) if decides == "interval" else (0.5, 0.5)
    allowed = {"min_value": low if sides != "max" else None, "max_value": high if sides != "min" else None}
    assert status(Check(name="number", decides=decides, **allowed), finding()) == "passed"
    for name, towards in (("min_value", math.inf), ("max_value", -math.inf)):
        if allowed[name] is not None:
            tighter = {**allowed, name: math.nextafter(allowed[name], towards)}
            if decides == "interval" or sides != "both":
                assert status(Check(name="number", decides=decides, **tighter), finding()) != "passed"


@given(checks(), findings(), st.floats(0, 1), st.floats(0, 1))
def test_a_wider_interval_decides_less(check, found, below, above):
    wider = found.model_copy(update={"ci_low": found.ci_low - below, "ci_high": found.ci_high + above})
    before, after = status(check, found), status(check, wider)
    if check.decides == "bound":  # so a check of the data has to stand beside it
        assert rank(check, wider) >= rank(check, found)
    else:
        assert after == before or (before != "inconclusive" and after == "inconclusive")


@given(checks(), findings(), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_tighter_limit_turns_nothing_into_a_better_result(check, found, lower, upper, sooner):
    tighter = {}
    if check.min_value is not None:
        tighter["min_value"] = check.min_value + lower
    if check.max_value is not None:
        tighter["max_value"] = check.max_value - upper
    assume(not {"min_value", "max_value"} <= set(tighter) or tighter["min_value"] <= tighter["max_value"])
    if check.warns_beyond is not None:
        tighter["warns_beyond"] = max(check.warns_beyond - sooner, 0.0)
    made = Check.model_validate(check.model_dump() | tighter)
    assert rank(made, found) <= rank(check, found)


@given(checks(), findings(least_pairs=50), st.sampled_from(["ci_low", "ci_high"]))
def test_an_estimate_outside_of_its_interval_counts_as_part_of_it(check, found, end):
    assume(check.decides != "estimate")
    far = getattr(found, end) + (1 if end == "ci_high" else -1)
    outside = found.model_copy(update={"estimate": far})
    spanning = found.model_copy(update={"estimate": far, end: far})
    assert status(check, outside) == status(check, spanning)


@pytest.mark.parametrize(
    ("facts", "found", "reason"),
    [
        (
            {"min_value": 0.7, "why": "it is a coin"},
            finding(),
            "it is a coin (number is 0.500 [0.400, 0.600], its interval must be at least 0.7)",
        ),
        (
            {"max_value": 0.01, "decides": "estimate"},
            finding(),
            "number is 0.500 [0.400, 0.600], its estimate must be at most 0.01",
        ),
        (
            {"min_value": -0.35, "max_value": 0.35, "why": "it meters length"},
            finding(),
            "it meters length (number is 0.500 [0.400, 0.600], its interval must lie in -0.35 to 0.35)",
        ),
        (
            {"min_value": -0.04, "max_value": 0.04, "decides": "bound", "warns_beyond": 0, "why": "it pays for lists"},
            finding(0.03, 0.01, 0.05, name="overpaid", labels={"family": "structure"}, detail="bullets"),
            "it pays for lists (number is 3.0 points [1.0, 5.0]: bullets, its bound must lie in -4 to 4 points and "
            "warns beyond 0)",
        ),
        (
            {"max_value": 0.1, "decides": "estimate", "about": "data", "why": "it could have stayed unseen"},
            finding(0.2, 0.2, 0.2, name="visible", labels={"family": "length"}),
            "undecided: it could have stayed unseen (number is 20.0 points [20.0, 20.0], its estimate must be at most "
            "10 points); about 3,000 more held-out pairs would decide it",
        ),
        (
            {"min_value": 0.45},
            finding(),
            "undecided: number is 0.500 [0.400, 0.600], its interval must be at least 0.45; about 3,000 more held-out "
            "pairs would decide it",
        ),
        ({"min_value": 0.25}, finding(), "number is 0.500 [0.400, 0.600], its interval must be at least 0.25"),
        (
            {"min_value": 0.0},
            finding(-0.0, -0.0, 0.1),
            "number is 0.000 [0.000, 0.100], its interval must be at least 0",
        ),
    ],
)
def test_a_reason_says_what_was_measured_what_is_allowed_and_what_it_means(facts, found, reason):
    assert judge(Check(name="number", **facts), found, Size(1000, None))[1] == reason


UNLESS = Unless(name="other", above=0.6, limit=0.8)


def following(**more):
    return Check(name=LENGTH_FOLLOWING, min_value=-0.5, max_value=0.5, decides="bound", unless=UNLESS, **more)


def other(low, high=0.9, estimate=0.7, num_pairs=1000):
    return {"other": finding(estimate, low, high, num_pairs)}


@given(st.floats(0, 1), st.floats(0, 1))
def test_limits_are_wider_exactly_where_all_of_the_other_interval_is_high(low, width):
    found = other(low, low + width, low + width / 2)
    expected = (-0.8, 0.8) if low > 0.6 else (-0.5, 0.5)
    assert limits(relaxed(following(), found, plain=False)) == expected


@pytest.mark.parametrize(
    "found",
    [
        {},
        other(math.nan),
        other(0.7, math.inf),
        other(0.7, estimate=math.nan),
        other(0.7, estimate=0.6),
        other(0.7, num_pairs=99),
    ],
)
def test_limits_are_not_wider_where_the_other_number_is_missing_or_rests_on_too_few_pairs(found):
    assert limits(relaxed(following(), found, plain=False)) == (-0.5, 0.5)


def test_only_the_sides_that_have_a_limit_are_widened_and_nothing_else_changes():
    check = Check(name="number", max_value=0.5, unless=UNLESS, why="why", severity="soft")
    assert relaxed(check, other(0.7), plain=False) == check.model_copy(update={"max_value": 0.8})


def test_plain_keeps_the_limit_of_length_and_of_nothing_else():
    assert limits(relaxed(following(), other(0.7), plain=True)) == (-0.5, 0.5)
    another = following().model_copy(update={"name": "number"})
    assert limits(relaxed(another, other(0.7), plain=True)) == (-0.8, 0.8)


def test_a_wide_interval_of_the_other_number_makes_no_check_easier():
    follows = finding(0.65, 0.6, 0.7)
    assert status(relaxed(following(), other(0.61), plain=False), follows) == "passed"
    assert status(relaxed(following(), other(0.55), plain=False), follows) == "failed"


@pytest.mark.parametrize("limits", [{"min_value": -0.9}, {"max_value": 0.9}, {"min_value": -0.5, "max_value": 0.81}])
def test_limits_that_would_be_narrower_where_another_number_is_high_are_refused(limits):
    with pytest.raises(ValidationError, match="which is less than its own limits allow"):
        Check(name="number", unless=UNLESS, **limits)
