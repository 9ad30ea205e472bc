import math
import re
from datetime import date, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from rm.audit.records import AuditReport, Provenance
from rm.errors import GateRejected
from rm.gate.checks import DEFAULT_CHECKS, Check
from rm.gate.decision import decide, pairs_needed
from rm.gate.policy import GatePolicy
from rm.gate.promotion import beats_champion
from rm.stats.finding import Finding

numbers = st.floats(-2, 2) | st.sampled_from([-0.5, 0.0, 0.5, 1.0])
not_numbers = st.sampled_from([math.nan, math.inf, -math.inf])
DIGEST = "c" * 64
TODAY = date(2026, 6, 1)
ORDER = ["failed", "inconclusive", "passed"]


def finding(estimate=0.5, low=0.4, high=0.6, num_pairs=1000, name="number"):
    return Finding(
        kind=name, estimate=estimate, ci_low=low, ci_high=high, num_pairs=num_pairs, unit="share", method="made up"
    )


def report(*findings, digest=DIGEST):
    provenance = Provenance(
        base="base",
        checkpoint_digest=digest,
        dataset_digest="d" * 64,
        sources={},
        num_train_pairs=1,
        num_heldout_prompts=1,
        num_label_ties=0,
        overlong={},
    )
    return AuditReport(findings=findings, buckets=(), flaws=(), examples=(), provenance=provenance)


def decided(policy, *findings, today=TODAY):
    return decide(report(*findings), policy, today)


def status(check, *findings):
    decision = decided(GatePolicy(checks=(check,)), *findings)
    assert decision.passed == (decision.verdict == "passed") == (not decision.reasons)
    assert decision.verdict == decision.checks[0].status
    return decision.verdict


def passes(check, *findings):
    return status(check, *findings) == "passed"


@st.composite
def checks(draw):
    limits = draw(st.sampled_from(["min", "max", "both"]))
    low, high = sorted([draw(numbers), draw(numbers)])
    return Check(
        name="number",
        min_value=low if limits != "max" else None,
        max_value=high if limits != "min" else None,
        decides=draw(st.sampled_from(["interval", "estimate"])),
        min_pairs=draw(st.integers(1, 50)),
    )


@st.composite
def findings(draw):
    low, estimate, high = sorted(draw(st.lists(numbers, min_size=3, max_size=3)))
    return finding(estimate, low, high, draw(st.integers(0, 60)))


@given(checks(), findings())
def test_a_check_passes_exactly_if_all_that_it_asks_for_was_measured(check, found):
    values = [found.estimate] if check.decides == "estimate" else [found.ci_low, found.estimate, found.ci_high]
    enough = found.num_pairs >= check.min_pairs
    above = check.min_value is None or all(value >= check.min_value for value in values)
    below = check.max_value is None or all(value <= check.max_value for value in values)
    assert passes(check, found) == (enough and above and below)


@given(checks(), findings(), st.sampled_from(["estimate", "ci_low", "ci_high"]), not_numbers)
def test_what_is_no_finite_number_has_not_passed(check, found, field, value):
    assert not passes(check, found.model_copy(update={field: value, "num_pairs": 1000}))


@given(checks(), findings())
def test_what_was_not_measured_has_not_passed(check, found):
    decision = decided(GatePolicy(checks=(check,)), found.model_copy(update={"name": "another"}))
    assert not decision.passed
    assert decision.reasons == ("number was not measured",)


@given(checks(), findings())
def test_what_rests_on_too_few_pairs_has_not_passed(check, found):
    few = found.model_copy(update={"num_pairs": check.min_pairs - 1})
    decision = decided(GatePolicy(checks=(check,)), few)
    assert not decision.passed
    assert decision.reasons == (f"number rests on {check.min_pairs - 1} pairs, needs {check.min_pairs}",)


@given(findings(), st.sampled_from(["min_value", "max_value"]), st.sampled_from(["interval", "estimate"]))
def test_a_limit_that_is_no_number_lets_nothing_pass(found, limit, decides):
    check = Check(name="number", min_value=-9, max_value=9, decides=decides, min_pairs=1)
    policy = GatePolicy.model_construct(checks=(check.model_copy(update={limit: math.nan}),), inconclusive="allow")
    assert not decided(policy, found.model_copy(update={"num_pairs": 1000})).passed


def test_an_interval_that_is_upside_down_has_not_passed():
    assert not passes(Check(name="number", min_value=0.0, max_value=1.0), finding(0.5, low=0.9, high=0.1))


@pytest.mark.parametrize("sides", ["min", "max", "both"])
@pytest.mark.parametrize("decides", ["interval", "estimate"])
def test_a_value_at_the_limit_passes_and_the_next_float_does_not(sides, decides):
    low, high = (0.4, 0.6) if decides == "interval" else (0.5, 0.5)
    limits = {"min_value": low if sides != "max" else None, "max_value": high if sides != "min" else None}
    assert passes(Check(name="number", decides=decides, **limits), finding())
    for name, towards in (("min_value", math.inf), ("max_value", -math.inf)):
        if limits[name] is not None:
            tighter = {**limits, name: math.nextafter(limits[name], towards)}
            if decides == "interval" or sides != "both":
                assert not passes(Check(name="number", decides=decides, **tighter), finding())


def test_an_interval_must_lie_within_the_limits_where_an_estimate_need_not():
    limits = {"name": "number", "min_value": 0.45, "max_value": 0.55}
    assert passes(Check(decides="estimate", **limits), finding())
    assert not passes(Check(decides="interval", **limits), finding())
    assert not passes(Check(decides="interval", name="number", min_value=0.45), finding(high=0.9))
    assert not passes(Check(decides="interval", name="number", max_value=0.55), finding(low=0.1))


@pytest.mark.parametrize(
    ("check", "reason"),
    [
        (
            Check(name="number", min_value=0.7, why="it is a coin"),
            "it is a coin (number is 0.500 [0.400, 0.600], its interval must be at least 0.7)",
        ),
        (
            Check(name="number", max_value=0.01, decides="estimate"),
            "number is 0.500 [0.400, 0.600], its estimate must be at most 0.01",
        ),
        (
            Check(name="number", min_value=-0.35, max_value=0.35, why="it meters length"),
            "it meters length (number is 0.500 [0.400, 0.600], its interval must lie in -0.35 to 0.35)",
        ),
    ],
)
def test_a_reason_says_what_was_measured_what_is_allowed_and_what_it_means(check, reason):
    assert decided(GatePolicy(checks=(check,)), finding()).reasons == (reason,)


def test_a_passed_check_says_what_was_measured_too():
    decision = decided(GatePolicy(checks=(Check(name="number", min_value=0.25),)), finding())
    assert decision.checks[0].reason == "number is 0.500 [0.400, 0.600], its interval must be at least 0.25"
    assert (decision.verdict, decision.reasons) == ("passed", ())


def test_one_failed_check_is_enough_and_every_reason_is_given():
    policy = GatePolicy(
        checks=(
            Check(name="good", min_value=0.0),
            Check(name="bad", min_value=0.9),
            Check(name="absent", min_value=0.0),
        )
    )
    decision = decided(policy, finding(name="good"), finding(name="bad"))
    assert (decision.passed, decision.verdict) == (False, "failed")
    assert [(check.name, check.status) for check in decision.checks] == [
        ("good", "passed"),
        ("bad", "failed"),
        ("absent", "failed"),
    ]
    assert len(decision.reasons) == 2


def test_a_policy_without_checks_is_refused_and_would_not_pass():
    with pytest.raises(ValidationError, match="at least 1 item"):
        GatePolicy(checks=())
    assert not decided(GatePolicy.model_construct(checks=()), finding()).passed


def test_checks_that_could_not_fail_or_share_a_name_are_refused():
    with pytest.raises(ValidationError, match="it could not fail"):
        Check(name="number")
    with pytest.raises(ValidationError, match="two checks share a name"):
        GatePolicy(checks=(Check(name="number", min_value=0), Check(name="number", max_value=1)))
    with pytest.raises(ValidationError, match="min_value 1 above max_value 0: it could not pass"):
        Check(name="number", min_value=1, max_value=0)


def test_a_policy_that_could_reject_nothing_is_refused_and_would_not_pass():
    soft = Check(name="number", min_value=0, severity="soft")
    with pytest.raises(ValidationError, match="no check is hard"):
        GatePolicy(checks=(soft,))
    assert decided(GatePolicy.model_construct(checks=(soft,)), finding()).verdict == "failed"


def test_an_empty_report_fails_every_default_check():
    decision = decided(GatePolicy())
    assert decision.reasons == tuple(
        f"{check.name} was not measured" for check in DEFAULT_CHECKS if check.severity == "hard"
    )


def test_the_default_policy_names_only_what_an_audit_measures(audited, report):
    names = {found.name for found in report.findings}
    assert {check.name for check in DEFAULT_CHECKS} <= names


def test_the_decision_is_bound_to_the_checkpoint_and_the_policy():
    policies = [GatePolicy(checks=(Check(name="number", min_value=limit),)) for limit in (0.1, 0.2)]
    one, other = (decided(policy, finding()) for policy in policies)
    assert one.checkpoint_digest == other.checkpoint_digest == DIGEST
    assert one.policy_digest != other.policy_digest
    assert one.report_digest == other.report_digest != decided(policies[0], finding(estimate=0.51)).report_digest
    assert decide(report(finding(), digest="e" * 64), policies[0], TODAY).checkpoint_digest == "e" * 64
    assert decided(policies[0], finding()) == one


def test_a_real_rejection_gives_reasons_with_numbers(decision, report):
    assert not decision.passed  # so few pairs prove nothing
    assert decision.checkpoint_digest == report.provenance.checkpoint_digest
    assert all(re.search(r"\d", reason) for reason in decision.reasons)
    message = str(GateRejected(decision.verdict, decision.reasons, "report"))
    assert decision.verdict in message
    assert all(reason in message for reason in decision.reasons)


@given(checks(), findings())
def test_by_interval_a_check_passes_inside_the_limits_fails_beyond_one_and_is_undecided_else(check, found):
    check = check.model_copy(update={"decides": "interval", "min_pairs": 1})
    found = found.model_copy(update={"num_pairs": 10})
    low, high = found.ci_low, found.ci_high
    minimum = -9 if check.min_value is None else check.min_value
    maximum = 9 if check.max_value is None else check.max_value
    inside, beyond = minimum <= low and high <= maximum, low > maximum or high < minimum
    assert status(check, found) == ("passed" if inside else "failed" if beyond else "inconclusive")


@given(checks(), findings())
def test_by_estimate_nothing_stays_undecided(check, found):
    assert status(check.model_copy(update={"decides": "estimate"}), found) != "inconclusive"


@given(checks(), findings(), st.floats(0, 1), st.floats(0, 1))
def test_a_wider_interval_turns_nothing_into_a_pass_and_decides_nothing(check, found, below, above):
    wider = found.model_copy(update={"ci_low": found.ci_low - below, "ci_high": found.ci_high + above})
    before, after = status(check, found), status(check, wider)
    assert after == before or (before != "inconclusive" and after == "inconclusive")


@given(checks(), findings(), st.floats(0, 1), st.floats(0, 1))
def test_a_tighter_limit_turns_nothing_into_a_better_result(check, found, lower, upper):
    limits = {}
    if check.min_value is not None:
        limits["min_value"] = check.min_value + lower
    if check.max_value is not None:
        limits["max_value"] = check.max_value - upper
    assume(not {"min_value", "max_value"} <= set(limits) or limits["min_value"] <= limits["max_value"])
    tighter = Check.model_validate(check.model_dump() | limits)
    assert ORDER.index(status(tighter, found)) <= ORDER.index(status(check, found))


@given(checks(), findings())
def test_an_estimate_outside_of_its_interval_counts_as_part_of_it(check, found):
    outside = found.model_copy(update={"estimate": found.ci_high + 1})
    spanning = found.model_copy(update={"estimate": found.ci_high, "ci_high": found.ci_high + 1})
    check = check.model_copy(update={"decides": "interval"})
    assert status(check, outside) == status(check, spanning)
    outside = found.model_copy(update={"estimate": found.ci_low - 1})
    spanning = found.model_copy(update={"estimate": found.ci_low, "ci_low": found.ci_low - 1})
    assert status(check, outside) == status(check, spanning)


severities = st.sampled_from(["hard", "soft"])


@given(st.lists(st.tuples(severities, findings()), min_size=1, max_size=6), st.sampled_from(["block", "allow"]))
def test_the_worst_blocking_hard_check_is_the_verdict(parts, inconclusive):
    assume(any(severity == "hard" for severity, _ in parts))
    made = tuple(
        Check(name=str(place), min_value=0.0, max_value=0.5, severity=severity, min_pairs=20)
        for place, (severity, _) in enumerate(parts)
    )
    found = [one.model_copy(update={"name": str(place)}) for place, (_, one) in enumerate(parts)]
    decision = decided(GatePolicy(checks=made, inconclusive=inconclusive), *found)
    alone = [status(check.model_copy(update={"severity": "hard"}), one) for check, one in zip(made, found, strict=True)]
    assert [check.status for check in decision.checks] == alone
    hard = [one for one, (severity, _) in zip(alone, parts, strict=True) if severity == "hard"]
    if inconclusive == "allow":
        hard = ["passed" if one == "inconclusive" else one for one in hard]
    assert decision.verdict == min(hard, key=ORDER.index)
    assert decision.passed == (decision.verdict == "passed")
    assert len(decision.reasons) == sum(one != "passed" for one in hard)
    assert len(decision.reasons) + len(decision.warnings) == sum(one != "passed" for one in alone)


def test_an_undecided_check_says_how_many_pairs_would_decide_it():
    decision = decided(GatePolicy(checks=(Check(name="number", min_value=0.45),)), finding())
    assert decision.verdict == "inconclusive"
    assert decision.reasons == (
        "undecided: number is 0.500 [0.400, 0.600], its interval must be at least 0.45; it rests on 1,000 pairs, "
        "about 4,000 would decide it",
    )


def test_an_estimate_on_the_limit_says_that_no_number_of_pairs_would_decide_it():
    (reason,) = decided(GatePolicy(checks=(Check(name="number", min_value=0.5),)), finding()).reasons
    assert reason.endswith("the estimate lies on the limit, so no number of pairs would decide it")


def shrunk(found, num_pairs):
    """The finding as it would be on so many pairs, its interval shrunk towards the estimate."""
    share = math.sqrt(found.num_pairs / num_pairs)
    ends = {end: found.estimate + (getattr(found, end) - found.estimate) * share for end in ("ci_low", "ci_high")}
    return found.model_copy(update={**ends, "num_pairs": num_pairs})


@given(checks(), findings())
def test_the_number_of_pairs_that_would_decide_does_and_fewer_do_not(check, found):
    check = check.model_copy(update={"decides": "interval", "min_pairs": 1})
    found = found.model_copy(update={"num_pairs": 1000})
    assume(status(check, found) == "inconclusive")
    needed = pairs_needed(check, found)
    if needed is None:
        near = [limit for limit in (check.min_value, check.max_value) if limit is not None]
        assert min(abs(limit - found.estimate) for limit in near) < 1e-100
        return
    assert needed > 1000
    assume(needed < 10**12)  # beyond that the floats' last digits decide
    assert status(check, shrunk(found, math.ceil(needed * 1.001))) != "inconclusive"
    if needed > 1010:
        assert status(check, shrunk(found, int(needed * 0.999))) == "inconclusive"


@given(st.floats(0.01, 1), st.floats(0.01, 1), st.floats(0.001, 1), st.floats(0.001, 1), st.integers(1, 10**6))
def test_more_pairs_are_needed_for_wider_intervals_and_nearer_limits(width, wider, distance, farther, num_pairs):
    def needed(half_width, limit, pairs=num_pairs):
        check = Check(name="number", max_value=0.0 + limit, min_pairs=1)
        return pairs_needed(check, finding(0.0, -half_width, half_width, pairs))

    assert needed(width + wider, distance) >= needed(width, distance) >= needed(width, distance + farther)
    assert needed(width, distance, num_pairs + 1) >= needed(width, distance)


def test_the_side_towards_the_limit_is_what_has_to_shrink():
    skewed = finding(0.5, low=0.1, high=0.6)
    for limits, factor in (
        ({"max_value": 0.55}, 4),
        ({"min_value": 0.3}, 4),
        ({"min_value": 0.45, "max_value": 0.55}, 64),
        ({"max_value": 0.4}, 16),
        ({"min_value": 0.55}, 4),
    ):
        assert pairs_needed(Check(name="number", **limits), skewed) == pytest.approx(factor * 1000, abs=1), limits


def waiver(**changes):
    facts = {"name": "number", "reason": "a pilot", "by": "the owner", "granted": TODAY, "expires": TODAY}
    return facts | changes


def waived(*waivers, check=None, found=None, **policy):
    check = check or Check(name="number", min_value=0.9)
    made = GatePolicy.model_validate({"checks": [check.model_dump()], "waivers": list(waivers), **policy})
    return decided(made, found or finding()).checks[0]


def test_a_waiver_lets_a_hard_check_pass_and_says_who_and_why_and_until_when():
    for limit, before in ((0.9, "failed"), (0.45, "inconclusive")):
        result = waived(waiver(), check=Check(name="number", min_value=limit))
        assert (result.status, result.blocks) == ("waived", False)
        assert result.reason.startswith(f"waived by the owner until 2026-06-01: a pilot ({before}: ")
        assert "number is 0.500 [0.400, 0.600]" in result.reason
        assert result.waiver.by == "the owner"
    assert waived(waiver(), check=Check(name="number", min_value=0.1)).status == "passed"


def test_a_waived_decision_passes_and_lists_what_was_waived():
    decision = decided(GatePolicy(checks=(Check(name="number", min_value=0.9),), waivers=(waiver(),)), finding())
    assert (decision.verdict, decision.reasons, decision.warnings) == ("passed", (), ())
    assert [check.name for check in decision.waived] == ["number"]


@given(st.integers(0, 90), st.integers(-100, 200))
def test_a_waiver_holds_from_the_day_it_is_granted_through_the_day_it_expires(days, offset):
    granted = TODAY + timedelta(days=offset)
    result = waived(waiver(granted=granted, expires=granted + timedelta(days=days)))
    holds = 0 <= -offset <= days
    assert (result.status == "waived") == (not result.blocks) == holds
    if not holds:
        said = f"holds only from {granted}" if offset > 0 else f"expired on {granted + timedelta(days=days)}"
        assert said in result.reason


def test_a_waiver_for_another_checkpoint_does_nothing_and_says_so():
    assert waived(waiver(checkpoint_digest="c" * 8)).status == "waived"
    other = waived(waiver(checkpoint_digest="c" * 7 + "d"))
    assert other.status == "failed"
    assert other.reason.endswith("a waiver by the owner is for checkpoint cccccccd")


def test_the_first_waiver_that_holds_counts():
    old = waiver(granted=TODAY - timedelta(days=9), expires=TODAY - timedelta(days=1))
    assert waived(old, waiver(by="another")).waiver.by == "another"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "nmber"}, "a waiver of 'nmber', which is not a check"),
        ({"name": "style"}, "which is soft: it rejects nothing anyway"),
        ({"expires": TODAY + timedelta(days=91)}, "at most 90 days after"),
        ({"expires": TODAY - timedelta(days=1)}, "no earlier than it is granted"),
        ({"by": " "}, "by"),
        ({"reason": ""}, "reason"),
        ({"checkpoint_digest": ""}, "checkpoint_digest"),
        ({"checkpoint_digest": "c" * 7}, "checkpoint_digest"),
        ({"forever": True}, "forever"),
    ],
)
def test_a_waiver_that_says_too_little_or_too_much_is_refused(changes, message):
    made = (Check(name="number", min_value=0.9), Check(name="style", min_value=0.9, severity="soft"))
    GatePolicy(checks=made, waivers=(waiver(expires=TODAY + timedelta(days=90)),))
    with pytest.raises(ValidationError, match=message):
        GatePolicy(checks=made, waivers=(waiver(**changes),))


def gain(low):
    return Finding(
        kind="over_champion",
        labels={"of": "accuracy"},
        **{"estimate": 0.1, "ci_low": low, "ci_high": 0.2, "num_pairs": 1000, "unit": "share", "method": "made up"},
    )


def test_a_check_is_of_the_group_of_its_finding_and_else_of_its_list():
    limits = {"min_value": 0.0, "min_pairs": 1}
    policy = GatePolicy(
        checks=(Check(name="number", **limits), Check(name="over_champion_accuracy", **limits)),
        probe_checks=(),
        champion_checks=(Check(name="over_champion_spearman", **limits),),
    )
    given_all = report(finding(), gain(0.05))
    provenance = given_all.provenance.model_copy(update={"champion_digest": "e" * 64})
    results = decide(given_all.model_copy(update={"provenance": provenance}), policy, TODAY).checks
    assert {result.name: result.group for result in results} == {
        "number": "pairs",
        "over_champion_accuracy": "champion",
        "over_champion_spearman": "champion",  # not measured
    }


def test_checks_on_best_of_n_apply_if_candidates_have_labels():
    policy = GatePolicy(checks=(Check(name="number", min_value=0.0),))
    assert [check.name for check in decided(policy, finding()).checks] == ["number"]
    judged = decided(policy, finding(), finding(name="picks_over_random", low=-0.5, estimate=-0.4, high=-0.3))
    statuses = {check.name: (check.severity, check.status) for check in judged.checks}
    assert statuses == {
        "number": ("hard", "passed"),
        "picks_over_random": ("hard", "failed"),
        "picks_over_longest": ("soft", "failed"),  # not measured
    }
    assert judged.verdict == "failed"


@pytest.mark.parametrize(
    ("low", "limit", "beats"), [(0.05, 0.0, True), (0.05, 0.5, False), (0.05, 0.07, False), (-0.05, -0.1, False)]
)
def test_the_champion_is_beaten_beyond_the_interval_and_by_every_check_on_it(low, limit, beats):
    checks = (
        Check(name="number", min_value=0.0),
        Check(name="over_champion_accuracy", min_value=limit, severity="soft"),
    )
    measured = report(finding(), gain(low))
    assert beats_champion(measured, decide(measured, GatePolicy(checks=checks, champion_checks=()), TODAY)) is beats
