"""The commands about registered models."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from flows.cli import screen

if TYPE_CHECKING:
    from rm.gate.record import VersionRecord
    from rm.ledger.records import Ledger
    from tasks.promotion import Moved

models = typer.Typer(
    name="models",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="List, show and compare registered versions, and their biases over time; move the alias of the champion.",
    epilog="Example: `rmflow models list`",
)
Reference = Annotated[str, typer.Argument(metavar="VERSION", help="NAME/VERSION or NAME@ALIAS.")]
Why = Annotated[str, typer.Option("--why", help="The reason, kept with your name as tags of the version.")]
_DIGITS = 12
_MOST_CHANGED = 10


@models.command("list", epilog="Examples: `rmflow models list`, `rmflow models list reward-model`")
def list_versions(
    name: Annotated[str | None, typer.Argument(help="One registered model. Default: all.")] = None,
) -> None:
    """List the versions with alias, verdict, accuracy, date and data, newest first.

    What the records say; `rmflow verify` looks whether it is still true.
    """
    from tasks import tracking, versions

    probe()
    table = Table(
        Column("version", no_wrap=True),
        "alias",
        "verdict",
        "accuracy",
        Column("registered", no_wrap=True),
        Column("judgements", overflow="fold"),
    )
    rows = list(versions.rows(tracking.client(), name))
    if not rows:
        screen.console.print("no version is registered yet; rmflow run registers a model that passes")
        return
    for row in rows:
        facts = ("no record", "", f"{row.created:%Y-%m-%d}", "") if row.record is None else _facts(row.record)
        table.add_row(*map(escape, (f"{row.name}/{row.version}", "\n".join(row.aliases), *facts)))
    screen.console.print(table)


def probe() -> None:
    """A server of MLflow that does not answer ends the command at once; MLflow's client would ask for minutes."""
    from tasks import prefect_server

    prefect_server.probe_configured(("MLflow",))


def _facts(record: VersionRecord) -> tuple[str, ...]:
    judgements = f"{record.num_judgements:,} of {record.table}"
    return screen.shown(record.verdict), _accuracy(record), f"{record.time:%Y-%m-%d}", judgements


def _accuracy(record: VersionRecord) -> str:
    return "" if record.accuracy is None else f"{record.accuracy:.3f}"


@models.command(epilog="Examples: `rmflow models show reward-model/3`, `rmflow models show reward-model@champion`")
def show(version: Reference) -> None:
    """Show a version's record, why it passed, who promoted it, and where its report is."""
    from rm.report.audit_json import read_summary
    from rm.report.manifests import ReportManifest
    from rm.variants.manifests import VariantsManifest
    from tasks import tracking, versions

    probe()
    found = versions.find(tracking.client(), version)
    record = versions.read_record(found).record
    table = Table(escape(versions.label(found)), Column(overflow="fold"))
    table.add_row("alias", escape(", ".join(found.aliases) or "none"))
    for name, value in _lines(record, found.tags):
        table.add_row(name, escape(value))
    table.add_row("MLflow", escape(f"run {record.run_id}, {found.source}"))
    folder = versions.report_folder(record)
    for name, value in _variants(folder / VariantsManifest.VARIANTS_NAME):
        table.add_row(f"variant {name}", escape(value))
    screen.console.print(table)
    screen.show_summary(read_summary(folder / ReportManifest.JSON_NAME), folder)


def _lines(record: VersionRecord, tags: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    yield "verdict", screen.shown(record.verdict)
    yield "waivers", "; ".join(f"{one.name} until {one.expires}, by {one.by}" for one in record.waivers) or "none"
    yield "accuracy", _accuracy(record)
    yield "registered", f"{record.time:%Y-%m-%d %H:%M} UTC by {record.who}"
    yield "signed by", record.signed_by
    yield "data", f"{record.table}, {record.num_judgements:,} judgements, digest {record.dataset_digest[:_DIGITS]}"
    yield "checkpoint", record.checkpoint_digest[:_DIGITS]
    yield "compared with", (record.champion_digest or "none")[:_DIGITS]
    yield "policy, config", f"{record.policy_digest[:_DIGITS]}, {record.config_digest[:_DIGITS]}"
    yield "code", record.code_revision
    for name, value in sorted(tags.items()):
        if name.startswith("rmflow.promoted_"):
            yield name.removeprefix("rmflow.").replace("_", " "), value


def _variants(file: Path) -> Iterator[tuple[str, str]]:
    """What each variant of the reward changes; none of a version from before there were variants."""
    from rm.variants.records import Variants

    if file.exists():
        yield from Variants.read(file).told()


@models.command(epilog="Example: `rmflow models compare reward-model/3 reward-model@champion`")
def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="NAME/VERSION or NAME@ALIAS.")],
    second: Annotated[str, typer.Argument(metavar="B", help="NAME/VERSION or NAME@ALIAS.")],
) -> None:
    """Show the main findings of two versions' audits side by side."""
    from flows.cli.audits import show_side_by_side
    from rm.standalone import side_by_side
    from tasks import tracking, versions

    probe()
    client = tracking.client()
    found = [versions.find(client, reference) for reference in (first, second)]
    records = [versions.read_record(version).record for version in found]
    audited = [
        (versions.label(version), versions.read_report(record), record.verdict)
        for version, record in zip(found, records, strict=True)
    ]
    show_side_by_side(side_by_side.compare(audited))
    same = len({record.dataset_digest for record in records}) == 1
    on = "the same held-out pairs" if same else "their own held-out pairs, which differ: so may the numbers"
    screen.console.print(f"Audited on {on}.", soft_wrap=True, highlight=False)


@models.command(epilog="Example: `rmflow models ledger --name reward-model --last 12 --out ledger.html`")
def ledger(
    name: Annotated[
        str | None, typer.Option("--name", help="The registered model. Default: that of the newest run.")
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE.html", help="The page; its JSON is written beside it.")
    ] = Path("ledger.html"),
    last: Annotated[int, typer.Option("--last", metavar="N", min=1, help="At most so many runs, the newest.")] = 20,
) -> None:
    """Show how every bias changed from version to version, rejected ones too, and where one fell while another rose."""
    from rm.errors import ConfigError, RegistrationError
    from tasks import ledgers, tracking, versions

    if out.suffix == ".json":
        raise ConfigError(f"--out: expected the name of a page, such as ledger.html, got {out}")
    probe()
    names = versions.judged_names(tracking.client())
    if name is None and not names:
        raise RegistrationError("MLflow has no run that was judged, so there is no ledger yet")
    found, left_out = ledgers.read(name or names[0], last)
    for sentence in left_out:
        screen.console.print(f"[yellow]Warning:[/] {escape(sentence)}", soft_wrap=True, highlight=False)
    if not found.runs:
        raise RegistrationError(
            f"{found.name}: MLflow has no run of this registered model with a report that can be read; the newest runs "
            f"are of {', '.join(names) or 'none'}"
        )
    _write_ledger(found, out)
    _show_ledger(found)
    command = f"Ledger:    {sys.executable} -m webbrowser {out.resolve().as_uri()}"
    screen.console.print(escape(command), soft_wrap=True, highlight=False)


def _write_ledger(found: Ledger, out: Path) -> None:
    from rm.errors import writing
    from rm.files import replace_text
    from rm.ledger.page import page

    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        replace_text(out, page(found))
        replace_text(out.with_suffix(".json"), found.model_dump_json() + "\n")


def _show_ledger(found: Ledger) -> None:
    from rm.ledger.words import HEADLINE, value

    runs = f"{screen.counted(len(found.runs), 'run')} of {found.name}, the last one {found.runs[-1].label}"
    screen.console.print(escape(f"{runs}, {screen.shown(found.runs[-1].verdict)}."), soft_wrap=True, highlight=False)
    for alert in found.alerts:
        screen.console.print(f"[bold red]{HEADLINE}:[/] {escape(alert.text)}", soft_wrap=True, highlight=False)
    if not found.alerts:
        screen.console.print("No bias fell while another rose.", highlight=False)
    table = Table(
        Column("most changed in the last run", overflow="fold"), "before", "after", "against", "beyond chance"
    )
    for change in found.most_changed[:_MOST_CHANGED]:
        sizes = (value(change.unit, change.before), value(change.unit, change.after))
        trend = ("fell" if change.z < 0 else "rose") if change.found else "no"
        against = {"previous": "the run before", "registered": "the last registered"}[change.against]
        unit = "" if change.unit == "correlation" else f", {change.unit}"
        table.add_row(*map(escape, (f"{change.title}{unit}", *sizes, against, trend)))
    if found.most_changed:
        screen.console.print(table)


@models.command(epilog="Example: `rmflow models promote reward-model 3 --why 'better on code, see issue 12'`")
def promote(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The registered model.")],
    version: Annotated[str, typer.Argument(metavar="VERSION", help="Number of the version.")],
    why: Why,
) -> None:
    """Make a version the champion; the former champion becomes `previous`.

    Refused if the version did not pass, or is not what was registered.
    """
    from tasks import promotion

    probe()
    _show_moved(promotion.promote(name, version, why))


@models.command(epilog="Example: `rmflow models rollback reward-model --why 'answers became longer'`")
def rollback(name: Annotated[str, typer.Argument(metavar="NAME", help="The registered model.")], why: Why) -> None:
    """Make the version `previous` the champion again, with the same checks as `promote`."""
    from tasks import promotion

    probe()
    _show_moved(promotion.rollback(name, why))


def _show_moved(moved: Moved) -> None:
    former = "none before" if moved.former is None else f"before: version {moved.former}, now previous"
    text = f"{moved.name} version {moved.version} is the champion ({former})."
    screen.console.print(escape(text), soft_wrap=True, highlight=False)


def verify(
    version: Annotated[str, typer.Argument(metavar="VERSION", help="models:/NAME/VERSION or models:/NAME@ALIAS.")],
    key: Annotated[
        str | None, typer.Option("--key", help="The public key, a PEM file. Without it no signature is checked.")
    ] = None,
) -> None:
    """Check a registered version from outside: signature, every file, the report, and that no file was added.

    Exit code 0: as it was registered; 1: not so, or an error.
    """
    from rm.gate import keys
    from tasks import environment, tracking, versions

    public = None if key is None else keys.public_key(environment.pem(key, "--key"), "--key")
    probe()
    found = versions.find(tracking.client(), version)
    record = versions.check(found, public)
    if public is not None:
        signature = f"signed by the key {record.signed_by[:_DIGITS]}"
    else:
        signature = "signature not checked (no --key)" if record.is_signed else record.signed_by
    text = (
        f"{versions.label(found)} is what {record.who} registered on {record.time:%Y-%m-%d}, verdict "
        f"{screen.shown(record.verdict)}: {len(record.files)} files, {len(record.report_files)} of the report, none "
        f"added; {signature}."
    )
    screen.console.print(escape(text), soft_wrap=True, highlight=False)
