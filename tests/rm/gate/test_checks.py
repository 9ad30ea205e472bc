"""The default limits: that they can be met and missed, are documented, and judge models of known bias rightly."""

from datetime import date
from pathlib import Path

import pytest

from rm.audit.records import AuditReport, Provenance
from rm.errors import ConfigError
from rm.gate import decision
from rm.gate.checks import DEFAULT_CHECKS
from rm.gate.policy import GatePolicy
from rm.pipeline import load
from rm.stats.finding import Finding

DOCS = (Path(__file__).parents[3] / "docs" / "gate.md").read_text(encoding="utf-8")
# Measured: docs/results.md, the quickstart without and with a planted length bias; n of 401, 197 and 196 pairs.
SOUND = {
    "accuracy_over_style_floor": (0.292, 0.224, 0.365),
    "length_label_controlled_overshoot": (-0.042, -0.136, 0.055),
    "accuracy_longer_chosen": (0.777, 0.714, 0.837),
    "accuracy_shorter_chosen": (0.837, 0.785, 0.886),
    "length_split_gap_overshoot": (-0.060, -0.137, 0.004),
    "length_preference_overshoot": (-0.029, -0.059, 0.0),
    "largest_style_coefficient": (0.0, 0.0, 0.0),
    "largest_phrase_excess": (0.0, 0.0, 0.0),
    "num_prompts": (240.0, 240.0, 240.0),
    "unscored_share": (0.0, 0.0, 0.0),
    "unexplained_tie_share": (0.0, 0.0, 0.0),
}
BIASED = SOUND | {
    "accuracy_over_style_floor": (0.086, 0.033, 0.142),
    "length_label_controlled_overshoot": (0.476, 0.379, 0.566),
    "accuracy_longer_chosen": (0.851, 0.805, 0.894),
    "accuracy_shorter_chosen": (0.613, 0.522, 0.712),
}


def decided(numbers):
    provenance = Provenance(
        base="quickstart",
        checkpoint_digest="0" * 64,
        dataset_digest="1" * 64,
        sources={},
        num_train_pairs=1,
        num_heldout_prompts=1,
        num_label_ties=0,
        overlong={},
    )
    findings = tuple(
        Finding(kind=name, estimate=estimate, ci_low=low, ci_high=high, num_pairs=196, unit="", method="")
        for name, (estimate, low, high) in numbers.items()
    )
    report = AuditReport(findings=findings, buckets=(), flaws=(), examples=(), provenance=provenance)
    return decision.decide(report, GatePolicy(), date(2026, 1, 1))


def test_the_sound_quickstart_model_passes_and_the_length_biased_one_fails():
    assert decided(SOUND).verdict == "passed"
    biased = decided(BIASED)
    assert biased.verdict == "failed"
    assert [check.name for check in biased.checks if check.blocks] == ["length_label_controlled_overshoot"]


def test_no_default_limit_was_moved_without_a_reason():
    limits = {check.name: (check.min_value, check.max_value, check.min_pairs) for check in DEFAULT_CHECKS}
    assert limits == {
        "accuracy_over_style_floor": (0.01, None, 100),
        "length_label_controlled_overshoot": (-0.35, 0.35, 100),
        "accuracy_shorter_chosen": (0.5, None, 30),
        "accuracy_longer_chosen": (0.5, None, 30),
        "length_split_gap_overshoot": (-0.2, 0.2, 100),
        "length_preference_overshoot": (-0.1, 0.1, 100),
        "largest_style_coefficient": (None, 1.0, 100),
        "largest_phrase_excess": (None, 0.3, 100),
        "num_prompts": (50, None, 1),
        "unscored_share": (None, 0.05, 1),
        "unexplained_tie_share": (None, 0.01, 100),
    }
    assert {check.name for check in DEFAULT_CHECKS if check.severity == "soft"} == {"unscored_share"}


@pytest.mark.parametrize("check", DEFAULT_CHECKS, ids=lambda check: check.name)
def test_every_default_check_says_why_and_where_its_limit_comes_from_and_is_documented(check):
    assert check.why
    assert check.rationale
    (row,) = [line for line in DOCS.splitlines() if line.startswith("|") and f"`{check.name}`" in line]
    for limit in (check.min_value, check.max_value):
        assert limit is None or f"{limit:g}" in row
    assert check.decides in row
    assert f"**`{check.name}`" in DOCS or f", `{check.name}`.**" in DOCS


def test_the_documented_policy_file_is_one(tmp_path):
    (text,) = [part.partition("```")[0] for part in DOCS.split("```yaml\n")[1:]]
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    policy = load.load_policy(path)
    assert policy.waivers
    assert {check.severity for check in policy.checks} == {"hard", "soft"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("checks: [{name: a, max_val: 1}]", "checks.0.max_val: unknown key, did you mean max_value?"),
        ("checks: []", "checks: .*at least 1"),
        ("inconclusive: pass", "inconclusive: .*'block' or 'allow', got 'pass'"),
        ("- 1", "expected a mapping of sections at the top, got list"),
        ("gate: {}", "gate: unknown key"),
        ("checks: [", "cannot be read as YAML"),
        ("waivers: [{name: a, reason: b, by: c, granted: 2026-02-30, expires: 2026-03-01}]", "cannot be read as YAML"),
        ("waivers: [{name: a, reason: b, by: c, granted: soon, expires: 2026-03-01}]", "waivers.0.granted: .*'soon'"),
        ("waivers: [{name: a, reason: b, by: c, expires: 2026-03-01}]", "waivers.0.granted: missing"),
        (
            "waivers: [{name: a, reason: b, by: c, granted: 2026-01-01, expires: 2026-03-01}]",
            "'a', which is not a check",
        ),
    ],
)
def test_a_mistake_in_a_policy_file_is_named_with_its_file_and_key(tmp_path, text, message):
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as error:
        load.load_policy(path)
    assert str(error.value).startswith(f"{path}: ")


def test_a_policy_file_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such file; expected a gate's policy"):
        load.load_policy(Path("nowhere.yaml"))


def test_a_policy_comes_back_from_its_own_dump(tmp_path):
    policy = GatePolicy(
        waivers=(
            {
                "name": "unexplained_tie_share",
                "reason": "b",
                "by": "c",
                "granted": "2026-01-01",
                "expires": date(2026, 3, 1),
            },
        )
    )
    path = tmp_path / "policy.yaml"
    path.write_text(policy.model_dump_json())  # JSON is YAML
    assert load.load_policy(path) == policy
