"""The gate: a pure function of what was measured and the policy, bound to the checkpoint, that fails closed."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict

from rm.config import Check, GatePolicy
from rm.files import sha256_json
from rm.findings import AuditReport, Finding


class CheckResult(BaseModel):
    """What became of one check."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    status: Literal["passed", "failed"]
    reason: str
    """The measured value against the limits, in plain words."""


class GateDecision(BaseModel):
    """Whether a checkpoint may be registered, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    passed: bool
    checks: tuple[CheckResult, ...]
    checkpoint_digest: str
    policy_digest: str

    @property
    def verdict(self) -> str:
        """``passed`` or ``rejected``."""
        return "passed" if self.passed else "rejected"

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it was rejected; empty if it passed."""
        return tuple(check.reason for check in self.checks if check.status == "failed")


def decide(report: AuditReport, policy: GatePolicy) -> GateDecision:
    """Hold the audit's findings against the policy; every check must pass.

    Parameters
    ----------
    report : AuditReport
    policy : GatePolicy

    Returns
    -------
    GateDecision
        Bound to the digest of the checkpoint that the report is about.
    """
    checks = tuple(_result(check, report.finding(check.name)) for check in policy.checks)
    return GateDecision(
        passed=bool(checks) and all(check.status == "passed" for check in checks),
        checks=checks,
        checkpoint_digest=report.provenance.checkpoint_digest,
        policy_digest=sha256_json(policy.model_dump(mode="json")),
    )


def _result(check: Check, finding: Finding | None) -> CheckResult:
    found = problem(check, finding)
    if found is not None:
        return CheckResult(name=check.name, status="failed", reason=found)
    assert finding is not None  # not measured is a problem
    return CheckResult(name=check.name, status="passed", reason=f"{check.name} is {_shown(finding)}, {_limits(check)}")


def problem(check: Check, finding: Finding | None) -> str | None:
    """Why the finding does not satisfy the check, or None if it does."""
    if finding is None:
        return f"{check.name} was not measured"
    if finding.num_pairs < check.min_pairs:
        return f"{check.name} rests on {finding.num_pairs} pairs, needs {check.min_pairs}"
    by_interval = check.decides == "interval"
    low, high = (finding.ci_low, finding.ci_high) if by_interval else (finding.estimate, finding.estimate)
    min_value = -math.inf if check.min_value is None else check.min_value
    max_value = math.inf if check.max_value is None else check.max_value
    measured = all(math.isfinite(value) for value in (finding.estimate, finding.ci_low, finding.ci_high))
    if measured and min_value <= low <= high <= max_value:  # written so that a NaN limit is a problem
        return None
    numbers = f"{check.name} is {_shown(finding)}, {_limits(check)}"
    return f"{check.why} ({numbers})" if check.why else numbers


def _shown(finding: Finding) -> str:
    return f"{finding.estimate:.3f} [{finding.ci_low:.3f}, {finding.ci_high:.3f}]"


def _limits(check: Check) -> str:
    subject = "its interval" if check.decides == "interval" else "its estimate"
    if check.min_value is None:
        return f"{subject} must be at most {check.max_value:g}"
    if check.max_value is None:
        return f"{subject} must be at least {check.min_value:g}"
    return f"{subject} must lie in {check.min_value:g} to {check.max_value:g}"
