import math
from datetime import date

import pytest

from rm.audit.records import AuditReport, Provenance
from rm.gate.decision import decide
from rm.gate.policy import GatePolicy
from rm.stats.finding import Finding
from tasks import run_page

PROVENANCE = Provenance(
    base="base",
    checkpoint_digest="c",
    dataset_digest="d",
    sources={},
    num_train_pairs=9,
    num_heldout_prompts=9,
    num_label_ties=0,
    overlong={},
)
MODEST = GatePolicy.model_validate({"checks": [{"name": "accuracy", "min_value": 0.5, "min_pairs": 1}]})
HIGH = GatePolicy.model_validate({"checks": [{"name": "accuracy", "min_value": 0.9, "min_pairs": 1}]})


def number(kind, estimate, low, high, detail="", **labels):
    facts = {"kind": kind, "labels": labels, "estimate": estimate, "ci_low": low, "ci_high": high}
    return Finding(**facts, num_pairs=100, unit="", method="", detail=detail)


def audited(*findings, policy=MODEST):
    report = AuditReport(findings=(number("accuracy", 0.7, 0.6, 0.8), *findings), provenance=PROVENANCE)
    return report, decide(report, policy, date(2026, 1, 1))


LENGTH = number("overpaid", 0.06, 0.02, 0.1, "log length", family="length")
PUNISHED = number("overpaid", -0.09, -0.2, -0.01, "bold_text", family="typography")
WORDS = number("joint_overpaid", 0.08, 0.01, 0.2, '"delve", "tapestry"', over="words")
UNSURE = number("overpaid", 0.4, 0.0, 0.9, "hedges", family="wording")
UNTESTED = number("overpaid", math.nan, math.nan, math.nan, family="tone")


@pytest.mark.parametrize(
    ("findings", "points", "words"),
    [
        ((LENGTH, PUNISHED, UNSURE, UNTESTED), 9.0, "bold text: \N{MINUS SIGN}9.0 points"),
        ((LENGTH, UNSURE), 6.0, "log length: 6.0 points"),
        ((LENGTH, WORDS), 8.0, "words together: 8.0 points"),
        ((UNSURE, UNTESTED), 0.0, "none found"),
        ((UNTESTED,), math.nan, "not tested"),
        ((), math.nan, "not tested"),
    ],
)
def test_the_worst_bias_is_the_largest_that_was_shown(findings, points, words):
    report, decision = audited(*findings)
    assert run_page.metrics(report, decision)["worst bias"] == pytest.approx(points, nan_ok=True)
    assert run_page.tags(report, decision) == {"verdict": "passed", "why": "every check holds", "worst bias": words}


def test_a_rejected_run_has_its_first_reason_in_the_list():
    found = run_page.tags(*audited(LENGTH, policy=HIGH))
    assert found["verdict"] == "rejected" and "0.7" in found["why"]


def test_metrics_are_few_have_plain_names_and_are_undefined_where_nothing_was_measured():
    found = run_page.metrics(*audited(LENGTH, policy=HIGH))
    assert list(found)[:3] == ["accuracy", "accuracy low", "accuracy high"]
    assert (found["accuracy"], found["accuracy low"], found["accuracy high"]) == (0.7, 0.6, 0.8)
    assert found["checks not passed"] == 1
    assert found["overpaid length"] == pytest.approx(6.0)
    assert math.isnan(found["gain without length"])
    assert len(found) < 20
    assert not any("_" in name for name in found)


def test_the_note_says_the_verdict_why_and_what_to_do_and_links_to_the_report_however_long_it_is():
    report, decision = audited(policy=HIGH)
    note = run_page.note(report, decision, "#/page")
    assert note.startswith("## Rejected\n")
    assert note.endswith("\n\n[Open the report](#/page)\n")
    assert note.index("**Why**") < note.index("**What to do**")
    long = GatePolicy.model_validate(
        {"checks": [{"name": "accuracy", "min_value": 0.9, "min_pairs": 1, "why": "so much " * 2000}]}
    )
    note = run_page.note(*audited(policy=long), "#/page")
    assert len(note) < 8000
    assert note.startswith("## Rejected\n")
    assert note.endswith("[Open the report](#/page)\n")


def test_the_verdict_lists_the_checks_that_did_not_pass_and_no_other():
    policy = GatePolicy.model_validate(
        {"checks": [{"name": "accuracy", "min_value": 0.9}, {"name": "overpaid_length", "max_value": 0.5}]}
    )
    text = run_page.verdict(*audited(LENGTH, policy=policy), "[a link](#)")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 3
    assert rows[2].startswith("| accuracy | hard | failed |")
    assert "[a link](#)" in text
    assert "|" not in run_page.verdict(*audited(), "[a link](#)")


def test_a_text_is_shortened_at_the_end_of_a_line():
    assert run_page.shortened("one\ntwo", 7) == "one\ntwo"
    assert run_page.shortened("one\ntwo\nthree", 12) == "one\ntwo\n..."


def test_the_ledger_stands_below_the_note_and_its_alerts_are_plain_text():
    report, decision = audited(policy=HIGH)
    note = run_page.note(report, decision, "#/page")
    found = run_page.with_ledger(note, ["*bold*, <b>overpaid</b> [x](y)"], "#/ledger")
    assert found.startswith(note.rstrip("\n"))
    below = found.removeprefix(note.rstrip("\n"))
    assert below == (
        "\n\n**One bias fell while another rose**\n\n"
        "- \\*bold\\*, \\<b\\>overpaid\\</b\\> \\[x\\](y)\n\n[Open the ledger of all versions](#/ledger)\n"
    )
    calm = run_page.with_ledger(note, [], "#/ledger")
    assert calm == note.rstrip("\n") + "\n\n[Open the ledger of all versions](#/ledger)\n"


def test_a_note_with_many_alerts_keeps_mlflows_limit():
    report, decision = audited(policy=HIGH)
    long = f"{'a reason ' * 1000}"
    note = run_page.with_ledger(run_page.note(report, decision, "#/page"), [long, long], "#/ledger")
    assert len(note) < 8000 and note.endswith("](#/ledger)\n")
