"""The probes by family, and what became of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from rm.audit.records import AuditReport
from rm.probes.results import ProbeResult
from rm.stats.finding import Finding

Outcome = Literal["as expected", "in doubt", "not as expected", "only reported", "undefined"]


def families(results: Sequence[ProbeResult]) -> dict[str, list[ProbeResult]]:
    """The probes of each family, in their order."""
    grouped: dict[str, list[ProbeResult]] = {}
    for result in results:
        grouped.setdefault(result.family, []).append(result)
    return grouped


def outcome(result: ProbeResult) -> Outcome:
    """What a probe found, in words; in doubt is a win rate on the right side of 1/2 or within its limits, not both."""
    rate = result.win_rate.estimate
    if result.expected == "report":
        return "only reported"
    if result.as_expected is None or math.isnan(rate):
        return "undefined"
    within = (result.low or 0.0) <= rate <= (1.0 if result.high is None else result.high)
    if result.as_expected != within:
        return "in doubt"
    return "as expected" if within else "not as expected"


def unexpected(results: Sequence[ProbeResult]) -> tuple[ProbeResult, ...]:
    """Those that a person should look at."""
    return tuple(result for result in results if outcome(result) in ("not as expected", "in doubt"))


def ordered(results: Sequence[ProbeResult]) -> tuple[ProbeResult, ...]:
    """Those with several doses in an order."""
    return tuple(result for result in results if result.dose_response is not None and len(result.doses) > 1)


def allowed(result: ProbeResult) -> str:
    """Limits on the win rate, in words."""
    if result.low is None and result.high is None:
        return "anything"
    if result.low is None:
        return f"at most {result.high:g}"
    return f"at least {result.low:g}" if result.high is None else f"{result.low:g} to {result.high:g}"


def invariance_rows(report: AuditReport) -> tuple[tuple[str, Finding | None, Finding | None], ...]:
    """Way of scoring, largest difference of a reward, and pairs that change order."""
    prefix = "invariance_"
    ways = dict.fromkeys(
        finding.name.removeprefix(prefix).rsplit("_", 1)[0]
        for finding in report.findings
        if finding.name.startswith(prefix)
    )
    return tuple(
        (way.replace("_", " "), report.finding(f"{prefix}{way}_difference"), report.finding(f"{prefix}{way}_flips"))
        for way in ways
    )
