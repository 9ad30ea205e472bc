import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rm.stats.finding import Finding, key
from rm.stats.finding_names import flat_name
from tests.rm import toy_reports

FROZEN = Path(__file__).parent / "finding_names.txt"
NUMBERS = {"estimate": 0.5, "ci_low": 0.4, "ci_high": math.inf, "num_pairs": 9, "unit": "share", "method": "made up"}


def named(values, table):
    """Table and name of every finding in a report."""
    if isinstance(values, dict):
        found = [f"{table}: {values['name']}"] if {"name", "estimate", "ci_low"} <= set(values) else []
        return found + [name for part in values.values() for name in named(part, table)]
    return [name for part in values for name in named(part, table)] if isinstance(values, list | tuple) else []


def test_the_names_that_policies_and_trackers_know_stay_as_they_are():
    report = toy_reports.full().model_dump()
    found = dict.fromkeys(name for table, values in report.items() for name in named(values, table))
    assert list(found) == FROZEN.read_text(encoding="utf-8").splitlines()


def test_no_two_findings_of_a_report_have_one_name():
    findings = toy_reports.full().findings
    assert len({finding.name for finding in findings}) == len(findings)


WORDS = st.sampled_from(["effect", "over_placebo", "dose_response", "a", ":", ":a:"]) | st.text("a_/:", min_size=1)
WORDS |= st.builds("_".join, st.lists(WORDS, min_size=1, max_size=3))


@given(st.lists(WORDS, min_size=2, max_size=4, unique=True))
def test_whatever_the_words_of_a_probe_are_its_numbers_have_names_of_their_own(words):
    kinds = ("probe_win_rate", "probe_over_placebo", "probe_effect")
    keys = [key(kind, probe="keywords", **dose) for kind in kinds for dose in ({}, *({"dose": one} for one in words))]
    keys.append(key("probe_dose_response", probe="keywords"))
    metrics = [f"{one.name}{end}" for one in keys for end in ("", "/ci_low", "/ci_high")]
    assert len(set(metrics)) == len(metrics)


def test_a_kind_with_labels_that_have_no_name_is_refused():
    assert flat_name("accuracy", {}) == "accuracy"
    for kind, labels in (("accuracy", {"of": "a"}), ("coefficient", {}), ("probe_win_rate", {"dose": "a"})):
        with pytest.raises(ValueError, match=f"kind '{kind}' with labels .* has no name"):
            flat_name(kind, labels)


def test_a_finding_comes_back_from_json_and_has_no_other_name_than_its_own():
    finding = Finding(kind="probe_effect", labels={"probe": "emoji", "dose": "1"}, **NUMBERS)
    assert finding.name == "probe_emoji_1_effect"
    assert Finding.model_validate_json(finding.model_dump_json()) == finding
    assert finding.is_a("probe_effect", probe="emoji")
    assert not finding.is_a("probe_effect", probe="emoji", dose="2") and not finding.is_a("probe_win_rate")
    with pytest.raises(ValidationError, match="is called 'accuracy', but its kind and labels give"):
        Finding.model_validate(json.loads(finding.model_dump_json()) | {"name": "accuracy"})
