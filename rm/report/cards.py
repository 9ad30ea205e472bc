"""The cards of the first screen: the numbers that matter, each with what it is compared with."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from rm.audit.records import AuditReport
from rm.gate.decision import GateDecision
from rm.report.tables import judged, unexpected
from rm.report.text import count, percent, points
from rm.stats.finding import Finding

State = Literal["", "good", "bad", "open"]
_OPEN = ("inconclusive", "warned", "waived", "trained_on")
_STATES: dict[str, State] = {"failed": "bad", **dict.fromkeys(_OPEN, "open")}
_COIN = 0.5


class Card(NamedTuple):
    """One number in a box."""

    title: str
    value: str
    below: str
    """Its interval, or what it is compared with."""
    state: State
    check: str
    """Name of the finding."""


def cards(report: AuditReport, decision: GateDecision) -> tuple[Card, ...]:
    """The cards whose findings were measured.

    Parameters
    ----------
    report : AuditReport
    decision : GateDecision
    """
    status = {check.name: check.status for check in decision.checks}
    found = (
        _accuracy(report),
        _gain(report),
        _share(report),
        _without(report, _STATES.get(status.get("accuracy_without_surface", ""), "")),
        _words(report),
        _probes(report),
    )
    return tuple(card for card in found if card is not None)


def _known(report: AuditReport, kind: str, **labels: str) -> Finding | None:
    finding = report.find(kind, **labels)
    return finding if finding is not None and math.isfinite(finding.estimate) else None


def _span(finding: Finding) -> str:
    return f"{percent(finding.ci_low)} to {percent(finding.ci_high)}"


def _accuracy(report: AuditReport) -> Card | None:
    found = _known(report, "accuracy")
    if found is None:
        return None
    state: State = "" if found.ci_low > _COIN else "bad" if found.ci_high < _COIN else "open"
    return Card("Right on held-out pairs", percent(found.estimate), _span(found), state, found.name)


def _gain(report: AuditReport) -> Card | None:
    gain, without = _known(report, "gain_without", part="length"), _known(report, "accuracy_without", part="length")
    if gain is None or without is None:
        return None
    size = points(abs(gain.estimate))
    below = f"{size} points {'more: better without' if gain.estimate > 0 else 'less'}" if float(size) else "as often"
    state: State = "bad" if gain.ci_low > 0 else ""
    return Card("Right with length taken out", percent(without.estimate), below, state, gain.name)


def _share(report: AuditReport) -> Card | None:
    found = _known(report, "surface_share")
    if found is None:
        return None
    return Card("Share of the reward that surface predicts", percent(found.estimate), _span(found), "", found.name)


def _without(report: AuditReport, state: State) -> Card | None:
    found = _known(report, "accuracy_without", part="surface")
    if found is None:
        return None
    return Card("Right with all surface taken out", percent(found.estimate), _span(found), state, found.name)


def _words(report: AuditReport) -> Card | None:
    """A bag of words that is better than the model, or may be."""
    found, accuracy = _known(report, "baseline_accuracy", baseline="words"), _known(report, "accuracy")
    over = _known(report, "accuracy_over_baseline", baseline="words")
    if found is None or accuracy is None or over is None:
        return None
    state: State = "bad" if over.estimate < 0 else "" if over.ci_low > 0 else "open"
    below = f"the model in {percent(accuracy.estimate)}"
    return Card("A bag of words is right in", percent(found.estimate), below, state, found.name)


def _probes(report: AuditReport) -> Card:
    """Also without probes that have a result, since that is what a reader should know."""
    tried = judged(report.probes)
    if not tried:
        return Card("Edited responses scored as they should be", "none tried", "causes are not shown", "open", "probes")
    wrong = len(unexpected(tried))
    value = f"{count(len(tried) - wrong)} of {count(len(tried))}"
    return Card("Edited responses scored as they should be", value, "see Probes", "bad" if wrong else "good", "probes")
