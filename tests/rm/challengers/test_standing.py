"""Which challenger is judged, and how often a biased one passes."""

from datetime import date

import numpy as np
import pytest

from rm.audit.config import AuditConfig
from rm.audit.evidence import Evidence, TrainTexts
from rm.audit.run import examine
from rm.challengers.standing import Standing, chosen, standing
from rm.gate.checks import Check
from rm.gate.decision import decide
from rm.gate.policy import GatePolicy, Waiver
from tests.rm import toy_world
from tests.rm.gate.made_up import finding, report

TODAY = date(2026, 1, 1)


def stands(accuracy, failed=(), missed=()):
    verdict = "failed" if failed else "passed"
    found = finding(accuracy, accuracy - 0.1, accuracy + 0.1, name="accuracy")
    return Standing(verdict=verdict, failed=failed, missed=missed, accuracy=found, worst_bias=None)


def test_the_most_accurate_of_those_that_miss_the_fewest_checks_goes_on():
    worst = stands(0.9, failed=("a",), missed=("a",))
    assert chosen([worst, stands(0.7, missed=("b",)), stands(0.6), stands(0.65)]) == 3
    assert chosen([stands(0.7, missed=("b", "c")), stands(0.6, missed=("b",))]) == 1
    assert chosen([worst, worst]) is None
    assert chosen([None, worst, stands(0.6), None]) == 2
    assert chosen([]) is None


def test_among_equals_the_liking_of_length_that_labels_share_is_no_merit():
    def liking(accuracy, balanced):
        found = None if balanced is None else finding(balanced, balanced - 0.1, balanced + 0.1)
        return stands(accuracy).model_copy(update={"balanced": found})

    assert chosen([liking(0.88, 0.8), liking(0.84, 0.83)]) == 1
    assert chosen([liking(0.88, None), liking(0.84, None)]) == 0


def test_a_standing_knows_the_accuracy_with_lengths_balanced_where_it_is_defined():
    for estimate, expected in ((0.8, 0.8), (float("nan"), None)):
        audit = report(finding(0.9, 0.8, 1.0, name="accuracy"), finding(estimate, name="accuracy_length_balanced"))
        policy = GatePolicy(checks=(Check(name="accuracy", min_value=0.6),))
        found = standing(audit, decide(audit, policy, TODAY), policy).balanced
        assert (found and found.estimate) == expected


POLICY = GatePolicy(
    checks=(Check(name="accuracy", min_value=0.6), Check(name="bias", max_value=0.04, decides="bound", min_pairs=1))
)


def measured(accuracy, bias, width=0.03):
    """A report with these two estimates, each with an interval of this half-width."""
    return report(
        finding(accuracy, accuracy - width, accuracy + width, name="accuracy"),
        finding(bias, bias - width, bias + width, name="bias"),
    )


def test_missed_is_what_an_estimate_says_and_failed_what_is_shown():
    for bias, failed, missed in ((0.0, (), ()), (0.05, (), ("bias",)), (0.08, ("bias",), ("bias",))):
        audit = measured(0.8, bias)
        found = standing(audit, decide(audit, POLICY, TODAY), POLICY)
        assert (found.failed, found.missed) == (failed, missed)
        assert found.accuracy.estimate == 0.8


def test_an_estimate_within_a_standard_error_of_its_limit_is_missed_but_not_clearly():
    for bias, width, clear in ((0.05, 0.03, ()), (0.06, 0.03, ("bias",)), (0.2, 1.0, ()), (0.2, 0.1, ("bias",))):
        audit = measured(0.8, bias, width)
        found = standing(audit, decide(audit, POLICY, TODAY), POLICY)
        assert (found.missed, found.clear) == (("bias",), clear)
    policy = GatePolicy(checks=(Check(name="accuracy", min_value=0.6), Check(name="gone", max_value=0.0)))
    assert standing(audit, decide(audit, policy, TODAY), policy).clear == ()


def test_what_was_not_measured_is_missed_and_what_is_about_the_data_is_not():
    policy = GatePolicy(checks=(Check(name="accuracy", min_value=0.6), Check(name="gone", max_value=0.0)))
    audit = measured(0.8, 0.0)
    assert standing(audit, decide(audit, policy, TODAY), policy).missed == ("gone",)
    policy = GatePolicy(
        checks=(Check(name="accuracy", min_value=0.6), Check(name="bias", max_value=-1.0, about="data", min_pairs=1))
    )
    assert standing(audit, decide(audit, policy, TODAY), policy).missed == ()


def undefined(detail, num_pairs=1000):
    """An audit whose bias has no value."""
    found = finding(np.nan, np.nan, np.nan, num_pairs, name="bias", detail=detail)
    return report(finding(0.8, 0.77, 0.83, name="accuracy"), found)


def test_an_undefined_number_is_missed_only_where_the_gate_calls_it_failed():
    for audit, status, missed in (
        (undefined("the model makes no error"), "inconclusive", ()),
        (undefined("", num_pairs=0), "inconclusive", ()),
        (undefined(""), "failed", ("bias",)),
    ):
        decision = decide(audit, POLICY, TODAY)
        assert decision.checks[1].status == status
        assert standing(audit, decision, POLICY).missed == missed


def test_a_model_without_an_error_is_no_worse_than_one_with_real_misses():
    why, more = "the model makes no error", {"name": "other", "num_pairs": 1000}
    unknown = undefined(why).model_copy(
        update={"findings": (*undefined(why).findings, finding(np.nan, np.nan, np.nan, detail=why, **more))}
    )
    misses = measured(0.75, 0.05)
    misses = misses.model_copy(update={"findings": (*misses.findings, finding(0.0, 0.0, 0.0, **more))})
    both = GatePolicy(checks=(*POLICY.checks, POLICY.checks[1].model_copy(update={"name": "other"})))
    stood = [standing(audit, decide(audit, both, TODAY), both) for audit in (unknown, misses)]
    assert (stood[1].missed, chosen(stood)) == (("bias",), 0)


def test_what_somebody_vouches_for_is_not_missed():
    waiver = Waiver(name="bias", by="team", reason="known and small", granted=TODAY, expires=date(2026, 1, 31))
    vouched = POLICY.model_copy(update={"waivers": (waiver,)})
    audit = measured(0.8, 0.2)
    assert standing(audit, decide(audit, POLICY, TODAY), POLICY).missed == ("bias",)
    found = standing(audit, decide(audit, vouched, TODAY), vouched)
    assert (found.verdict, found.failed, found.missed, found.clear) == ("passed_with_warnings", (), (), ())


_WIDTH, _LIMIT = 0.03, 0.6
_POLICY = GatePolicy(checks=(Check(name="accuracy", min_value=_LIMIT),))


def judged(estimates):
    """The audits with these estimates, each with its decision."""
    audits = [report(finding(one, one - _WIDTH, one + _WIDTH, name="accuracy")) for one in estimates]
    return [(audit, decide(audit, _POLICY, TODAY)) for audit in audits]


def falsejudged(num_tries, num_searches, *, apart):
    """Share of searches in which one of so many models passes, none of which should.

    Judged by other prompts than those on which it was chosen (``apart``), or by the same.
    """
    random = np.random.default_rng(num_tries)
    passed = 0
    for _ in range(num_searches):
        choosing, judging = random.normal(_LIMIT, _WIDTH / 1.96, (2, num_tries))
        seen = judged(choosing)
        index = chosen([standing(audit, decision, _POLICY) for audit, decision in seen])
        if index is not None:
            passed += judged([judging[index]])[0][1].passed if apart else seen[index][1].passed
    return passed / num_searches


@pytest.mark.parametrize("num_tries", [1, 4, 12])
def test_the_chance_that_a_biased_model_passes_does_not_grow_with_the_number_of_tries(num_tries):
    searches = 600
    error = np.sqrt(0.025 * 0.975 / searches)
    assert falsejudged(num_tries, searches, apart=True) < 0.025 + 3 * error


def test_it_would_grow_if_models_were_judged_on_the_prompts_on_which_they_are_chosen():
    assert falsejudged(12, 200, apart=False) > 0.15


_ERROR, _CRITICAL, _BOUND = 0.015, 4 / 1.5, 0.04
_BY_BOUND = GatePolicy(
    checks=(
        Check(name="accuracy", min_value=0.5),
        Check(name="bias", max_value=_BOUND, decides="bound", warns_beyond=0.0, min_pairs=1),
    )
)


def seen_bias(truth, share, random):
    """An audit of so large a share of the held-out prompts; its bound lies some standard errors below."""
    error = _ERROR / np.sqrt(share)
    bias = truth + error * random.normal()
    return report(
        finding(0.8, 0.75, 0.85, name="accuracy"),
        finding(bias, bias - _CRITICAL * error, bias + _CRITICAL * error, name="bias"),
    )


@pytest.mark.parametrize("truth", [0.08, 0.09, 0.1])
def test_a_remedy_that_does_nothing_gives_a_biased_model_hardly_a_second_chance(truth):
    """By bound, on fewer pairs, half of these would pass the second time."""
    random, second, by_bound, failed = np.random.default_rng(3), 0, 0, 0
    for _ in range(400):
        first = decide(seen_bias(truth, 1.0, random), _BY_BOUND, TODAY)
        if first.verdict == "failed":
            failed += 1
            again = seen_bias(truth, 2 / 3, random)
            names = [check.name for check in first.checks if check.status == "failed"]
            second += decide(again, _BY_BOUND.sharpened(names), TODAY).passed
            by_bound += decide(again, _BY_BOUND, TODAY).passed
    assert failed > 150
    assert second / failed < 0.05
    assert by_bound / failed > 0.1


@pytest.fixture(scope="module")
def audit():
    """Audit a toy model on prompts of its own for choosing and for judging: ``audit(reward, seed)``."""
    known = toy_world.heldout(toy_world.generate(100, 1, 9), toy_world.constant).pairs
    train = TrainTexts(chosen=known.chosen, rejected=known.rejected)
    config = AuditConfig(num_resamples=100, selection="random")

    def measure(reward, seed):
        evidence = Evidence(heldout=toy_world.heldout(toy_world.generate(300, 1, seed), reward), train=train)
        return examine(evidence, report().provenance, config)

    return measure


def searched(audit, rewards, policy):
    """Index of the chosen one of these models, and the verdict on it."""
    reports = [audit(reward, seed=0) for reward in rewards]
    index = chosen([standing(each, decide(each, policy, TODAY), policy) for each in reports])
    return index, None if index is None else decide(audit(rewards[index], seed=1), policy, TODAY).verdict


@pytest.mark.parametrize("bias", [toy_world.keyword, toy_world.formatting], ids=["a phrase", "lists and bold"])
def test_a_remedy_that_only_moves_the_bias_to_another_axis_does_not_pass(audit, bias):
    plain, moved = (toy_world.biased(each, 3.0) for each in (toy_world.length, bias))
    index, verdict = searched(audit, [plain, moved], GatePolicy())
    assert (index, verdict) in ((None, None), (1, "inconclusive"), (1, "failed"))
    # Nor would it pass if it were chosen all the same.
    assert not decide(audit(moved, seed=1), GatePolicy(), TODAY).passed


def test_beside_them_the_sound_one_is_chosen_andjudged(audit):
    models = [toy_world.biased(toy_world.length, 3.0), toy_world.sound, toy_world.biased(toy_world.keyword, 3.0)]
    assert searched(audit, models, GatePolicy()) == (1, "passed_with_warnings")
