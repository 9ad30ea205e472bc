"""The HTML page."""

from __future__ import annotations

from rm.audit import heldout as scored
from rm.audit.records import AuditReport
from rm.gate.decision import GateDecision
from rm.labels.records import LabelReport
from rm.report import answers, parts
from rm.report.cards import cards
from rm.report.html import rendered
from rm.report.not_tested import not_tested
from rm.report.parts import PageInput
from rm.report.picture import picture
from rm.report.sections import REWARDED, SECTIONS
from rm.report.summary import summarize
from rm.report.text import HEADLINES, count

_MOST_PRINTED = 40
"""Rows of the printed table of checks."""


def page(
    report: AuditReport, decision: GateDecision, heldout: scored.Heldout, labels: LabelReport | None = None
) -> str:
    """The HTML page; it loads nothing from the network and runs nothing, which its security policy enforces."""
    source = PageInput(report=report, decision=decision, heldout=heldout, labels=labels)
    sections = [each for each in SECTIONS if each.measured(report) and (labels is not None or not each.of_labels)]
    summary, untested = summarize(report, decision), not_tested(report)
    lines = {section.anchor: section.answer(report) for section in sections}
    lines |= {
        "gate": answers.gate(decision),
        "labels": answers.labels(labels),
        "not-tested": f"{count(len(untested))} things, of which a pass says nothing.",
    }
    return rendered(
        "page.html.j2",
        "page.css",
        report=report,
        decision=decision,
        summary=summary,
        picture=picture(report, summary),
        cards=cards(report, decision),
        sections=sections,
        columns=[[section for section in sections if (section in REWARDED) == rewarded] for rewarded in (True, False)],
        unmet=parts.gate(source)["others"],
        most_printed=_MOST_PRINTED,
        headlines=[(title, found) for name, title in HEADLINES if (found := report.finding(name)) is not None],
        answers=lines,
        parts={section.anchor: section.build(source) for section in sections},
        not_tested=untested,
    )
