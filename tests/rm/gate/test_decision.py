import re
from datetime import timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rm.errors import GateRejected
from rm.gate.checks import CHAMPION_CHECKS, DEFAULT_CHECKS, PROBE_CHECKS, Check, Unless
from rm.gate.decision import CheckResult, GateDecision, decide
from rm.gate.judging import judge
from rm.gate.policy import GatePolicy, Waiver
from tests.rm.gate.made_up import DIGEST, TODAY, checks, decided, finding, findings, report

ORDER = ["failed", "inconclusive", "passed"]
FAILS, OPEN = {"min_value": 0.9}, {"min_value": 0.45}
WARNS = {"max_value": 0.9, "decides": "bound", "warns_beyond": 0.1}
PASSES = {"min_value": 0.1}
severities = st.sampled_from(["hard", "soft"])


def verdict(*facts, **policy):
    """The verdict on one finding after another."""
    made = tuple(Check(name=str(place), **one) for place, one in enumerate(facts))
    return decided(GatePolicy(checks=made, **policy), *(finding(name=check.name) for check in made)).verdict


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ([PASSES], "passed"),
        ([PASSES, WARNS], "passed_with_warnings"),
        ([PASSES, WARNS | {"severity": "soft"}], "passed_with_warnings"),
        ([PASSES, FAILS | {"severity": "soft"}], "passed_with_warnings"),
        ([PASSES, OPEN | {"severity": "soft"}], "passed_with_warnings"),
        ([PASSES, WARNS, OPEN], "inconclusive"),
        ([PASSES, FAILS | {"about": "data"}], "inconclusive"),
        ([PASSES, PASSES | {"min_pairs": 1001}], "inconclusive"),
        ([PASSES, WARNS, OPEN, FAILS], "failed"),
    ],
)
def test_the_verdict_is_that_of_the_worst_hard_check_and_green_only_if_nothing_warns(facts, expected):
    assert verdict(*facts) == verdict(*reversed(facts)) == expected


@given(
    st.lists(st.tuples(severities, checks(), findings()), min_size=1, max_size=6), st.sampled_from(["block", "allow"])
)
def test_the_worst_blocking_hard_check_is_the_verdict(parts, inconclusive):
    assume(any(severity == "hard" for severity, _, _ in parts))
    assume(inconclusive == "block" or any(each[0] == "hard" and each[1].about == "model" for each in parts))
    made = tuple(
        check.model_copy(update={"name": str(place), "severity": severity})
        for place, (severity, check, _) in enumerate(parts)
    )
    found = [one.model_copy(update={"name": str(place)}) for place, (_, _, one) in enumerate(parts)]
    decision = decided(GatePolicy(checks=made, inconclusive=inconclusive), *found)
    alone = [judge(check, one)[0] for check, one in zip(made, found, strict=True)]
    assert [check.status for check in decision.checks] == alone
    blocking = ["failed"] if inconclusive == "allow" else ["failed", "inconclusive"]
    blocks = [one for one, check in zip(alone, made, strict=True) if check.severity == "hard" and one in blocking]
    if blocks:
        assert decision.verdict == min(blocks, key=ORDER.index)
    else:
        assert decision.verdict == ("passed" if set(alone) == {"passed"} else "passed_with_warnings")
    assert decision.passed == (not blocks) == (not decision.reasons)
    assert len(decision.reasons) == len(blocks)
    assert len(decision.reasons) + len(decision.warnings) == sum(one != "passed" for one in alone)


@given(st.lists(st.tuples(checks(), findings()), min_size=1, max_size=4))
def test_where_undecided_checks_are_allowed_they_warn_and_the_verdict_is_never_green(parts):
    assume(any(check.about == "model" for check, _ in parts))
    made = tuple(check.model_copy(update={"name": str(place)}) for place, (check, _) in enumerate(parts))
    found = [one.model_copy(update={"name": str(place)}) for place, (_, one) in enumerate(parts)]
    allowed = decided(GatePolicy(checks=made, inconclusive="allow"), *found)
    if any(check.status == "inconclusive" for check in allowed.checks):
        assert allowed.verdict in ("passed_with_warnings", "failed")


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
    assert decision.reasons == (
        "bad is 0.500 [0.400, 0.600], its interval must be at least 0.9",
        "absent was not measured",
    )


def test_a_check_that_asks_only_if_it_was_measured_is_left_out_where_it_was_not():
    optional = Check(name="optional", min_value=0.9, if_measured=True)
    policy = GatePolicy(checks=(Check(name="number", min_value=0.0), optional))
    without = decided(policy, finding())
    assert (without.verdict, [check.name for check in without.checks]) == ("passed", ["number"])
    assert decided(policy, finding(), finding(name="optional")).verdict == "failed"


def test_without_a_hard_check_nothing_passes():
    soft = Check(name="number", min_value=0, severity="soft")
    for made in ((), (soft,)):
        assert decided(GatePolicy.model_construct(checks=made), finding()).verdict == "failed"


def test_an_empty_report_fails_every_default_check_but_those_of_what_need_not_be_measured():
    decision = decided(GatePolicy())
    assert decision.reasons == tuple(
        f"{check.name} was not measured"
        for check in DEFAULT_CHECKS
        if check.severity == "hard" and not check.if_measured
    )


def test_the_default_policy_names_only_what_an_audit_measures(report):
    names = {found.name for found in report.findings}
    assert {check.name for check in DEFAULT_CHECKS if not check.if_measured} <= names


def test_limits_are_wider_beside_another_finding_unless_the_policy_keeps_the_plain_one():
    check = Check(
        name="length_following",
        min_value=-0.5,
        max_value=0.5,
        unless=Unless(name="accuracy_without_length", above=0.6, limit=0.8),
    )
    follows = finding(0.65, 0.6, 0.7, name="length_following")
    labels = {"part": "length"}
    for low, plain, expected in ((0.61, False, "passed"), (0.6, False, "failed"), (0.61, True, "failed")):
        knows = finding(0.7, low, 0.8, name="accuracy_without", labels=labels)
        decision = decided(GatePolicy(checks=(check,), plain_length_limit=plain), follows, knows)
        assert decision.verdict == expected
        assert ("-0.8 to 0.8" in decision.checks[0].reason) == (expected == "passed")


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
    assert any(re.search(r"\d", reason) for reason in decision.reasons)
    message = str(GateRejected(decision.verdict, decision.reasons, "report"))
    assert decision.verdict in message
    assert all(reason in message for reason in decision.reasons)


def test_a_remedy_counts_the_pairs_of_the_audit_and_not_those_that_differ_in_the_feature():
    check = Check(name="number", min_value=0.45, min_pairs=1)
    accuracy = finding(name="accuracy", num_pairs=2000)
    (reason,) = decided(GatePolicy(checks=(check,)), finding(num_pairs=100), accuracy).reasons
    assert reason.endswith("about 6,000 more held-out pairs would decide it")


def waiver(**changes):
    facts = {"name": "number", "reason": "a pilot", "by": "the owner", "granted": TODAY, "expires": TODAY}
    return Waiver(**facts | changes)


def waived(*waivers, check=None, **policy):
    made = GatePolicy(checks=(Check(name="number", **(check or FAILS)),), waivers=waivers, **policy)
    return decided(made, finding()).checks[0]


def test_a_waiver_lets_a_hard_check_pass_and_says_who_and_why_and_until_when():
    for check, before in ((FAILS, "failed"), (OPEN, "inconclusive")):
        result = waived(waiver(), check=check)
        assert (result.status, result.blocks) == ("waived", False)
        assert result.reason.startswith(f"waived by the owner until 2026-06-01: a pilot ({before}: ")
        assert "number is 0.500 [0.400, 0.600]" in result.reason
        assert result.waiver.by == "the owner"


@pytest.mark.parametrize(("check", "status"), [(PASSES, "passed"), (WARNS, "warned")])
def test_a_check_that_does_not_keep_the_model_out_needs_no_waiver(check, status):
    result = waived(waiver(), check=check)
    assert (result.status, result.blocks, result.waiver) == (status, False, None)
    assert "waived" not in result.reason


def test_a_waived_decision_passes_with_warnings_and_lists_what_was_waived():
    decision = decided(GatePolicy(checks=(Check(name="number", **FAILS),), waivers=(waiver(),)), finding())
    assert (decision.verdict, decision.reasons, decision.warnings) == ("passed_with_warnings", (), ())
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


def champion_report(*found):
    return report(*found, champion_digest="e" * 64)


def test_checks_on_edits_and_on_a_champion_apply_only_if_there_are_such():
    names = {check.name for check in decided(GatePolicy(), finding()).checks}
    assert not names & {check.name for check in (*PROBE_CHECKS, *CHAMPION_CHECKS)}
    names = {check.name for check in decide(champion_report(finding()), GatePolicy(), TODAY).checks}
    assert {check.name for check in CHAMPION_CHECKS} <= names


@pytest.mark.parametrize(("low", "verdict"), [(0.45, "passed_with_warnings"), (0.52, "passed"), (0.3, "failed")])
def test_an_undecided_check_against_the_champion_only_warns(low, verdict):
    against = Check(name="over_champion_accuracy", min_value=0.5)
    found = finding(low + 0.1, low, low + 0.15, name="over_champion", labels={"of": "accuracy"})
    policy = GatePolicy(checks=(Check(name="number", **PASSES),), champion_checks=(against,))
    assert decide(champion_report(finding(), found), policy, TODAY).verdict == verdict


def test_a_check_is_of_the_group_of_its_finding_and_else_of_its_list():
    limits = {"min_value": 0.0, "min_pairs": 1}
    policy = GatePolicy(
        checks=(Check(name="number", **limits), Check(name="over_champion_accuracy", **limits)),
        probe_checks=(),
        champion_checks=(Check(name="over_champion_spearman", **limits),),
    )
    gain = finding(name="over_champion", labels={"of": "accuracy"})
    results = decide(champion_report(finding(), gain), policy, TODAY).checks
    assert {result.name: result.group for result in results} == {
        "number": "pairs",
        "over_champion_accuracy": "champion",
        "over_champion_spearman": "champion",  # not measured
    }


def test_a_decision_comes_back_from_its_json_with_the_same_verdict():
    decision = decided(GatePolicy(checks=(Check(name="number", **WARNS),)), finding())
    again = GateDecision.model_validate_json(decision.model_dump_json())
    assert again == decision and again.verdict == "passed_with_warnings"
    assert isinstance(again.checks[0], CheckResult)


def probed(estimate, low, high, num_pairs=1000, probe="foreign"):
    facts = {"name": f"probe_{probe}", "kind": "probe_win_rate", "labels": {"probe": probe}}
    return finding(estimate, low, high, num_pairs, **facts)


RANKS = ["failed", "inconclusive", "passed_with_warnings", "passed"]


@given(
    st.lists(st.tuples(severities, checks(), findings(), st.booleans()), min_size=1, max_size=5),
    st.sampled_from(["block", "allow"]),
)
def test_teaching_what_probes_ask_never_makes_a_verdict_better(parts, inconclusive):
    names = [f"made{place}" for place in range(len(parts))]
    taught = tuple(name for name, (*_, is_taught) in zip(names, parts, strict=True) if is_taught)
    made = tuple(
        check.model_copy(update={"name": f"probe_{name}", "severity": severity})
        for name, (severity, check, _, _) in zip(names, parts, strict=True)
    )
    found = [
        probed(one.estimate, one.ci_low, one.ci_high, one.num_pairs, name)
        for name, (_, _, one, _) in zip(names, parts, strict=True)
    ]
    policy = GatePolicy.model_construct(checks=made, inconclusive=inconclusive)
    plain = decide(report(*found), policy, TODAY)
    after = decide(report(*found, trained_on=taught), policy, TODAY)
    assert RANKS.index(after.verdict) <= RANKS.index(plain.verdict)
    for name, before, check in zip(names, plain.checks, after.checks, strict=True):
        holds = before.status in ("passed", "warned")
        assert check.status == ("trained_on" if holds and name in taught else before.status)
        assert check.blocks == before.blocks


@pytest.mark.parametrize(
    ("interval", "status", "verdict"),
    [
        ((0.1, 0.0, 0.2), "trained_on", "passed_with_warnings"),
        ((0.3, 0.2, 0.4), "inconclusive", "inconclusive"),
        ((0.7, 0.6, 0.8), "failed", "failed"),
    ],
)
def test_a_hard_probe_that_was_trained_on_is_no_evidence_but_still_can_fail(interval, status, verdict):
    [check] = [check for check in PROBE_CHECKS if check.name == "probe_foreign"]
    policy = GatePolicy(checks=(Check(name="number", min_value=0.0), check), probe_checks=())
    decision = decide(report(finding(), probed(*interval), trained_on=("foreign",)), policy, TODAY)
    assert (decision.checks[1].status, decision.verdict) == (status, verdict)
    if status == "trained_on":
        assert decision.warnings == (f"trained on, so no evidence: {judge(check, probed(*interval))[1]}",)


def test_a_policy_whose_only_hard_check_was_trained_on_passes_nothing():
    [check] = [check for check in PROBE_CHECKS if check.name == "probe_foreign"]
    policy = GatePolicy(checks=(check,), probe_checks=())
    assert decide(report(probed(0.1, 0.0, 0.2)), policy, TODAY).verdict == "passed"
    assert decide(report(probed(0.1, 0.0, 0.2), trained_on=("foreign",)), policy, TODAY).verdict == "failed"
