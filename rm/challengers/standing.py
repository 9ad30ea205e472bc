"""How a model does on the prompts on which a remedy is chosen, and which of several goes on to be judged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rm.audit.records import AuditReport
from rm.gate import judging
from rm.gate.checks import Check
from rm.gate.decision import GateDecision, Verdict, applied
from rm.gate.paid_for import paid_for
from rm.gate.policy import GatePolicy
from rm.remedies import candidates
from rm.stats.finding import Finding, Record

_OVERPAID = ("overpaid", "joint_overpaid")
_BALANCED = "accuracy_length_balanced"
_CLEARLY = 0.255
"""Of the width of an interval: one standard error where it is of 95 %, two where it is an overpaid feature's."""


class Standing(Record):
    """One model on the choosing prompts."""

    verdict: Verdict
    failed: tuple[str, ...]
    """Hard checks that failed."""
    missed: tuple[str, ...]
    """Hard checks about the model whose estimate lies beyond a limit, whether or not that is shown; none is waived. One
    without a value is missed if the gate calls it failed, and not where nothing can be told."""
    clear: tuple[str, ...] = ()
    """Those of `missed` whose estimate is beyond the limit by over a quarter of its interval: others may be noise."""
    paid_for: tuple[str, ...] = ()
    """What training can control of that by which it failed: names for ``train.remedies.controlled``."""
    accuracy: Finding
    balanced: Finding | None = None
    """Accuracy if the longer and the shorter response were preferred equally often; None where that is undefined."""
    worst_bias: Finding | None
    """The overpaid or over-punished part of surface with the largest estimate; None if none could be tested."""


def standing(report: AuditReport, decision: GateDecision, policy: GatePolicy) -> Standing:
    """How a model stands by its audit.

    Parameters
    ----------
    report : AuditReport
        Of the choosing part.
    decision : GateDecision
        On it.
    policy : GatePolicy
    """
    found = report.by_name()
    checks = [judging.relaxed(check, found, policy.plain_length_limit) for check in applied(policy, report)]
    tested = [one for one in report.findings if one.kind in _OVERPAID and math.isfinite(one.estimate)]
    failed = tuple(check.name for check in decision.checks if check.blocks and check.status == "failed")
    missed = [check for check in checks if _is_missed(check, found, decision)]
    clear = tuple(check.name for check in missed if _is_clear(check, found))
    names = tuple(check.name for check in missed)
    return Standing(
        verdict=decision.verdict,
        failed=failed,
        missed=names,
        clear=clear,
        paid_for=paid_for(report, candidates.telling(failed, clear, names)),
        accuracy=found["accuracy"],
        balanced=found[_BALANCED] if _BALANCED in found and math.isfinite(found[_BALANCED].estimate) else None,
        worst_bias=max(tested, key=lambda one: abs(one.estimate), default=None),
    )


def _is_missed(check: Check, found: Mapping[str, Finding], decision: GateDecision) -> bool:
    finding = found.get(check.name)
    status = next((each.status for each in decision.checks if each.name == check.name), None)
    if check.severity != "hard" or check.about != "model" or status == "waived":
        return False
    if finding is None:
        return not check.if_measured
    if not math.isfinite(finding.estimate):
        return status == "failed"
    lowest, highest = judging.limits(check)
    return not lowest <= finding.estimate <= highest


def _is_clear(check: Check, found: Mapping[str, Finding]) -> bool:
    finding = found.get(check.name)
    if finding is None or not math.isfinite(finding.estimate):
        return False
    low, high = judging.span(finding)
    lowest, highest = judging.limits(check)
    beyond = max(lowest - finding.estimate, finding.estimate - highest)
    return beyond > _CLEARLY * (high - low)


def chosen(standings: Sequence[Standing | None]) -> int | None:
    """Index of the challenger that is judged; None if a hard check failed for each of them.

    Parameters
    ----------
    standings : sequence of Standing or None
        None: its training broke.

    Notes
    -----
    Of those for which no hard check failed, the one with the fewest missed checks, and among equals the most accurate
    with lengths balanced: where labels like length, plain accuracy would prefer a model that likes it too. One alone is
    judged, on other prompts. So the chance that a biased one passes is that of one audit, however many were tried: what
    a lucky challenger gained by chance on these prompts it does not have on the others.
    """
    sound = [(index, each) for index, each in enumerate(standings) if each is not None and not each.failed]
    right = {index: (each.balanced or each.accuracy).estimate for index, each in sound}
    best = min(sound, key=lambda one: (len(one[1].missed), -right[one[0]]), default=None)
    return None if best is None else best[0]
