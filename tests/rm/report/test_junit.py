from datetime import date
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from rm.gate.decision import CheckResult, GateDecision, decide
from rm.gate.policy import GatePolicy, Waiver
from rm.report.junit import junit

HOSTILE = st.text() | st.sampled_from(
    ["]]><x/>", "a & b < c > d \"e\" 'f'", "\x00\x1b[31m\x0b", "\ud800", "\ufffe", "<!--", "\u202e", "&amp;"]
)
WAIVER = Waiver(name="a", reason="a pilot", by="the owner", granted=date(2026, 1, 1), expires=date(2026, 1, 2))


@st.composite
def results(draw):
    status = draw(st.sampled_from(["passed", "failed", "inconclusive", "waived"]))
    severity = "hard" if status == "waived" else draw(st.sampled_from(["hard", "soft"]))
    return CheckResult(
        name=draw(HOSTILE),
        group="pairs",
        severity=severity,
        status=status,
        reason=draw(HOSTILE),
        rationale=draw(HOSTILE),
        blocks=severity == "hard" and status in {"failed", "inconclusive"},
        waiver=WAIVER if status == "waived" else None,
    )


def decision(*checks):
    return GateDecision(checks=checks, checkpoint_digest="c" * 64, policy_digest="d" * 64, report_digest="e" * 64)


@given(st.lists(results(), max_size=6))
def test_every_check_is_a_case_and_the_counts_are_right(checks):
    made = decision(*checks)
    text = junit(made)
    (suite,) = ElementTree.fromstring(text.encode("utf-8"))
    cases = suite.findall("testcase")
    assert len(cases) == int(suite.get("tests")) == len(checks)
    hard_failed = sum(check.status == "failed" and check.severity == "hard" for check in checks)
    assert len(suite.findall("testcase/failure")) == int(suite.get("failures")) == hard_failed
    skipped = sum(check.status in {"inconclusive", "waived"} for check in checks)
    assert len(suite.findall("testcase/skipped")) == int(suite.get("skipped")) == skipped
    soft_failed = sum(check.status == "failed" and check.severity == "soft" for check in checks)
    assert len(suite.findall("testcase/system-out")) == soft_failed
    verdicts = [one.get("value") for one in suite.findall("properties/property") if one.get("name") == "verdict"]
    assert verdicts == [made.verdict]
    assert {element.tag for element in suite.iter()} <= {
        "testsuite",
        "properties",
        "property",
        "testcase",
        "failure",
        "skipped",
        "system-out",
    }


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cf", "Cn"]), min_size=1))
def test_text_without_controls_comes_back_as_it_was(text):
    check = CheckResult(
        name=text,
        group="pairs",
        severity="hard",
        status="failed",
        reason=text,
        rationale=text,
        blocks=True,
        waiver=None,
    )
    (case,) = ElementTree.fromstring(junit(decision(check)).encode("utf-8")).iter("testcase")
    assert (case.get("name"), case.find("failure").get("message"), case.find("failure").text) == (text, text, text)


def test_controls_are_written_out():
    check = CheckResult(
        name="a\x00b\u202e",
        group="pairs",
        severity="soft",
        status="failed",
        reason="\ud800",
        rationale="",
        blocks=False,
        waiver=None,
    )
    text = junit(decision(check))
    assert 'name="a[U+0000]b[U+202E]"' in text
    assert "warning: [U+D800]" in text


def test_a_real_decision_reads_well(report):
    made = decide(report, GatePolicy(), date(2026, 1, 1))
    root = ElementTree.fromstring(junit(made))
    cases = {case.get("name"): case for case in root.iter("testcase")}
    assert list(cases) == [check.name for check in made.checks]
    for check in made.checks:
        if check.status == "failed" and check.severity == "hard":
            assert cases[check.name].find("failure").get("message") == check.reason
            assert cases[check.name].find("failure").text == check.rationale
        assert cases[check.name].get("classname") == f"rmflow.gate.{check.severity}"
