import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rm import gate
from rm.config import DEFAULT_CHECKS, Check, GatePolicy
from rm.errors import GateRejected
from rm.findings import AuditReport, Finding, Provenance

numbers = st.floats(-2, 2) | st.sampled_from([-0.5, 0.0, 0.5, 1.0])
not_numbers = st.sampled_from([math.nan, math.inf, -math.inf])
DIGEST = "c" * 64


def finding(estimate=0.5, low=0.4, high=0.6, num_pairs=1000, name="number"):
    return Finding(
        name=name, estimate=estimate, ci_low=low, ci_high=high, num_pairs=num_pairs, unit="share", method="made up"
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


def passes(check, *findings):
    decision = gate.decide(report(*findings), GatePolicy(checks=(check,)))
    assert decision.passed == (decision.checks[0].status == "passed") == (not decision.reasons)
    return decision.passed


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
    decision = gate.decide(report(found.model_copy(update={"name": "another"})), GatePolicy(checks=(check,)))
    assert not decision.passed
    assert decision.reasons == ("number was not measured",)


@given(checks(), findings())
def test_what_rests_on_too_few_pairs_has_not_passed(check, found):
    few = found.model_copy(update={"num_pairs": check.min_pairs - 1})
    decision = gate.decide(report(few), GatePolicy(checks=(check,)))
    assert not decision.passed
    assert decision.reasons == (f"number rests on {check.min_pairs - 1} pairs, needs {check.min_pairs}",)


@given(findings(), st.sampled_from(["min_value", "max_value"]), st.sampled_from(["interval", "estimate"]))
def test_a_limit_that_is_no_number_lets_nothing_pass(found, limit, decides):
    check = Check(name="number", min_value=-9, max_value=9, decides=decides, min_pairs=1)
    policy = GatePolicy.model_construct(checks=(check.model_copy(update={limit: math.nan}),))
    assert not gate.decide(report(found.model_copy(update={"num_pairs": 1000})), policy).passed


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
    assert gate.decide(report(finding()), GatePolicy(checks=(check,))).reasons == (reason,)


def test_a_passed_check_says_what_was_measured_too():
    decision = gate.decide(report(finding()), GatePolicy(checks=(Check(name="number", min_value=0.25),)))
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
    decision = gate.decide(report(finding(name="good"), finding(name="bad")), policy)
    assert (decision.passed, decision.verdict) == (False, "rejected")
    assert [(check.name, check.status) for check in decision.checks] == [
        ("good", "passed"),
        ("bad", "failed"),
        ("absent", "failed"),
    ]
    assert len(decision.reasons) == 2


def test_a_policy_without_checks_is_refused_and_would_not_pass():
    with pytest.raises(ValidationError, match="at least 1 item"):
        GatePolicy(checks=())
    assert not gate.decide(report(finding()), GatePolicy.model_construct(checks=())).passed


def test_checks_that_could_not_fail_or_share_a_name_are_refused():
    with pytest.raises(ValidationError, match="it could not fail"):
        Check(name="number")
    with pytest.raises(ValidationError, match="two checks share a name"):
        GatePolicy(checks=(Check(name="number", min_value=0), Check(name="number", max_value=1)))


def test_an_empty_report_fails_every_default_check():
    decision = gate.decide(report(), GatePolicy())
    assert decision.reasons == tuple(f"{check.name} was not measured" for check in DEFAULT_CHECKS)


def test_the_default_policy_names_only_what_an_audit_measures(audited, report):
    names = {found.name for found in report.findings}
    assert {check.name for check in DEFAULT_CHECKS} <= names


def test_the_decision_is_bound_to_the_checkpoint_and_the_policy():
    policies = [GatePolicy(checks=(Check(name="number", min_value=limit),)) for limit in (0.1, 0.2)]
    one, other = (gate.decide(report(finding()), policy) for policy in policies)
    assert one.checkpoint_digest == other.checkpoint_digest == DIGEST
    assert one.policy_digest != other.policy_digest
    assert gate.decide(report(finding(), digest="e" * 64), policies[0]).checkpoint_digest == "e" * 64
    assert gate.decide(report(finding()), policies[0]) == one


def test_a_real_rejection_gives_reasons_with_numbers(decision, report):
    assert not decision.passed  # so few pairs prove nothing
    assert decision.checkpoint_digest == report.provenance.checkpoint_digest
    assert all(re.search(r"\d", reason) for reason in decision.reasons)
    message = str(GateRejected(decision.reasons, "report"))
    assert all(reason in message for reason in decision.reasons)
