"""One check against one finding, in a status and in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from rm.gate.checks import LENGTH_FOLLOWING, Check
from rm.gate.remedies import Size, more_pairs
from rm.stats.finding import Finding

Status = Literal["passed", "warned", "failed", "inconclusive"]
_KNOWN_WHY = ("over_champion",)
"""Kinds that are undefined for a reason that their detail says, whatever a check decides by."""
_IN_POINTS = ("overpaid", "joint_overpaid", "visible")


def judge(check: Check, finding: Finding | None, size: Size | None = None) -> tuple[Status, str]:
    """Compare one finding with the limits of one check.

    Parameters
    ----------
    check : Check
    finding : Finding or None
        None: it was not measured.
    size : Size, optional
        Of the audit, for the number of pairs that would decide.

    Returns
    -------
    status : str
        By interval: ``passed`` if all of it lies within the limits, ``failed`` if all of it lies beyond one of them,
        else ``inconclusive``. By estimate: ``passed`` or ``failed``. By bound: ``failed`` if all of the interval lies
        beyond a limit, else ``warned`` if all of it lies beyond ``warns_beyond``, else ``passed``. A finding that is
        missing or not finite has ``failed``; one on too few pairs, one about the data, and one that is undefined for a
        known reason is ``inconclusive`` instead.
    reason : str
        In plain words, with the numbers.
    """
    if finding is None:
        return "failed", f"{check.name} was not measured"
    if finding.num_pairs < check.min_pairs:
        pairs = "1 pair" if finding.num_pairs == 1 else f"{finding.num_pairs:,} pairs"
        few = f"{check.name} rests on {pairs}, needs {check.min_pairs:,}"
        return "inconclusive", f"undecided: {few}; {more_pairs(check, finding, size)}"
    if flaw := _flaw(check, finding):
        is_known = check.decides == "bound" or finding.kind in _KNOWN_WHY
        undecided = is_known and math.isnan(finding.estimate) and finding.detail
        return ("inconclusive", f"undecided: {check.name} ({finding.detail})") if undecided else ("failed", flaw)
    status = _status(check, finding)
    return status, _reason(status, check, finding, size)


def relaxed(check: Check, found: Mapping[str, Finding], plain: bool) -> Check:
    """The check with the limits that it has beside the other findings.

    Parameters
    ----------
    check : Check
    found : mapping of name to Finding
    plain : bool
        Whether the check of length keeps its plain limit.
    """
    if check.unless is None or (plain and check.name == LENGTH_FOLLOWING):
        return check
    other = found.get(check.unless.name)
    if other is None or not _lies_above(other, check.unless.above, check.min_pairs):
        return check
    limit = check.unless.limit
    return check.model_copy(
        update={
            "min_value": None if check.min_value is None else -limit,
            "max_value": None if check.max_value is None else limit,
        }
    )


def _lies_above(other: Finding, limit: float, min_pairs: int) -> bool:
    """Whether all of a finding's interval does; not if a number is missing or it rests on too few pairs."""
    numbers = (other.estimate, other.ci_low, other.ci_high)
    return other.num_pairs >= min_pairs and all(map(math.isfinite, numbers)) and min(numbers) > limit


def limits(check: Check) -> tuple[float, float]:
    """Smallest and largest value allowed."""
    minimum = -math.inf if check.min_value is None else check.min_value
    return minimum, math.inf if check.max_value is None else check.max_value


def span(finding: Finding) -> tuple[float, float]:
    """The interval, widened to hold the estimate if a skewed bootstrap left it outside."""
    return min(finding.ci_low, finding.estimate), max(finding.ci_high, finding.estimate)


def _flaw(check: Check, finding: Finding) -> str | None:
    """Why the finding cannot be compared with the limits, or None if it can."""
    numbers = _numbers(check, finding)
    allowed = (limit for limit in (check.min_value, check.max_value) if limit is not None)
    if not all(map(math.isfinite, (finding.estimate, finding.ci_low, finding.ci_high, *allowed))):
        return f"what is not a finite number cannot pass ({numbers})"
    if finding.ci_low > finding.ci_high:
        return f"the interval is upside down ({numbers})"
    return None


def _status(check: Check, finding: Finding) -> Status:
    minimum, maximum = limits(check)
    low, high = (finding.estimate, finding.estimate) if check.decides == "estimate" else span(finding)
    if high < minimum or low > maximum:
        return "inconclusive" if check.about == "data" else "failed"
    if minimum <= low and high <= maximum:
        return _warned(check, low, high)
    return _warned(check, low, high) if check.decides == "bound" else "inconclusive"


def _warned(check: Check, low: float, high: float) -> Status:
    beyond = check.warns_beyond is not None and max(low, -high) > check.warns_beyond
    return "warned" if beyond else "passed"


def _reason(status: Status, check: Check, finding: Finding, size: Size | None) -> str:
    numbers = _numbers(check, finding)
    if status == "passed":
        return numbers
    about = f"{check.why} ({numbers})" if check.why else numbers
    if status != "inconclusive":
        return about
    return f"undecided: {about if check.about == 'data' else numbers}; {more_pairs(check, finding, size)}"


def _numbers(check: Check, finding: Finding) -> str:
    """What was measured and what is allowed."""
    unit, after = (100, " points") if finding.kind in _IN_POINTS else (1, "")
    low, high = (None if limit is None else unit * limit for limit in (check.min_value, check.max_value))
    allowed = f"lie in {low:g} to {high:g}" if low is not None and high is not None else ""
    allowed = allowed or (f"be at most {high:g}" if low is None else f"be at least {low:g}")
    warns = "" if check.warns_beyond is None else f" and warns beyond {unit * check.warns_beyond:g}"
    return f"{_measured(check, finding)}, its {check.decides} must {allowed}{after}{warns}"


def _measured(check: Check, finding: Finding) -> str:
    numbers = (finding.estimate, finding.ci_low, finding.ci_high)
    if finding.kind in _IN_POINTS:
        estimate, low, high = (f"{100 * value:z.1f}" for value in numbers)
        found = f"{check.name} is {estimate} points [{low}, {high}]"
    else:
        estimate, low, high = (f"{value:z.3f}" for value in numbers)
        found = f"{check.name} is {estimate} [{low}, {high}]"
    return f"{found}: {finding.detail}" if finding.detail else found
