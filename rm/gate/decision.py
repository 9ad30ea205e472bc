"""The gate: a pure function of what was measured, the policy and the date, that fails closed."""

from __future__ import annotations

import math
from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict

from rm.audit.records import AuditReport
from rm.files import sha256_json, sha256_text
from rm.gate.checks import Check, Group, Severity, group_of
from rm.gate.policy import GatePolicy, Waiver
from rm.stats.finding import Finding

Verdict = Literal["passed", "failed", "inconclusive"]


class CheckResult(BaseModel):
    """The result of one check."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    group: Group
    """What its finding is about; if the finding is missing, the group of the list in the policy."""
    severity: Severity
    status: Literal["passed", "failed", "inconclusive", "waived"]
    reason: str
    """The measured value and the limits, in plain words."""
    rationale: str
    """Where the limits come from."""
    blocks: bool
    """Whether this keeps the model out."""
    waiver: Waiver | None = None
    """The waiver of the check, if its status is ``waived``."""


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
        if not any(check.severity == "hard" for check in self.checks):
            return "failed"
        blocking = {check.status for check in self.checks if check.blocks}
        if not blocking:
            return "passed"
        return "inconclusive" if blocking == {"inconclusive"} else "failed"

    @property
    def passed(self) -> bool:
        """Whether the verdict is ``passed``; an inconclusive one is not."""
        return self.verdict == "passed"

    @property
    def reasons(self) -> tuple[str, ...]:
        """Reason of every check that keeps the model out; empty if it passed."""
        return tuple(check.reason for check in self.checks if check.blocks)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Reason of every check that does not hold but does not keep the model out, without the waived ones."""
        kinds = ("failed", "inconclusive")
        return tuple(check.reason for check in self.checks if check.status in kinds and not check.blocks)

    @property
    def waived(self) -> tuple[CheckResult, ...]:
        """The checks that a person vouched for."""
        return tuple(check for check in self.checks if check.status == "waived")


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
        else ``passed``. Soft checks only warn. Bound to the digests of checkpoint, policy and report.

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
    return GateDecision(
        checks=tuple(_result(check, found.get(check.name), report, policy, today) for check in applied(policy, report)),
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
    status, reason = judge(check, finding)
    undecided_blocks = policy.inconclusive == "block" and check not in policy.champion_checks
    blocks = check.severity == "hard" and (status == "failed" or (status == "inconclusive" and undecided_blocks))
    group = policy.group_of(check) if finding is None else group_of(finding.kind)
    facts = {"name": check.name, "group": group, "severity": check.severity, "rationale": check.rationale}
    if status == "passed":
        return CheckResult(**facts, status=status, reason=reason, blocks=blocks)
    for waiver in (waiver for waiver in policy.waivers if waiver.name == check.name):
        flaw = waiver.flaw(report.provenance.checkpoint_digest, today)
        if flaw is None:
            reason = f"waived by {waiver.by} until {waiver.expires}: {waiver.reason} ({status}: {reason})"
            return CheckResult(**facts, status="waived", reason=reason, blocks=False, waiver=waiver)
        reason += f"; {flaw}"
    return CheckResult(**facts, status=status, reason=reason, blocks=blocks)


def judge(check: Check, finding: Finding | None) -> tuple[Verdict, str]:
    """Compare one finding with the limits of one check.

    Returns
    -------
    status : str
        By interval: ``passed`` if all of it lies within the limits, ``failed`` if all of it lies beyond one of them,
        else ``inconclusive``. By estimate: ``passed`` or ``failed``. A finding that is missing, not finite, upside
        down or on too few pairs has ``failed``.
    reason : str
        In plain words, with the numbers.
    """
    if finding is None:
        return "failed", f"{check.name} was not measured"
    unusable = _unusable(check, finding)
    if unusable is not None:
        return "failed", unusable
    numbers, (minimum, maximum) = _numbers(check, finding), _limits(check)
    low, high = _span(finding) if check.decides == "interval" else (finding.estimate, finding.estimate)
    if minimum <= low and high <= maximum:
        return "passed", numbers
    if high < minimum or low > maximum:
        return "failed", f"{check.why} ({numbers})" if check.why else numbers
    return "inconclusive", f"undecided: {numbers}; {_remedy(check, finding)}"


def _unusable(check: Check, finding: Finding) -> str | None:
    """Why the finding cannot be compared with the limits, or None if it can."""
    if finding.num_pairs < check.min_pairs:
        return f"{check.name} rests on {finding.num_pairs} pairs, needs {check.min_pairs}"
    numbers = _numbers(check, finding)
    limits = (limit for limit in (check.min_value, check.max_value) if limit is not None)
    if not all(map(math.isfinite, (finding.estimate, finding.ci_low, finding.ci_high, *limits))):
        return f"what is not a finite number cannot pass ({numbers})"
    if finding.ci_low > finding.ci_high:
        return f"the interval is upside down ({numbers})"
    return None


def pairs_needed(check: Check, finding: Finding) -> int | None:
    """About how many pairs would decide an inconclusive check.

    Parameters
    ----------
    check : Check
    finding : Finding
        Finite, with an interval that lies neither within the limits nor beyond one.

    Returns
    -------
    int or None
        None if no number would, because the estimate lies on a limit.

    Notes
    -----
    If the estimate stays where it is, each side of the interval shrinks with 1 / sqrt(n). The check is decided once
    that side is no wider than the estimate's distance to the limit: n_needed = ceil(n (half-width / distance)^2). If
    the estimate is beyond a limit, one side counts; if it is within the limits, both do, and the larger n is needed.
    """
    minimum, maximum = _limits(check)
    estimate, (low, high) = finding.estimate, _span(finding)
    if estimate < minimum:
        sides = [(high - estimate, minimum - estimate)]
    elif estimate > maximum:
        sides = [(estimate - low, estimate - maximum)]
    else:
        sides = [(estimate - low, estimate - minimum), (high - estimate, maximum - estimate)]
    sides = [(half_width, distance) for half_width, distance in sides if half_width > 0]
    if not all(distance > 0 for _, distance in sides):
        return None
    ratio = max((half_width / distance for half_width, distance in sides), default=0.0)
    needed = finding.num_pairs * ratio * ratio
    return max(math.ceil(needed), finding.num_pairs + 1) if math.isfinite(needed) else None


def _remedy(check: Check, finding: Finding) -> str:
    needed = pairs_needed(check, finding)
    if needed is None:
        return "the estimate lies on the limit, so no number of pairs would decide it"
    return f"it rests on {finding.num_pairs:,} pairs, about {needed:,} would decide it"


def _span(finding: Finding) -> tuple[float, float]:
    """The interval, widened to hold the estimate if a skewed bootstrap left it outside."""
    return min(finding.ci_low, finding.estimate), max(finding.ci_high, finding.estimate)


def _limits(check: Check) -> tuple[float, float]:
    minimum = -math.inf if check.min_value is None else check.min_value
    return minimum, math.inf if check.max_value is None else check.max_value


def _numbers(check: Check, finding: Finding) -> str:
    """What was measured and what is allowed."""
    measured = f"{check.name} is {finding.estimate:.3f} [{finding.ci_low:.3f}, {finding.ci_high:.3f}]"
    subject = f"{measured}, its {check.decides}"
    if check.min_value is None:
        return f"{subject} must be at most {check.max_value:g}"
    if check.max_value is None:
        return f"{subject} must be at least {check.min_value:g}"
    return f"{subject} must lie in {check.min_value:g} to {check.max_value:g}"
