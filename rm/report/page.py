"""The HTML page. Annotators' text is hostile input: the template escapes everything."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from typing import Any

import jinja2
from markupsafe import Markup

from rm.audit import heldout as scored
from rm.audit.records import AuditReport
from rm.gate.decision import GateDecision
from rm.labels.records import LabelReport
from rm.report import answers
from rm.report.cards import cards
from rm.report.not_tested import not_tested
from rm.report.parts import PageInput
from rm.report.picture import picture
from rm.report.sections import SECTIONS
from rm.report.summary import summarize
from rm.report.text import count, interval, number, percent, plain, points, tiny, visible


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
    style = _environment().get_template("page.css").render()
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            report=report,
            decision=decision,
            summary=summary,
            picture=picture(report, summary),
            cards=cards(report, decision),
            sections=sections,
            answers=lines,
            parts={section.anchor: section.build(source) for section in sections},
            not_tested=untested,
            style=Markup(style),
            style_digest=base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii"),
        )
    )


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("rm.report", "templates"),
        autoescape=True,
        finalize=_with_visible_controls,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    writers = (number, interval, count, percent, points, plain, tiny)
    environment.filters |= {writer.__name__: writer for writer in writers}
    environment.filters["feature_name"] = answers.feature_name
    return environment


def _with_visible_controls(value: Any) -> Any:
    return visible(value) if isinstance(value, str) else value
