"""The command that asks which judgements taught a bias."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from flows.cli import screen

if TYPE_CHECKING:
    from rm.origins.records import Origins, Without

_MOST_SHOWN = 12


def origins(
    model: Annotated[Path, typer.Option("--model", "-m", help="The folder of a checkpoint that rmflow trained.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for what is found, and the list of judgements.")],
    feature: Annotated[str, typer.Option("--feature", help="A feature of the audit's battery.")] = "log characters",
    share: Annotated[
        float, typer.Option("--share", min=0, max=0.5, help="Judgements to name, at most, of all of them.")
    ] = 0.1,
) -> None:
    """Show which sources, annotators and judgements taught a model to pay for a feature.

    The ids are written to a file for `--set snapshot.exclude=FILE` or `rmflow annotations retract --ids FILE`, with
    those that the model was trained without.
    """
    from flows.cli import audits
    from flows.records import Trained
    from rm.data import snapshots
    from rm.model.config import ComputeConfig
    from rm.origins import export, search

    audits.check_folder(out)
    trained = Trained.read(model)
    found = search.search(
        trained.checkpoint, trained.dataset, trained.tokenized, ComputeConfig().tokens_per_batch, feature, share
    )
    excluded = snapshots.read_excluded(trained.dataset)
    export.write(found, out, excluded)
    if controlled := trained.checkpoint.controlled:
        told = f"The training controlled for {', '.join(controlled)}; here is what the labels teach without that."
        screen.console.print(escape(told), soft_wrap=True, highlight=False)
    _show(found, out / export.IDS_NAME, len(excluded))


def _show(found: Origins, file: Path, num_excluded: int) -> None:
    print_ = screen.console.print
    print_(
        escape(f"{found.feature}, on {found.num_pairs:,} held-out pairs: {_said(found.whole)}"),
        soft_wrap=True,
        highlight=False,
    )
    if found.origins:
        table = Table("without", "judgements", "paid, points", "labels still ask", "accuracy", "z")
        for each in found.origins[:_MOST_SHOWN]:
            values = (100 * each.without.paid, 100 * each.without.asked)
            numbers = [f"{each.num_judgements:,}", *(f"{value:.1f}" for value in values)]
            table.add_row(escape(f"{each.by} {each.name}"), *numbers, f"{each.without.accuracy:.3f}", f"{each.z:.1f}")
        print_(table)
    without = f"the {screen.counted(num_excluded, 'judgement')} that the model was trained without"
    if not found.rows:
        why = "No judgement is named: none adds to it, or --share leaves room for none."
        print_(escape(f"{why} {file} has {without}." if num_excluded else why), soft_wrap=True, highlight=False)
        return
    named = screen.counted(len(found.rows), "judgement")
    print_(escape(f"Without the {named} that add most: {_said(found.without_rows)}"), soft_wrap=True, highlight=False)
    also = f", with {without}" if num_excluded else ""
    told = f"They are in {file}{also}: --set snapshot.exclude={file} leaves them out."
    print_(escape(told), soft_wrap=True, highlight=False)


def _said(what: Without) -> str:
    paid, asked = 100 * what.paid, 100 * what.asked
    return f"{paid:.1f} points are paid for it, the labels ask {asked:+.1f} more, accuracy {what.accuracy:.3f}"
