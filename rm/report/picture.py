"""The picture of the first screen: that of the worst reason."""

from __future__ import annotations

from typing import NamedTuple

from rm.audit.records import AuditReport, OverpaidRow
from rm.report.figures import length, overpaid, probes, style
from rm.report.figures.drawing import Drawn
from rm.report.summary import Summary
from rm.report.tables import levels, unexpected

_MOST_ROWS = 4


class Picture(NamedTuple):
    """A figure with what it shows."""

    figure: Drawn
    about: str
    """For those who do not see it."""
    caption: str


def picture(report: AuditReport, summary: Summary) -> Picture:
    """The picture of the first reason; without reasons, accuracy by difference of length.

    Parameters
    ----------
    report : AuditReport
    summary : Summary
    """
    first = summary.reasons[0] if summary.reasons else None
    topic, family = (first.topic, first.family) if first else ("length", "")
    if topic == "surface" and (rows := overpaid_rows(report, family)):
        return _overpaid(report, rows)
    if topic == "edits" and report.probes:
        return _probes(report)
    if topic in ("length", "data", "scoring", "other") and report.deciles:
        return _deciles(report)
    return _levels(report)


def overpaid_rows(report: AuditReport, family: str = "", most: int = _MOST_ROWS) -> list[OverpaidRow]:
    """The features of a family, or of any, with the largest bounds; the untestable ones are left out."""
    rows = report.overpaid.rows if report.overpaid else ()
    tested = [row for row in rows if row.verdict != "untestable" and family in ("", row.family)]
    return sorted(tested, key=lambda row: (row.verdict != "named", -row.bound))[:most]


def _overpaid(report: AuditReport, rows: list[OverpaidRow]) -> Picture:
    critical = report.overpaid.critical_value if report.overpaid else 0.0
    return Picture(
        overpaid.forest(rows, critical),
        "What the labels still ask of features and what the model pays for them, with bounds",
        "Overpaid: the two bars of a feature lie on opposite sides of the dashed line.",
    )


def _probes(report: AuditReport) -> Picture:
    return Picture(
        probes.forest(unexpected(report.probes)[:_MOST_ROWS] or report.probes),
        "How often edited responses get the higher reward, with the allowed bands",
        "How often the edited response gets the higher reward; the stripe is what is allowed.",
    )


def _deciles(report: AuditReport) -> Picture:
    return Picture(
        length.accuracy_in_brief(report.deciles),
        "How often the model is right, by how much longer the better response is than the other",
        "Each point is a tenth of the pairs, with its 95 % interval. A level line: the model reads responses. A steep "
        "one: it measures length.",
    )


def _levels(report: AuditReport) -> Picture:
    return Picture(
        style.baselines(levels(report)),
        "How often heuristics, the model and annotators are right",
        "How often each is right on the same pairs. Grey: heuristics that understand nothing.",
    )
