import math
import re
from functools import cache

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from rm.gate.checks import Check
from rm.gate.policy import GatePolicy
from rm.report.card import card
from rm.report.not_tested import not_tested
from rm.report.tables import outcome, unexpected
from tests.rm import toy_reports

PARSER = MarkdownIt("commonmark").enable(["table"])
STRICT = GatePolicy(
    checks=(
        Check(name="accuracy", min_value=0.99, why="too often wrong"),
        Check(name="reward_tie_share", max_value=-1, severity="soft", decides="estimate", why="ties"),
    )
)


@pytest.fixture(scope="module")
def text():
    return card(toy_reports.full(), toy_reports.decision(toy_reports.full(), STRICT))


def header(text):
    assert text.startswith("---\n")
    front, rest = text.removeprefix("---\n").split("\n---\n", 1)
    return yaml.safe_load(front), rest


def shown(text):
    """The text that a reader sees."""
    return "\n".join(
        "".join(child.content for child in token.children) for token in PARSER.parse(header(text)[1]) if token.children
    )


def test_the_header_names_base_model_verdict_and_headline_numbers(text):
    values, _ = header(text)
    assert values["base_model"] == "org/base"
    assert "audit-failed" in values["tags"]
    metrics = {metric["type"]: metric["value"] for metric in values["model-index"][0]["results"][0]["metrics"]}
    assert metrics["accuracy"] == pytest.approx(toy_reports.full().finding("accuracy").estimate, abs=1e-4)


def test_the_card_says_what_the_model_is_and_what_it_was_trained_on(text):
    seen = shown(text)
    facts = ("org/base", "1,234 pairs", "c" * 64, "d" * 64, "annotations.jsonl", "a note on the data", "60 prompts")
    assert all(fact in seen for fact in facts)


def test_the_card_says_what_was_controlled_for():
    report, decision = toy_reports.full(), toy_reports.decision(toy_reports.full(), STRICT)
    about = report.provenance.model_copy(update={"controlled": ("length", "word:<b>overall")})
    told = shown(card(report.model_copy(update={"provenance": about}), decision))
    assert "What they liked beside quality was controlled for: length, word:<b>overall." in told
    assert "controlled for" not in shown(card(report, decision))


def test_every_reason_warning_and_unexpected_probe_is_a_bias_that_was_found(text):
    report, seen = toy_reports.full(), shown(text)
    decision = toy_reports.decision(report, STRICT)
    assert decision.reasons
    assert decision.warnings
    assert all(reason in seen for reason in (*decision.reasons, *decision.warnings))
    assert unexpected(report.probes)
    for result in report.probes:
        assert (f"{result.name}: {result.about}" in seen) == (outcome(result) in {"not as expected", "in doubt"})


def test_the_card_says_what_was_not_tested(text):
    assert all(line in shown(text) for line in not_tested(toy_reports.full()))


def test_a_model_without_findings_says_so():
    report = toy_reports.bare()[0]
    policy = GatePolicy(checks=(Check(name="accuracy", min_value=0, min_pairs=1),))
    assert "No check failed or warned." in card(report, toy_reports.decision(report, policy))
    assert "how it was trained is not known" in card(report, toy_reports.decision(report, policy))


def test_an_undefined_number_is_no_metric():
    report = toy_reports.full()
    broken = report.finding("accuracy").model_copy(update={"estimate": math.nan})
    report = report.model_copy(update={"findings": (broken, *report.findings[1:])})
    values, _ = header(card(report, toy_reports.decision(report)))
    metrics = values["model-index"][0]["results"][0]["metrics"]
    assert metrics
    assert "accuracy" not in {metric["type"] for metric in metrics}


def kinds(text):
    tokens = PARSER.parse(header(text)[1])
    inline = [child.type for token in tokens for child in token.children or ()]
    return [token.type for token in tokens], [kind for kind in inline if kind not in ("text", "text_special")]


@cache
def bare_decision():
    return toy_reports.decision(toy_reports.bare()[0], STRICT)


def named(name):
    report = toy_reports.bare()[0]
    origin = {"base": f"x{name}", "sources": {f"x{name}": "0" * 64}, "notes": (f"x{name}",)}
    return card(report.model_copy(update={"provenance": report.provenance.model_copy(update=origin)}), bare_decision())


@cache
def tame_kinds():
    return kinds(named("tame"))


NAMES = st.text(st.characters(codec="utf-8"), max_size=15)


@given(NAMES | st.sampled_from(["\n---\n", "--- " * 50, "[a](//b)", "`", "<b>", "\ttags:"]))
def test_no_name_has_structure(name):
    text = named(name)
    assert kinds(text) == tame_kinds()
    assert set(header(text)[0]) == {"library_name", "pipeline_tag", "tags", "base_model", "model-index"}
    assert not re.search(r"[\u202a-\u202e\u2066-\u2069\x00]", text)
