"""The main findings of several audits side by side, such as of one model on several sets of pairs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple

from rm.audit.records import AuditReport
from rm.gate.decision import Verdict
from rm.report.markdown import escaped, table
from rm.report.text import number
from rm.stats.finding import Finding, Key, Record

Signs = Literal["agree", "differ", "differ beyond chance"]
_WORST_FIRST = ("failed", "inconclusive", "passed_with_warnings", "passed")


class _Chosen(NamedTuple):
    """Findings that are compared."""

    kind: str
    is_signed: bool
    """Whether its sign says in which direction a model errs."""
    labels: Mapping[str, str] = MappingProxyType({})
    """Findings with at least these labels."""
    is_main: bool = False
    """Whether it is in the short table."""


_CHOSEN = (
    _Chosen("accuracy", is_signed=False, is_main=True),
    _Chosen("accuracy_longer_chosen", is_signed=False),
    _Chosen("accuracy_shorter_chosen", is_signed=False),
    _Chosen("length_correlation", True, {"over": "label_controlled", "statistic": "pearson"}, is_main=True),
    _Chosen("length_following", is_signed=True),
    _Chosen("length_preference_excess", is_signed=True),
    _Chosen("surface_share", is_signed=False, is_main=True),
    _Chosen("overpaid", True, {"family": "length"}, is_main=True),
    _Chosen("overpaid", is_signed=True),
    _Chosen("joint_overpaid", is_signed=True),
    _Chosen("gain_without", True, {"part": "length"}, is_main=True),
    _Chosen("gain_without", True, {"part": "surface"}, is_main=True),
    _Chosen("gain_without", is_signed=True),
)


class Cell(Record):
    """A finding of one set; None where it is undefined."""

    estimate: float | None
    ci_low: float | None
    ci_high: float | None
    num_pairs: int


class Line(Record):
    """One finding of every set."""

    name: str
    kind: str
    labels: dict[str, str]
    unit: str
    cells: tuple[Cell | None, ...]
    """One per set; None where it was not measured."""
    signs: Signs | None
    """Whether the estimates of the sets have one sign; beyond chance if an interval lies above 0 and another below it.
    None if its sign does not matter."""
    is_main: bool
    """Whether it is in the short table."""


class SideBySide(Record):
    """The same findings of several sets."""

    names: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    lines: tuple[Line, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst one: failed before inconclusive before passed with warnings before passed."""
        return min(self.verdicts, key=_WORST_FIRST.index)


def compare(audited: Sequence[tuple[str, AuditReport, Verdict]]) -> SideBySide:
    """Put the main findings of several audits side by side.

    Parameters
    ----------
    audited : sequence of (name, AuditReport, verdict)
        At least one.
    """
    reports = [report for _, report, _ in audited]
    lines: dict[Key, Line] = {}
    for chosen in _CHOSEN:
        for report in reports:
            for finding in report.select(chosen.kind, **chosen.labels):
                what = Key(finding.kind, tuple(sorted(finding.labels.items())))
                if what not in lines:
                    lines[what] = _line(finding, reports, chosen)
    return SideBySide(
        names=tuple(name for name, _, _ in audited),
        verdicts=tuple(verdict for _, _, verdict in audited),
        lines=tuple(lines.values()),
    )


def _line(finding: Finding, reports: Sequence[AuditReport], chosen: _Chosen) -> Line:
    found = [report.find(finding.kind, **finding.labels) for report in reports]
    return Line(
        name=finding.name,
        kind=finding.kind,
        labels=finding.labels,
        unit=finding.unit,
        cells=tuple(None if one is None else _cell(one) for one in found),
        signs=_signs([one for one in found if one is not None]) if chosen.is_signed else None,
        is_main=chosen.is_main,
    )


def _cell(finding: Finding) -> Cell:
    estimate, low, high = (
        value if math.isfinite(value) else None for value in (finding.estimate, finding.ci_low, finding.ci_high)
    )
    return Cell(estimate=estimate, ci_low=low, ci_high=high, num_pairs=finding.num_pairs)


def _signs(found: Sequence[Finding]) -> Signs:
    if any(one.ci_low > 0 for one in found) and any(one.ci_high < 0 for one in found):
        return "differ beyond chance"
    differ = any(one.estimate > 0 for one in found) and any(one.estimate < 0 for one in found)
    return "differ" if differ else "agree"


def markdown(compared: SideBySide) -> str:
    """A table with a row per finding and a column per set, in GitHub-flavoured Markdown.

    Parameters
    ----------
    compared : SideBySide
    """
    rows = [("verdict", *compared.verdicts, ""), *(_row(line) for line in compared.lines)]
    parts = [
        f"## Reward model audits side by side: {compared.verdict}",
        table(("finding", *map(escaped, compared.names), "signs"), rows),
        "Estimates with their intervals. Signs differ where estimates lie on both sides of 0, and differ beyond chance "
        "where intervals do.",
    ]
    return "\n\n".join(parts) + "\n"


def _row(line: Line) -> tuple[str, ...]:
    cells = ("" if cell is None else f"{shown(cell)} ({_bounds(cell)})" for cell in line.cells)
    return (line.name, *cells, mark(line))


def _bounds(cell: Cell) -> str:
    low, high = (number(math.nan if bound is None else bound) for bound in (cell.ci_low, cell.ci_high))
    return f"{low} to {high}"


def shown(cell: Cell | None) -> str:
    """The estimate; empty where it was not measured."""
    if cell is None:
        return ""
    return number(math.nan if cell.estimate is None else cell.estimate)


def mark(line: Line) -> str:
    """What is said of the signs; empty where they agree or do not matter."""
    return "" if line.signs in (None, "agree") else str(line.signs)
