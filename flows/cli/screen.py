"""The output of the commands about an audit."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from rm.report.summary import Summary

EXIT_CODES = {"passed": 0, "passed_with_warnings": 0, "failed": 2, "inconclusive": 3}
_COLOURS = {"passed": "green", "passed_with_warnings": "yellow", "failed": "red", "inconclusive": "yellow"}
console = Console()


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
    _show_report(folder)


def _show(markup: str) -> None:
    console.print(markup, soft_wrap=True, highlight=False)


def _show_report(folder: Path) -> None:
    """Print the command that opens the report in a folder."""
    from rm.report.manifests import ReportManifest

    page = (folder / ReportManifest.PAGE_NAME).resolve().as_uri()
    console.print(f"Audit report:    {sys.executable} -m webbrowser {page}", soft_wrap=True, highlight=False)
