"""The command `check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from flows.cli import screen

_COLOURS = {"fine": "green", "warning": "yellow", "no_pass": "red", "error": "red"}


def check(
    config: Annotated[Path, typer.Option("--config", "-c", help="A recipe, such as configs/quickstart.yaml.")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the recipe; repeatable.")
    ] = None,
) -> None:
    """Say what a run of a recipe will take, and whether it can end with a registered model. Nothing is changed.

    Exit code 0: it can; 1: it would stop, or nothing could be registered whatever is measured.
    """
    from rm.pipeline import preflight
    from rm.pipeline.load import load
    from tasks import trial

    report = trial.look(load(config, overrides or []))
    if report.rows:
        table = Table("split", "prompts", "judgements", "pairs", "pairs that fit", "tokens")
        for row in report.rows:
            table.add_row(*preflight.cells(row))
        screen.console.print(table)
    for remark in report.remarks:
        level = f"[{_COLOURS[remark.level]}]{preflight.shown(remark.level)}[/]"
        screen.console.print(f"{level} {remark.about}: {escape(remark.text)}", soft_wrap=True, highlight=False)
    if not report.can_pass:
        raise typer.Exit(1)
