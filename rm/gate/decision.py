"""The gate: a pure function of what was measured, the policy and the date, that fails closed."""

from __future__ import annotations

import math
from datetime import date
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from rm.audit.records import AuditReport
from rm.files import sha256_json, sha256_text
from rm.gate.checks import Check, Group, Severity, group_of
from rm.gate.judging import judge, relaxed
from rm.gate.policy import GatePolicy, Waiver
from rm.gate.remedies import Size, extra_pairs
from rm.stats.finding import Finding

Verdict = Literal["passed", "passed_with_warnings", "failed", "inconclusive"]


class CheckResult(BaseModel):
    """The result of one check."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    group: Group
    """What its finding is about; if the finding is missing, the group of the list in the policy."""
    severity: Severity
    status: Literal["passed", "warned", "failed", "inconclusive", "waived", "trained_on"]
    """``trained_on``: it holds, but the model was taught what it asks, so that this is no evidence."""
    reason: str
    """The measured value and the limits, in plain words."""
    rationale: str
    """Where the limits come from."""
    blocks: bool
    """Whether this keeps the model out."""
    waiver: Waiver | None = None
    """The waiver of the check, if its status is ``waived``."""
    why: str = ""
    """What a failure means, in plain words without numbers, if the policy says it."""
    more_pairs: int | None = None
    """About how many more held-out pairs would decide it, if it is undecided and a number is known."""
    undecided: bool = False
    """Whether it is ``inconclusive``, or would be without its waiver."""


class GateDecision(BaseModel):
    """Whether a checkpoint may be registered, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checks: tuple[CheckResult, ...]
    checkpoint_digest: str
    policy_digest: str
    report_digest: str
    """Digest of the judged `AuditReport` as JSON."""

    @property
    def verdict(self) -> Verdict:
        """The verdict, computed from the checks so that it cannot differ from them."""
        if not any(check.severity == "hard" and check.status != "trained_on" for check in self.checks):
            return "failed"
        blocking = {check.status for check in self.checks if check.blocks}
        if not blocking:
            return "passed_with_warnings" if self.warnings or self.waived else "passed"
        return "inconclusive" if blocking == {"inconclusive"} else "failed"

    @property
    def passed(self) -> bool:
        """Whether the model may be registered, with warnings or without; an inconclusive one may not."""
        return self.verdict in ("passed", "passed_with_warnings")

    @property
    def reasons(self) -> tuple[str, ...]:
        """Reason of every check that keeps the model out; empty if it passed."""
        return tuple(check.reason for check in self.checks if check.blocks)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Reason of every check that does not hold or is no evidence, but does not keep the model out or is waived."""
        kinds = ("warned", "failed", "inconclusive", "trained_on")
        return tuple(check.reason for check in self.checks if check.status in kinds and not check.blocks)

    @property
    def waived(self) -> tuple[CheckResult, ...]:
        """The checks that a person vouched for."""
        return tuple(check for check in self.checks if check.status == "waived")

    @property
    def waivers(self) -> tuple[Waiver, ...]:
        """The waivers of these checks."""
        return tuple(check.waiver for check in self.waived if check.waiver)


def decide(report: AuditReport, policy: GatePolicy, today: date) -> GateDecision:
    """Hold the audit's findings against the policy.

    Parameters
    ----------
    report : AuditReport
    policy : GatePolicy
    today : date
        In UTC; only which waivers hold depends on it.

    Returns
    -------
    GateDecision
        ``failed`` if a hard check failed; else ``inconclusive`` if one is inconclusive and the policy blocks on that;
        else ``passed_with_warnings`` if a check warns, a soft one does not hold, one is waived, or one holds that the
        model was trained on; else ``passed``.
        Bound to the digests of checkpoint, policy and report.

    Notes
    -----
    A model passes only if *every* hard check passes, each on its own 95 % interval. If the model truly breaks a limit,
    the check by interval passes by chance in at most about 2.5 % of audits, and so does the whole gate. More checks can
    only lower the chance of a false pass (intersection-union test), so intervals need no correction for their
    number. But the chance that *some* check fails a sound model grows with it; a gate may err on this side.

    References
    ----------
    Berger (1982), Technometrics 24, 295-300. doi:10.1080/00401706.1982.10487790
    """
    found = report.by_name()
    checks = [relaxed(check, found, policy.plain_length_limit) for check in applied(policy, report)]
    return GateDecision(
        checks=tuple(
            _result(check, found.get(check.name), report, policy, today)
            for check in checks
            if check.name in found or not check.if_measured
        ),
        checkpoint_digest=report.provenance.checkpoint_digest,
        policy_digest=sha256_json(policy.model_dump(mode="json")),
        report_digest=sha256_text(report.model_dump_json()),
    )


def applied(policy: GatePolicy, report: AuditReport) -> tuple[Check, ...]:
    """The checks that apply to a report: those on edits, a champion and labelled candidates only if it has them."""
    return (
        *policy.checks,
        *(policy.probe_checks if report.probes else ()),
        *(policy.champion_checks if report.provenance.champion_digest else ()),
        *(policy.best_of_n_checks if report.find("picks_over_random") else ()),
    )


def _result(check: Check, finding: Finding | None, report: AuditReport, policy: GatePolicy, today: date) -> CheckResult:
    """The result of one check, after its waivers."""
    status, reason = judge(check, finding, _size(report))
    champions = {each.name for each in policy.champion_checks}
    undecided_blocks = policy.inconclusive == "block" and check.name not in champions
    blocks = check.severity == "hard" and (status == "failed" or (status == "inconclusive" and undecided_blocks))
    group = policy.group_of(check) if finding is None else group_of(finding.kind)
    facts: dict[str, Any] = {
        "name": check.name,
        "group": group,
        "severity": check.severity,
        "why": check.why,
        "rationale": check.rationale,
        "more_pairs": _more_pairs(check, finding, report) if status == "inconclusive" else None,
        "undecided": status == "inconclusive",
    }
    if status in ("passed", "warned") and _was_taught(finding, report):
        return CheckResult(**facts, status="trained_on", reason=f"trained on, so no evidence: {reason}", blocks=False)
    if status in ("passed", "warned"):
        return CheckResult(**facts, status=status, reason=reason, blocks=blocks)
    for waiver in (waiver for waiver in policy.waivers if waiver.name == check.name):
        flaw = waiver.flaw(report.provenance.checkpoint_digest, today)
        if flaw is None:
            reason = f"waived by {waiver.by} until {waiver.expires}: {waiver.reason} ({status}: {reason})"
            return CheckResult(**facts, status="waived", reason=reason, blocks=False, waiver=waiver)
        reason += f"; {flaw}"
    return CheckResult(**facts, status=status, reason=reason, blocks=blocks)


def _was_taught(finding: Finding | None, report: AuditReport) -> bool:
    """Whether a finding is about edits like those that the model was trained on."""
    return finding is not None and finding.labels.get("probe") in report.provenance.trained_on


def _more_pairs(check: Check, finding: Finding | None, report: AuditReport) -> int | None:
    """None also where nothing was measured: pairs of the same kind would change nothing."""
    if finding is None or not (math.isfinite(finding.estimate) or finding.num_pairs < check.min_pairs):
        return None
    return extra_pairs(check, finding, _size(report))


def _size(report: AuditReport) -> Size | None:
    accuracy = report.find("accuracy")
    return None if accuracy is None else Size(accuracy.num_pairs, report.provenance.num_train_pairs)
