"""The output of the commands."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from rm.errors import printable

if TYPE_CHECKING:
    from rm.report.summary import Summary

EXIT_CODES = {"passed": 0, "passed_with_warnings": 0, "failed": 2, "inconclusive": 3}
_COLOURS = {"passed": "green", "passed_with_warnings": "yellow", "failed": "red", "inconclusive": "yellow"}


class Screen(Console):
    """A terminal that texts of files cannot steer."""

    def render_str(self, text: str, **options: Any) -> Text:
        """All texts come through here, also those in tables; ``:x:`` stays as it is and becomes no emoji."""
        return super().render_str(printable(text), **{**options, "emoji": False})


console = Screen()


def show_summary(summary: Summary, folder: Path, registered: str = "") -> None:
    """Print an audit in at most nine lines: the verdict, why, what to do, what could not be seen, and the report.

    Parameters
    ----------
    summary : Summary
    folder : Path
        Of the report.
    registered : str
        What became of the model; shown after the verdict.
    """
    from rm.report.summary import lines

    first, *others = lines(summary)
    verdict, text = first[: len(summary.title)], first[len(summary.title) :]
    became = f" {registered}" if registered else ""
    _show(f"[bold {_COLOURS[summary.verdict]}]{verdict}[/]{escape(f'{text}{became}')}")
    for line in others:
        _show(escape(line))
    show_report(folder)


def show_lines(lines: Iterable[str]) -> None:
    """Print lines of plain text, and a blank one."""
    for line in (*lines, ""):
        _show(escape(line))


def _show(markup: str) -> None:
    console.print(markup, soft_wrap=True, highlight=False)


def shown(verdict: str) -> str:
    """A verdict in words."""
    return verdict.replace("_", " ")


def counted(number: int, noun: str) -> str:
    """A number of things, such as "1 row" or "2,000 rows"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def show_rows(title: str, rows: Iterable[tuple[str, str, str]], amounts: str) -> None:
    """Print what was measured, each with its estimate and interval, and on how much."""
    table = Table(escape(title), "estimate", "95 % interval")
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table)
    console.print(escape(amounts), soft_wrap=True, highlight=False)


def show_reasons(headline: str, reasons: Sequence[str]) -> None:
    """Print the reasons of a verdict."""
    console.print(f"\n[bold]{headline}[/]")
    for reason in reasons:
        console.print(f"  - {escape(reason)}", soft_wrap=True, highlight=False)


def show_report(folder: Path) -> None:
    """Print the command that opens the report in a folder."""
    from rm.report.manifests import ReportManifest

    page = (folder / ReportManifest.PAGE_NAME).resolve().as_uri()
    console.print(f"Audit report:    {sys.executable} -m webbrowser {page}", soft_wrap=True, highlight=False)
