"""Whether a model that passed becomes the champion by itself."""

from __future__ import annotations

import math

from rm.audit import champion
from rm.audit.records import AuditReport
from rm.gate.decision import GateDecision, Verdict


def was_compared_with(report: AuditReport, champion_digest: str | None) -> bool:
    """Whether an audit compared its model with the champion that has this checkpoint digest."""
    gain = report.find(champion.KIND, of="accuracy")
    was_compared = gain is not None and math.isfinite(gain.estimate)
    return was_compared and champion_digest is not None and report.provenance.champion_digest == champion_digest


def may_be_champion(decision: GateDecision, least: Verdict) -> bool:
    """Whether a verdict is good enough, if this one is the least that is."""
    return decision.verdict in ("passed", least)


def beats_champion(report: AuditReport, decision: GateDecision) -> bool:
    """Whether a model beats the champion's accuracy beyond the interval, and passed every check against it."""
    gain = report.find(champion.KIND, of="accuracy")
    against = [check for check in decision.checks if check.group == "champion"]
    return gain is not None and gain.ci_low > 0 and all(check.status == "passed" for check in against)
