"""The output of the commands about an audit."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from rm.audit.records import AuditReport
    from rm.gate.decision import GateDecision

EXIT_CODES = {"passed": 0, "passed_with_warnings": 0, "failed": 2, "inconclusive": 3}
_MAX_NAMED = 5
_ROWS = {
    "accuracy": "accuracy",
    "accuracy of style alone": "accuracy_style_only",
    "accuracy of a bag of words": "accuracy_words_only",
    "gain in accuracy without length": "gain_without_length",
    "length, overpaid": "overpaid_length",
}
console = Console()


def show_table(report: AuditReport, decision: GateDecision, version: str | None) -> None:
    """Print the main findings, the verdict and its warnings."""
    table = Table(show_header=False)
    for title, name in _ROWS.items():
        if finding := report.finding(name):
            table.add_row(title, f"{finding.estimate:.3f}  \\[{finding.ci_low:.3f}, {finding.ci_high:.3f}]")
    table.add_row("verdict", shown(decision.verdict))
    if version is not None:
        table.add_row("model version", escape(version))
    console.print(table)
    warned = [
        check for check in decision.checks if check.status in {"warned", "failed", "inconclusive"} and not check.blocks
    ]
    for check in (*decision.waived, *(check for check in warned if check.severity == "hard")):
        _show_line(check.reason)
    names = [check.name for check in warned if check.severity == "soft"]
    if names:
        more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
        _show_line(f"{len(names)} soft checks warn, see the report: {', '.join(names[:_MAX_NAMED])}{more}")


def shown(verdict: str) -> str:
    """A verdict in words."""
    return verdict.replace("_", " ")


def show_rows(title: str, rows: Iterable[tuple[str, str, str]], amounts: str) -> None:
    """Print what was measured, each with its estimate and interval, and on how much."""
    table = Table(escape(title), "estimate", "95 % interval")
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table)
    console.print(escape(amounts), soft_wrap=True, highlight=False)


def show_reasons(headline: str, reasons: Sequence[str]) -> None:
    """Print the reasons why a model did not pass."""
    console.print(f"\n[bold red]{headline}[/]")
    for reason in reasons:
        _show_line(reason)


def show_report(folder: Path) -> None:
    """Print the command that opens the report in a folder."""
    from rm.report.manifests import ReportManifest

    page = (folder / ReportManifest.PAGE_NAME).resolve().as_uri()
    console.print(f"Audit report:    {sys.executable} -m webbrowser {page}", soft_wrap=True, highlight=False)


def _show_line(text: str) -> None:
    console.print(f"  - {escape(text)}", soft_wrap=True, highlight=False)
