import pytest

from rm.gate.checks import Check
from rm.gate.decision import decide
from rm.gate.policy import GatePolicy
from rm.gate.promotion import beats_champion, was_compared_with
from tests.rm.gate.made_up import TODAY, finding, report

CHAMPION = "e" * 64
NUMBER = Check(name="number", min_value=0.0)


def gain(low):
    return finding(0.1, low, 0.2, name="over_champion", labels={"of": "accuracy"})


def beats(low, found=(), checks=(NUMBER,), **limits):
    against = Check(name="over_champion_accuracy", **limits)
    measured = report(finding(), gain(low), *found, champion_digest=CHAMPION)
    policy = GatePolicy(checks=checks, champion_checks=(against,))
    return beats_champion(measured, decide(measured, policy, TODAY))


@pytest.mark.parametrize(
    ("low", "limits", "expected"),
    [
        (0.05, {"min_value": 0.0}, True),
        (0.05, {"min_value": 0.5}, False),
        (0.05, {"min_value": 0.07}, False),
        (0.05, {"min_value": 0.5, "severity": "soft"}, False),
        (0.05, {"max_value": 0.5, "decides": "bound", "warns_beyond": 0.0}, False),
        (0.05, {"min_value": 0.0, "min_pairs": 1001}, False),
        (-0.05, {"min_value": -0.1}, False),
    ],
)
def test_the_champion_is_beaten_beyond_the_interval_and_by_every_check_on_it(low, limits, expected):
    assert beats(low, **limits) is expected


def test_a_model_that_passed_with_warnings_of_another_kind_can_beat_the_champion():
    soft = Check(name="style", min_value=0.9, severity="soft")
    assert beats(0.05, [finding(name="style")], (NUMBER, soft), min_value=0.0)


def test_what_was_not_compared_beats_nobody():
    measured = report(finding())
    decision = decide(measured, GatePolicy(checks=(NUMBER,)), TODAY)
    assert not beats_champion(measured, decision)
    assert not was_compared_with(measured, CHAMPION)


@pytest.mark.parametrize(("champion", "expected"), [(CHAMPION, True), ("f" * 64, False), (None, False)])
def test_an_audit_was_compared_with_the_champion_of_its_digest(champion, expected):
    assert was_compared_with(report(gain(0.05), champion_digest=CHAMPION), champion) is expected
