"""The default limits: that they can be met and missed, are documented, and judge models of known bias rightly."""

import re
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm.audit import overpaid, overpaid_findings
from rm.audit.config import AuditConfig
from rm.audit.evidence import Evidence, TrainTexts
from rm.audit.overpaid import Column, Row, Table
from rm.audit.run import examine
from rm.features.battery import BATTERY, LOG_LENGTH, Family
from rm.gate.checks import CHAMPION_CHECKS, DEFAULT_CHECKS, PROBE_CHECKS, RETIRED
from rm.gate.decision import decide
from rm.gate.policy import GatePolicy
from rm.probes.catalog import HARD_PROBES, PROBES
from rm.stats.finding import Finding, key
from rm.stats.sufficiency import Account, Judged
from tests.rm import toy_world
from tests.rm.gate.made_up import TODAY, report

DOCS = (Path(__file__).parents[3] / "docs" / "gate.md").read_text(encoding="utf-8")
FAMILIES = get_args(Family)
SOUND = {
    key("accuracy_over_baseline", baseline="style"): (0.2, 0.1, 0.3),
    key("accuracy_over_baseline", baseline="words"): (0.2, 0.1, 0.3),
    key("length_following"): (0.1, 0.0, 0.2),
    **{key("overpaid", family=family): (0.0, 0.0, 0.02) for family in FAMILIES},
    key("joint_overpaid", over="surface"): (0.0, 0.0, 0.02),
    key("joint_overpaid", over="words"): (0.0, 0.0, 0.02),
    key("joint_overpaid", over="letters"): (0.0, 0.0, 0.02),
    key("gain_without", part="length"): (-0.01, -0.03, 0.01),
    key("gain_without", part="surface"): (-0.05, -0.08, -0.02),
    key("accuracy_without", part="surface"): (0.7, 0.65, 0.75),
    key("num_phrases"): (0.0, 0.0, 0.0),
    key("visible", family="length"): (0.03, 0.03, 0.03),
    key("visible", family="structure"): (0.03, 0.03, 0.03),
    key("visible", family="others"): (0.07, 0.07, 0.07),
    key("num_clusters"): (500.0, 500.0, 500.0),
    key("unscored_share"): (0.0, 0.0, 0.0),
    key("unexplained_tie_share"): (0.0, 0.0, 0.0),
    key("selection_doubt"): (0.0, 0.0, 0.0),
}


def made(name, numbers):
    estimate, low, high = numbers
    facts = {"kind": name.kind, "labels": dict(name.labels), "unit": "", "method": "", "num_pairs": 500}
    return Finding(estimate=estimate, ci_low=low, ci_high=high, **facts)


def decided(*found, **changed):
    """The decision on a sound model, with some findings replaced by others."""
    sound = {name.name: made(name, numbers) for name, numbers in SOUND.items()}
    sound |= {each.name: each for each in found}
    numbers = {
        name: dict(zip(("estimate", "ci_low", "ci_high"), values, strict=True)) for name, values in changed.items()
    }
    updated = [each.model_copy(update=numbers.get(name, {})) for name, each in sound.items()]
    return decide(report(*updated), GatePolicy(), TODAY)


def test_a_sound_model_passes_without_a_warning():
    assert decided().verdict == "passed"


@pytest.mark.parametrize(
    ("changed", "verdict"),
    [
        ({"overpaid_length": (0.09, 0.05, 0.13)}, "failed"),
        ({"overpaid_length": (-0.09, -0.13, -0.05)}, "failed"),
        ({"overpaid_length": (0.05, 0.01, 0.09)}, "passed_with_warnings"),
        ({"overpaid_tone": (0.09, 0.05, 0.13)}, "passed_with_warnings"),
        ({"overpaid_tone": (0.13, 0.09, 0.17)}, "failed"),
        ({"joint_overpaid_words": (0.09, 0.05, 0.13)}, "failed"),
        ({"length_following": (0.7, 0.6, 0.8)}, "failed"),
        ({"gain_without_length": (0.07, 0.05, 0.09)}, "failed"),
        ({"gain_without_surface": (0.04, 0.02, 0.06)}, "passed"),
        ({"accuracy_without_surface": (0.5, 0.45, 0.515)}, "failed"),
        ({"accuracy_without_surface": (0.54, 0.49, 0.59)}, "inconclusive"),
        ({"accuracy_over_style_floor": (0.05, -0.02, 0.12)}, "inconclusive"),
        ({"visible_length": (0.13, 0.13, 0.13)}, "inconclusive"),
        ({"visible_length": (0.05, 0.05, 0.05)}, "passed_with_warnings"),
        ({"num_clusters": (49.0, 49.0, 49.0)}, "inconclusive"),
        ({"visible_structure": (0.05, 0.05, 0.05)}, "passed_with_warnings"),
        ({"visible_others": (0.09, 0.09, 0.09)}, "passed_with_warnings"),
        ({"num_phrases": (1.0, 1.0, 1.0)}, "passed_with_warnings"),
        ({"accuracy_over_words_floor": (-0.1, -0.2, -0.01)}, "passed_with_warnings"),
        ({"unexplained_tie_share": (0.02, 0.0, 0.04)}, "failed"),
    ],
)
def test_what_is_not_sound_is_decided_as_documented(changed, verdict):
    assert decided(**changed).verdict == verdict


@pytest.mark.parametrize(
    ("low", "following", "verdict"),
    [(0.6, 0.6, "failed"), (0.61, 0.6, "passed"), (0.61, 0.79, "passed"), (0.61, 0.85, "failed")],
)
def test_a_model_that_follows_length_must_be_shown_to_know_more_and_may_not_be_a_length_meter(low, following, verdict):
    knows = made(key("accuracy_without", part="length"), (0.7, low, 0.8))
    decision = decided(knows, length_following=(following, following - 0.02, following + 0.02))
    assert decision.verdict == verdict


def test_no_default_limit_was_moved_without_a_reason():
    limits = {
        check.name: (check.min_value, check.max_value, check.decides, check.warns_beyond, check.min_pairs)
        for check in DEFAULT_CHECKS
    }
    strict, lenient = (-0.04, 0.04, "bound", 0.0, 1), (-0.08, 0.08, "bound", 0.0, 1)
    assert limits == {
        "accuracy_over_style_floor": (0.01, None, "interval", None, 100),
        "accuracy_over_words_floor": (0.0, None, "interval", None, 100),
        "length_following": (-0.5, 0.5, "bound", None, 100),
        "overpaid_length": strict,
        "overpaid_structure": strict,
        "overpaid_typography": lenient,
        "overpaid_wording": lenient,
        "overpaid_tone": lenient,
        "overpaid_opening_and_closing": lenient,
        "overpaid_prompt": lenient,
        "overpaid_people": lenient,
        "overpaid_own": lenient,
        "joint_overpaid_surface": strict,
        "joint_overpaid_words": strict,
        "joint_overpaid_letters": strict,
        "gain_without_length": (None, 0.03, "bound", None, 100),
        "gain_without_surface": (None, 0.03, "bound", None, 100),
        "accuracy_without_surface": (0.52, None, "interval", None, 100),
        "num_phrases": (None, 0.0, "estimate", None, 1),
        "visible_length": (None, 0.1, "bound", 0.04, 1),
        "visible_structure": (None, 0.04, "estimate", None, 1),
        "visible_others": (None, 0.08, "estimate", None, 1),
        "selection_doubt": (None, 0.0, "estimate", None, 1),
        "num_clusters": (50.0, None, "estimate", None, 1),
        "unscored_share": (None, 0.05, "estimate", None, 1),
        "unexplained_tie_share": (None, 0.01, "estimate", None, 100),
    }

    def names(holds):
        return {check.name for check in DEFAULT_CHECKS if holds(check)}

    visible = {"visible_structure", "visible_others"}
    soft = {"accuracy_over_words_floor", "num_phrases", "unscored_share", "selection_doubt"} | visible
    assert names(lambda check: check.severity == "soft") == soft
    assert names(lambda check: check.about == "data") == {"visible_length", "num_clusters"} | visible
    if_measured = {"overpaid_own", "num_phrases", "selection_doubt", "visible_structure"}
    assert names(lambda check: check.if_measured) == if_measured
    (unless,) = [check.unless for check in DEFAULT_CHECKS if check.unless]
    assert (unless.name, unless.above, unless.limit) == ("accuracy_without_length", 0.6, 0.8)
    assert {check.name: (check.min_value, check.max_value) for check in CHAMPION_CHECKS} == {
        "over_champion_accuracy": (-0.03, None),
        "over_champion_gain_without_length": (None, 0.03),
    }


def test_every_family_of_features_has_a_check():
    families = {f"overpaid_{family.replace(' ', '_')}" for family in FAMILIES}
    assert families <= {check.name for check in DEFAULT_CHECKS}


def test_the_hard_probes_are_probes_and_all_others_are_soft():
    assert set(HARD_PROBES) <= {probe.name for probe in PROBES}
    probes = [check for check in PROBE_CHECKS if check.name.startswith("probe_")]
    assert {check.name for check in probes if check.severity == "hard"} == {f"probe_{name}" for name in HARD_PROBES}
    assert all(check.severity == "hard" for check in PROBE_CHECKS if check.name.startswith("invariance_"))


def rows(check):
    named = [(line, re.findall(r"`([a-z_]+)`", line.split("|")[1])) for line in DOCS.splitlines() if line[:1] == "|"]
    return [line for line, names in named if check.name in names]


def test_the_joint_test_over_words_says_that_it_reads_single_words():
    (check,) = [check for check in DEFAULT_CHECKS if check.name == "joint_overpaid_words"]
    assert check.why.startswith("what single words predict of the reward")


@pytest.mark.parametrize("check", [*DEFAULT_CHECKS, *CHAMPION_CHECKS], ids=lambda check: check.name)
def test_every_default_check_says_why_and_where_its_limit_comes_from_and_is_documented(check):
    assert check.why
    assert check.rationale
    (row,) = rows(check)
    _, _, limits, decides, pairs, severity, about, _ = (cell.strip() for cell in row.split("|"))
    for limit in (check.min_value, check.max_value):
        assert limit is None or f"{limit:g}" in limits.split()
    assert ("at least" in limits, "at most" in limits) == (check.max_value is None, check.min_value is None)
    assert (decides, pairs, severity, about) == (check.decides, str(check.min_pairs), check.severity, check.about)
    reasons = [line for line in DOCS.splitlines() if line.startswith("- **`")]
    patterns = [re.findall(r"`([a-z_*]+)`", line.partition(".**")[0]) for line in reasons]
    assert sum(any(fnmatchcase(check.name, each) for each in names) for names in patterns) == 1


@pytest.mark.parametrize("name", HARD_PROBES)
def test_every_hard_probe_is_documented(name):
    assert f"`{name}`" in DOCS


@pytest.mark.parametrize("name", RETIRED)
def test_every_retired_name_is_documented_with_its_successor(name):
    (line,) = [line for line in DOCS.splitlines() if line.startswith("|") and f"`{name}`" in line]
    successor = re.findall(r"[a-z_]+_[a-z_]+", RETIRED[name])[0]
    assert successor in line.split("|")[2]


def length_table(account, critical=2.85):
    """The table of an audit in which only the length was tested."""
    (feature,) = [feature for feature in BATTERY if feature.name == LOG_LENGTH]
    bound = account.bound(critical)
    row = Row(
        column=Column(feature=feature),
        account=account,
        bound=bound,
        visible=account.visible(critical),
        verdict="named" if bound > 0 else "clear",
    )
    return Table(rows=(row,), critical=critical, follows_labels=True, never_wrong=False)


def on_length(excess, error, critical=2.85, paid_error=0.5):
    account = Account(
        num_pairs=500,
        num_clusters=500,
        asked=-excess,
        asked_error=error,
        paid=1.2 * excess,
        paid_error=paid_error * error,
    )
    found = overpaid_findings.findings(length_table(account, critical), 500)
    return decided(*(one for one in found if one.name != "visible_others")).verdict  # there is no other family


def test_an_excess_of_nine_points_is_failed_then_warned_then_undecided_and_never_green():
    verdicts = [on_length(0.09, error) for error in np.linspace(0.002, 0.2, 400)]
    assert list(dict.fromkeys(verdicts)) == ["failed", "passed_with_warnings", "inconclusive"]


@given(st.floats(2, 3.5), st.floats(1.001, 5), st.sampled_from([1, -1]), st.floats(1e-3, 0.3), st.floats(0, 3))
def test_an_excess_that_a_small_audit_may_miss_is_never_green(critical, times, sign, error, paid_error):
    missed = 0.04 * critical / (critical + 0.84)  # from here on, no bound above 0 means that 4 points are not visible
    assert on_length(sign * times * missed, error, critical, paid_error) != "passed"


def test_every_excess_that_a_large_audit_fails_is_never_green_in_a_small_one():
    for excess in (0.041, 0.06, 0.1, 0.2):
        verdicts = [on_length(excess, error) for error in np.linspace(1e-4, 0.2, 100)]
        assert (verdicts[0], verdicts[-1]) == ("failed", "inconclusive")
        assert "passed" not in verdicts


def test_where_rewards_do_not_follow_the_labels_nothing_is_green():
    account = Account(num_pairs=500, num_clusters=500)
    table = replace(length_table(account), follows_labels=False)
    decision = decided(*overpaid_findings.findings(table, 500))
    assert decision.verdict == "inconclusive"
    assert all("no better than chance" in reason for reason in decision.reasons)


NAMES = [LOG_LENGTH, "log words", "bold", "emoji", "praise", "hedges"]
SIZES = (3000, 1000, 300, 100)


@cache
def pairs(seed):
    """Pairs whose rewards pay for length, and the differences of features."""
    random = np.random.default_rng(seed)
    differences = random.normal(size=(max(SIZES), len(NAMES)))
    differences[:, 1] = differences[:, 0] + 0.3 * differences[:, 1]
    quality = random.normal(size=max(SIZES))
    sign = np.where(random.random(max(SIZES)) < 1 / (1 + np.exp(-2 * quality)), 1.0, -1.0)
    margin = sign * (quality + 0.5 * random.normal(size=max(SIZES)) + differences[:, 0])
    return margin, sign[:, None] * differences


def audited(seed, size):
    """The verdict on the first of these pairs."""
    margin, differences = (values[:size] for values in pairs(seed))
    features = [feature for name in NAMES for feature in BATTERY if feature.name == name]
    judged = Judged(
        margin=margin,
        preference=np.ones(size),
        cluster=np.arange(size),
        num_clusters=size,
        stratum=np.zeros(size, dtype=np.int64),
        length=differences[:, 0],
        weight=np.ones(size),
    )
    table = overpaid.table(judged, *overpaid.columns(features, differences, {}))
    return decided(*overpaid_findings.findings(table, size)).verdict


@pytest.mark.parametrize("seed", range(3))
def test_a_strong_bias_on_fewer_pairs_is_never_green(seed):
    verdicts = [audited(seed, size) for size in SIZES]
    assert verdicts[0] == "failed"
    assert "passed" not in verdicts


@pytest.fixture(scope="module")
def audit():
    """Decide on a toy model from its answers to so many prompts: ``audit(reward, num_prompts)``."""
    known = toy_world.heldout(toy_world.generate(100, 1, 9), toy_world.constant).pairs
    train = TrainTexts(chosen=known.chosen, rejected=known.rejected)
    groups = toy_world.generate(300, 1, 0)

    def verdict(reward, num_prompts):
        evidence = Evidence(heldout=toy_world.heldout(groups[:num_prompts], reward), train=train)
        measured = examine(evidence, report().provenance, AuditConfig(num_resamples=100, selection="random"))
        return decide(measured, GatePolicy(), TODAY)

    return verdict


def test_a_whole_audit_fails_a_length_bias_and_is_not_green_on_a_third_of_the_pairs(audit):
    biased = toy_world.biased(toy_world.length, 2.0)
    whole, third = audit(biased, 300), audit(biased, 100)
    failed = {check.name for check in whole.checks if check.status == "failed"}
    assert failed == {"overpaid_length", *(f"joint_overpaid_{over}" for over in ("surface", "words", "letters"))}
    assert whole.verdict == "failed"
    assert third.verdict in ("failed", "inconclusive")


def test_a_whole_audit_of_a_sound_model_passes_with_a_warning_of_what_it_could_not_have_seen(audit):
    decision = audit(toy_world.sound, 300)
    assert decision.verdict == "passed_with_warnings"
    unseen = {"visible_length", "visible_structure", "visible_others"}
    assert {check.name for check in decision.checks if check.status != "passed"} == unseen
