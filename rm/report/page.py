"""The HTML page. Annotators' text is hostile input: the template escapes everything."""

from __future__ import annotations

from functools import cache
from typing import Any

import jinja2

from rm.audit import heldout as scored
from rm.audit.records import AuditReport
from rm.gate.decision import GateDecision
from rm.report.not_tested import not_tested
from rm.report.parts import PageInput
from rm.report.sections import SECTIONS
from rm.report.tables import unexpected
from rm.report.text import HEADLINES, count, interval, number, percent, tiny, visible


def page(report: AuditReport, decision: GateDecision, heldout: scored.Heldout) -> str:
    """The HTML page; it loads nothing from the network."""
    source = PageInput(report=report, decision=decision, heldout=heldout)
    sections = [section for section in SECTIONS if section.measured(report)]
    status = {check.name: check.status for check in decision.checks}
    found = [(title, report.finding(name), status.get(name)) for name, title in HEADLINES]
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            report=report,
            decision=decision,
            headlines=[headline for headline in found if headline[1] is not None],
            num_unexpected=len(unexpected(report.probes)),
            num_judged=sum(result.expected != "report" for result in report.probes),
            sections=sections,
            parts={section.anchor: section.build(source) for section in sections},
            not_tested=not_tested(report),
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
    environment.filters |= {"number": number, "interval": interval, "count": count, "percent": percent, "tiny": tiny}
    return environment


def _with_visible_controls(value: Any) -> Any:
    return visible(value) if isinstance(value, str) else value
