import re
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from rm.audit.records import AuditReport, Provenance
from rm.gate.checks import Check
from rm.gate.decision import decide
from rm.gate.policy import GatePolicy
from rm.report.markdown import markdown
from rm.stats.finding import Finding

TODAY = date(2026, 1, 1)
HOSTILE = [
    "a|b||c\\|d\\",
    "`code` ``x",
    "<img src=x onerror=alert(1)><!-- ",
    "[text](https://evil.example) ![i](//evil.example/x.png) <https://evil.example>",
    "**bold** _it_ __b__ ~~gone~~ $x$",
    "one\ntwo\n\n| a | b |\n| --- | --- |\n| c | d |\n",
    "# heading\n---\n===",
    "1. one",
    "- item",
    "+ item",
    "-",
    "---",
    "> quote",
    "&lt;b&gt; &#124; &copy;",
    "    indented",
    "\t\x00\x1b[31m \u202e \u2028x",
]
PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def finding(name):
    return Finding(kind=name, estimate=0.5, ci_low=0.4, ci_high=0.6, num_pairs=1000, unit="share", method="made up")


def report(base="base", *findings):
    provenance = Provenance(
        base=base,
        checkpoint_digest="c" * 64,
        dataset_digest="d" * 64,
        sources={},
        num_train_pairs=1,
        num_heldout_prompts=1234,
        num_label_ties=0,
        overlong={},
    )
    return AuditReport(findings=findings, buckets=(), flaws=(), examples=(), provenance=provenance)


def shown(*texts, base="base"):
    """A report whose checks' names and meanings, waivers and base model are these texts: failed, waived and soft."""
    names = [f"{place} {text}" for place, text in enumerate(texts)]
    checks = [Check(name=name, min_value=0.9, why=text) for name, text in zip(names, texts, strict=True)]
    checks += [Check(name=f"soft {name}", min_value=0.9, severity="soft", why=name) for name in names]
    checks += [Check(name=f"waived {name}", min_value=0.9) for name in names]
    waivers = [
        {"name": f"waived {name}", "by": f"x{text}", "reason": f"x{text}", "granted": TODAY, "expires": TODAY}
        for name, text in zip(names, texts, strict=True)
    ]
    measured = report(base, *(finding(check.name) for check in checks), finding("accuracy"))
    decision = decide(measured, GatePolicy(checks=checks, waivers=waivers), TODAY)
    return markdown(measured, decision), decision


def structure(text):
    """The kinds of blocks and of inline marks, in order, with no text."""
    tokens = PARSER.parse(text)
    inline = [child.type for token in tokens for child in token.children or () if child.type != "text_special"]
    kinds = [token.type for token in tokens]
    return kinds, [kind for kind in inline if kind != "text"]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_has_no_structure(text):
    hostile, _ = shown(text, base=f"x{text}")
    tame, _ = shown("tame", base="tame")
    assert structure(hostile) == structure(tame)


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=12), min_size=1, max_size=3))
def test_no_text_has_structure(texts):
    hostile, _ = shown(*texts, base="x" + texts[0])
    tame, _ = shown(*("tame" for _ in texts), base="tame")
    assert structure(hostile) == structure(tame)


def rows(text):
    """The cells of each row as a reader sees them, table by table."""
    tables, cells = [], None
    for token in PARSER.parse(text):
        if token.type == "table_open":
            tables.append([])
        elif token.type == "tr_open":
            cells = []
            tables[-1].append(cells)
        elif token.type == "inline" and token.level and cells is not None and tables:
            cells.append("".join(child.content for child in token.children))
    return tables


def test_checks_stay_one_table_and_show_what_was_written():
    texts = ["a|b", "`c`", "<d>", "e_f*g", "h&amp;i"]
    text, decision = shown(*texts)
    checks, findings = rows(text)
    assert [row[0] for row in checks[1:]] == [check.name for check in decision.checks]
    assert [row[3] for row in checks[1:]] == [check.reason for check in decision.checks]
    assert {len(row) for row in checks} == {4}
    assert findings[1:] == [["Accuracy on held-out pairs", "0.500", "0.400 to 0.600", "1,000"]]


def test_nobody_is_called_and_nothing_is_linked():
    text, _ = shown("see https://evil.example and www.evil.example, @someone, #12, http://x")
    assert not re.search(r"@\w|#\d|(?<!\\):/|www\.", text.replace("\\#", "#"))


def test_an_undefined_number_is_no_table_of_its_own():
    broken = report("base", finding("accuracy").model_copy(update={"estimate": float("nan")}))
    policy = GatePolicy(checks=(Check(name="accuracy", min_value=0.1),))
    text = markdown(broken, decide(broken, policy, TODAY))
    assert text.startswith("## Reward model audit: failed\n")
    assert "| Accuracy on held-out pairs | undefined |" in text


@pytest.mark.parametrize("limit", [0.1, 0.45, 0.9])
def test_the_verdict_and_every_reason_come_first(limit):
    measured = report("base", finding("accuracy"))
    decision = decide(measured, GatePolicy(checks=(Check(name="accuracy", min_value=limit),)), TODAY)
    text = markdown(measured, decision)
    assert text.startswith(
        f"## Reward model audit: {decision.verdict}\n\nbase, checkpoint cccccccccccc; 1,234 held-out"
    )
    assert ("**Why**" in text) == (not decision.passed)
    assert text.index("**What to do**") < text.index("**What could not be seen**") < text.index("| check |")
