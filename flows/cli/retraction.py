"""The commands about annotations that are stored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from flows.cli import screen
from rm.errors import DataError

if TYPE_CHECKING:
    from rm.data.retracting import Action

app = typer.Typer(no_args_is_help=True, help="Take annotations out of use, put them back, and list their sources.")
TableName = Annotated[str, typer.Option("--table", help="The table's name: ingest.table of the recipe.")]
Source = Annotated[str | None, typer.Option("--source", help="All of one source; `rmflow annotations list` names it.")]
Id = Annotated[str | None, typer.Option("--id", help="One judgement: its judgement_id, or the beginning of it.")]
Ids = Annotated[Path | None, typer.Option("--ids", help="A file with a judgement_id a line.")]
Where = Annotated[
    str | None, typer.Option("--where", help="A condition in SQL on the table's columns: \"annotator = 'x'\".")
]
Why = Annotated[str, typer.Option("--why", help="The reason, which is kept with the change.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say how many there are.")]


@app.command(
    epilog='Examples: `rmflow annotations retract --source votes.jsonl --why "wrong labels"`, `rmflow annotations '
    'retract --table hh --where "annotator = \'x\' AND line > 100" --why "a bot" --dry-run`'
)
def retract(
    why: Why,
    table: TableName = "annotations",
    source: Source = None,
    id_: Id = None,
    ids: Ids = None,
    where: Where = None,
    dry_run: DryRun = False,
) -> None:
    """Take annotations out of use: the next snapshot leaves them out, also if their file is read again."""
    _change("retract", table, (source, id_, ids, where), why, dry_run=dry_run)


@app.command(epilog='Example: `rmflow annotations restore --source votes.jsonl --why "they were right"`')
def restore(
    why: Why,
    table: TableName = "annotations",
    source: Source = None,
    id_: Id = None,
    ids: Ids = None,
    where: Where = None,
    dry_run: DryRun = False,
) -> None:
    """Put retracted annotations back into use."""
    _change("restore", table, (source, id_, ids, where), why, dry_run=dry_run)


@app.command(name="list", epilog="Example: `rmflow annotations list --table hh`")
def list_(table: TableName = "annotations") -> None:
    """Show the sources of a table, with their annotations: stored = used + retracted."""
    from rm.data import retracting
    from tasks import environment

    found = retracting.listed(environment.annotations_at(table))
    shown = Table("source", "stored", "used", "retracted")
    for each in found:
        numbers = (each.num_stored, each.num_stored - each.num_retracted, each.num_retracted)
        shown.add_row(escape(each.source), *map(str, numbers))
    screen.console.print(shown)


def _change(
    action: Action,
    table: str,
    chosen: tuple[str | None, str | None, Path | None, str | None],
    why: str,
    *,
    dry_run: bool,
) -> None:
    from rm.data import annotation_table, id_lists, retracting
    from tasks import environment

    if sum(each is not None for each in chosen) != 1:
        raise DataError(f"rmflow annotations {action}: expected one of --source, --id, --ids and --where")
    source, id_, ids, where = chosen
    choice = retracting.Choice(source, id_, None if ids is None else id_lists.read(ids), where)
    folder = environment.annotations_at(table)
    changed = retracting.change(folder, choice, action, why, dry_run=dry_run)
    number, already = changed.num_changed, changed.num_found - changed.num_changed
    verb = "would be" if dry_run else "was" if number == 1 else "were"
    done = f"{screen.counted(number, 'judgement')} {verb} {'retracted' if action == 'retract' else 'restored'}"
    _print(f"{done}; it was so before for {already:,}" if already else done)
    if choice.ids is not None and changed.num_found < len(choice.ids):
        _print(f"{len(choice.ids) - changed.num_found:,} of the {len(choice.ids):,} ids are not in this table")
    for place in changed.first:
        _print(f"  {place}")
    now = annotation_table.current(folder)
    _print(
        f"{now.num_stored:,} judgements in {now.path} = {now.num_judgements:,} used + {now.num_retracted:,} retracted"
    )


def _print(text: str) -> None:
    screen.console.print(escape(text), soft_wrap=True, highlight=False)
