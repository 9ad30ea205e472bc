"""What a model is wrongly paid for, by the names that a training can control for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rm.audit.records import AuditReport
from rm.remedies import controllable
from rm.remedies.candidates import BIASES
from rm.remedies.controllable import LENGTH, WORD

_MOST = 3
"""Names: with more, a training explains votes by what only goes along."""
_WORDS = "words"


def paid_for(report: AuditReport, checks: Sequence[str]) -> tuple[str, ...]:
    """Names for `RemediesConfig.controlled` of what some checks say, those of the first checks first.

    Parameters
    ----------
    report : AuditReport
    checks : sequence of str
        Names of the checks that the model failed or missed.

    Returns
    -------
    tuple of str
        ``length`` for a check of length, for a check of a family its tested feature that is overpaid the most, and for
        one of words the single words that were found; at most three.
    """
    found = (name for check in checks for name in _names(report, check))
    able = (name for name in found if controllable.problem(name) is None)
    return tuple(dict.fromkeys(able))[:_MOST]


def _names(report: AuditReport, check: str) -> Iterator[str]:
    if BIASES.get(check) == "length":
        yield LENGTH
        return
    if BIASES.get(check) == _WORDS and report.words is not None and not check.startswith("overpaid_"):
        yield from (f"{WORD}{each.phrase}" for each in report.words.found)
    finding = report.finding(check)
    if finding is None or not finding.is_a("overpaid") or report.overpaid is None:
        return
    family = finding.labels["family"]
    rows = [row for row in report.overpaid.rows if row.family == family and row.verdict != "untestable"]
    worst = max(rows, key=lambda row: (row.verdict == "named", row.bound), default=None)
    if worst is not None:
        yield worst.feature
