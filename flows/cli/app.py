"""The command line, ``rmflow``.

Heavy libraries are imported inside the commands, so that ``--help`` and errors about options are shown at once.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

import rm
from flows.cli import interrupts, models, origins, preflight, retraction, screen, system
from flows.cli.screen import console
from rm.errors import GateRejected, LabelsRejected, RmflowError

if TYPE_CHECKING:
    from flows.records import Outcome
    from rm.pipeline.config import PipelineConfig
    from rm.section import Section

EXIT_ERROR = 1
LABELS_NAME = "labels.json"

app = typer.Typer(
    name="rmflow",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(retraction.app, name="annotations")
Config = Annotated[Path, typer.Option("--config", "-c", help="A recipe, such as configs/quickstart.yaml.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the recipe, such as train.seed=1; repeatable."),
]


def _show_version(asked: bool) -> None:
    if asked:
        print(rm.__version__)
        raise typer.Exit


@app.callback()
def rmflow(
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Retrain reward models, audit their biases, and register only what passes."""


@app.command(
    epilog="Examples: `rmflow run --config configs/quickstart.yaml`, `rmflow run --config recipe.yaml --remedy`"
)
def run(
    config: Config,
    overrides: Overrides = None,
    remedy: Annotated[
        bool,
        typer.Option("--remedy", help="If the gate fails the model, train others with remedies and judge the best."),
    ] = False,
) -> None:
    """Ingest, train, audit, and register the model if it passes.

    Exit code 0: registered; 2: the gate's verdict is failed, or the labels stopped it; 3: the verdict is inconclusive;
    1: an error.
    """
    loaded = _load(config, overrides)
    with _rejection_shown():
        _show_outcome(_run("retrain.retrain", loaded, remedy=remedy))


@app.command(
    epilog="Examples: `rmflow ingest votes.jsonl more.csv`, `rmflow ingest --explain votes.jsonl`, `rmflow ingest "
    "--config configs/hh_harmless.yaml`"
)
def ingest(
    files: Annotated[
        list[str] | None, typer.Argument(help="Files, globs, or hf:OWNER/NAME; in place of the recipe's sources.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="A recipe: its table, and its model's chat template.")
    ] = None,
    overrides: Overrides = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show what would be read, and store nothing.")] = False,
) -> None:
    """Read new annotations into the table; print how many rows were stored, duplicates or quarantined.

    Without a recipe they go into the table `annotations`, or `--set ingest.table=NAME`.
    """
    from flows.cli import ingestion

    if explain:
        ingestion.explain(files or [], config, overrides or [])
    else:
        ingestion.show(ingestion.read(files or [], config, overrides or [], _run))


@app.command(epilog="Examples: `rmflow clean --dry-run`, `rmflow clean --config configs/hh_harmless.yaml`")
def clean(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="A recipe: its retention.days and its table.")
    ] = None,
    table: Annotated[
        str | None, typer.Option("--table", help="The table, in place of the recipe's ingest.table.")
    ] = None,
    days: Annotated[
        float | None,
        typer.Option("--keep-days", min=0, help="In place of the recipe's retention.days, which is 30 by default."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
) -> None:
    """Remove what was not used for some days: stages of no registered version, and what interrupted runs left.

    A table's small files are put together, and those that only old versions have are removed. No annotation, nothing
    that a registered version needs, and nothing that a run uses is removed.
    """
    from flows.cli import ingestion, leftovers
    from rm.data.config import IngestConfig
    from rm.pipeline.config import RetentionConfig

    recipe = _load(config, None) if config else None
    if days is None:
        days = (recipe.retention if recipe else RetentionConfig()).days
    place = ingestion.table_at(table or (recipe.ingest if recipe else IngestConfig()).table, must_be=table is not None)
    leftovers.clean(days, dry_run=dry_run)
    if place is not None:
        ingestion.clean(place, days, dry_run=dry_run)


@app.command(epilog="Example: `rmflow train --config configs/quickstart.yaml --set train.num_epochs=2`")
def train(config: Config, overrides: Overrides = None) -> None:
    """Train a reward model without judging it; print its folder.

    Exit code 2: the labels are beyond a limit that stops a run; 1: an error.
    """
    loaded = _load(config, overrides)
    with _rejection_shown():
        trained = _run("train.train", loaded)
    console.print(f"checkpoint {trained.checkpoint.digest[:12]} in {trained.checkpoint.path}", soft_wrap=True)


@app.command(
    epilog="Examples: `rmflow audit --scores scores.jsonl --out report`, `rmflow audit --scores rewards.jsonl --pairs "
    "pairs.jsonl --out report`, `rmflow audit --model OWNER/NAME --data pairs.jsonl --out report`, `rmflow audit "
    "--twins twins.jsonl`, `rmflow audit --best-of-n candidates.jsonl`, `rmflow audit --self-test "
    "--scores scores.jsonl`, `rmflow audit --labels --config recipe.yaml`"
)
def audit(
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", help="With --model: audit a trained checkpoint on its own held-out pairs. With --labels."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="A folder, a name on the Hugging Face hub, or an MLflow URI (models:/...)."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", "-d", help="Labelled pairs, or a benchmark's file, to score and audit.")
    ] = None,
    scores: Annotated[
        list[Path] | None,
        typer.Option(
            "--scores", "-s", help="Rewards of any model: audited without loading it. Several are shown side by side."
        ),
    ] = None,
    pairs: Annotated[
        list[Path] | None,
        typer.Option("--pairs", help="With --scores: the pairs, if they lie in another file. One for each --scores."),
    ] = None,
    twins: Annotated[
        Path | None,
        typer.Option("--twins", help="Rewards of texts and of their twins, such as in a dialect: what changes?"),
    ] = None,
    best_of_n: Annotated[
        Path | None,
        typer.Option("--best-of-n", help="Candidates with rewards or picks: what is picked? Alone or with --scores."),
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option("--policy", "-p", help="A YAML file with the gate's policy. Default: the default policy."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the report.")] = None,
    self_test: Annotated[
        bool,
        typer.Option("--self-test", help="With --scores or --data: plant biases on these pairs. What would be found?"),
    ] = False,
    labels: Annotated[
        bool, typer.Option("--labels", help="With --config: audit the recipe's annotations, without any model.")
    ] = False,
    overrides: Overrides = None,
) -> None:
    """Audit a reward model, a file of its rewards, or its picks among candidates, and judge it by a policy.

    Exit code 0: passed, with warnings or without, or nothing was judged; 2: failed; 3: inconclusive; 1: an error.
    """
    from flows.cli import audits
    from rm.pipeline import load

    given = {
        "config": config,
        "model": model,
        "data": data,
        "scores": scores,
        "twins": twins,
        "best-of-n": best_of_n,
        "self-test": self_test or None,
        "labels": labels or None,
    }
    subject = tuple(name for name, value in given.items() if value is not None)
    extras = {"pairs": pairs, "policy": policy, "out": out, "set": overrides}
    _refuse_extras(subject, [name for name, value in extras.items() if value is not None])
    match subject:
        case ("scores", *beside) if set(beside) <= {"twins", "best-of-n"}:
            settings = audits.settings(overrides, labelled=pairs is not None)
            sets = audits.score_sets(scores or (), pairs or (), settings.ingest, twins, best_of_n)
            code = audits.audit_scores(sets, policy, settings.audit, out)
        case ("twins",):
            code = audits.audit_twins(Path(str(twins)), overrides, out)
        case ("best-of-n",):
            code = audits.audit_best_of_n(Path(str(best_of_n)), policy, overrides, out)
        case ("model", "data"):
            code = audits.audit_model(str(model), Path(str(data)), policy, overrides, out)
        case ("scores", "self-test"):
            sets = audits.score_sets(scores or (), pairs or (), load.reading_settings(overrides or ()))
            code = audits.self_test_scores(sets, out)
        case ("data", "self-test"):
            code = audits.self_test_data(Path(str(data)), overrides, out)
        case ("config", "labels"):
            from flows.cli import labels as label_audits

            code = label_audits.audit(_load(Path(str(config)), overrides), out)
        case ("config", "model"):
            return _audit_checkpoint(Path(str(config)), Path(str(model)), overrides)
        case other:
            came = ", ".join(f"--{name}" for name in other) or "none of them"
            raise RmflowError(
                "rmflow audit: expected --scores FILE --out DIR, or --model REF --data FILE --out DIR, or --config "
                "RECIPE --model FOLDER, or --config RECIPE --labels, or --twins FILE, or --best-of-n FILE, or "
                "--self-test with --scores or --data; "
                f"got {came}"
            )
    raise typer.Exit(code)


def _refuse_extras(subject: tuple[str, ...], extras: list[str]) -> None:
    """Refuse an option that would have no effect."""
    allowed = {
        ("scores", "self-test"): {"pairs", "out"} | ({"set"} if "pairs" in extras else set()),
        ("data", "self-test"): {"out", "set"},
        ("config", "model"): {"set"},
        ("config", "labels"): {"out", "set"},
        ("twins",): {"out", "set"},
        (): {"policy", "out"},
    }
    usual = {"policy", "out", "set"} | ({"pairs"} if subject[:1] == ("scores",) else set())
    for name in extras:
        if name not in allowed.get(subject, usual):
            with_what = " and ".join(f"--{one}" for one in subject) or "nothing to audit"
            raise RmflowError(f"rmflow audit: --{name} does not go with {with_what}")


def _audit_checkpoint(config: Path, model: Path, overrides: list[str] | None) -> None:
    """Audit a checkpoint from the pipeline as a flow, on the held-out pairs of its own data."""
    loaded = _load(config, overrides)
    with _rejection_shown():
        judged = _run("audit.audit", loaded, checkpoint=model)
        _show_audit(judged.report.path, "Not registered: that is what `run` does.")


@app.command(
    epilog="Examples: `rmflow score --model models:/reward-model@champion --data rows.jsonl > scored.jsonl`, "
    "`rmflow score --model var/stages/train/0123abcd --data rows.csv`"
)
def score(
    model: Annotated[
        str,
        typer.Option("--model", "-m", help="A folder, a name on the Hugging Face hub, or an MLflow URI (models:/...)."),
    ],
    data: Annotated[Path, typer.Option("--data", "-d", help="Rows with prompt and response (JSONL, CSV, ...).")],
) -> None:
    """Print each row with its reward, as JSON lines."""
    from flows.cli import audits
    from rm.standalone import scored_rows

    rows = scored_rows.read(data)  # before a model is downloaded
    for row in scored_rows.score(rows, audits.find_model(model)):
        print(scored_rows.written(row))


app.add_typer(models.models)
app.command(epilog="Example: `rmflow verify models:/reward-model/3 --key public.pem`")(models.verify)


@app.command(
    name="exec",
    # All arguments after the tool's name belong to the tool, also -h and --help.
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="Examples: `rmflow exec mlflow server`, `rmflow exec prefect server start`",
)
def execute(context: typer.Context) -> None:
    """Run a tool with this project's state, so that `mlflow` and `prefect` see the same runs as `rmflow`."""
    from tasks import databases, environment

    if not context.args:
        raise RmflowError("rmflow exec: expected a command, such as: rmflow exec mlflow server")
    environment.make_home()
    databases.ensure(context.args[0])
    # A model is loaded where its artifacts lie; byte code there would be files that its record does not list.
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    # The tool of this installation comes first on the path, also for the tools that it starts.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    try:
        os.execvp(context.args[0], context.args)
    except OSError as error:
        raise RmflowError(f"rmflow exec: {context.args[0]}: {error.strerror}") from None


app.command(
    epilog='Example: `rmflow origins --model var/stages/train/0123abcd --feature "log characters" --out origins`'
)(origins.origins)
app.command(epilog="Example: `rmflow check --config configs/quickstart.yaml`")(preflight.check)
app.command(epilog="Example: `rmflow up --config recipe.yaml`")(system.up)
app.command(epilog="Example: `rmflow status`")(system.status)
app.command(epilog="Example: `rmflow down`")(system.down)
app.command(hidden=True)(system.watch)


def _load(config: Path, overrides: list[str] | None) -> PipelineConfig:
    from rm.pipeline.load import load

    return load(config, overrides or [])


def _run(name: str, config: Section, **parameters: Any) -> Any:
    """Run a flow, such as ``train.train``, in this process.

    Errors of `rm.errors` are shown as a message, without Prefect's traceback.
    """
    from tasks import collector, environment, outage, prefect_server

    environment.make_home()
    server = prefect_server.begin()  # it starts while this process imports the flow
    with outage.watched():
        with collector.resting():
            flow = _imported(name)
        if server is None:
            outage.wait()
            return flow(config, **parameters)
        with collector.resting():
            from tasks import tracking

            tracking.client()  # it imports much, and makes a database where there is none, while the server starts
        server.wait()
        with prefect_server.without_heartbeats():
            return flow(config, **parameters)


def _imported(name: str) -> Callable[..., Any]:
    """A flow whose log says on the terminal nothing that the command says itself."""
    from tasks import tracebacks

    module, function = name.split(".")
    flow: Callable[..., Any] = getattr(importlib.import_module(f"flows.{module}"), function)
    tracebacks.leave_to_the_command()
    for logger in ("", "prefect._internal"):  # those with the terminal's handlers
        for handler in logging.getLogger(logger).handlers:
            handler.addFilter(lambda _: interrupts.exit_code() is None)  # then one line says it
    return flow


@contextmanager
def _rejection_shown() -> Iterator[None]:
    """If labels or a model are rejected, print why, and exit with the verdict's code."""
    try:
        yield
    except LabelsRejected as rejection:
        screen.show_reasons("Rejected before the training, for its labels.", rejection.reasons)
        console.print(f"All numbers: {rejection.report_path / LABELS_NAME}", soft_wrap=True, highlight=False)
        raise typer.Exit(screen.EXIT_CODES[rejection.verdict]) from None
    except GateRejected as rejection:
        _show_audit(rejection.report_path, "Nothing was registered.", rejection.trail_path)
        raise typer.Exit(screen.EXIT_CODES[rejection.verdict]) from None


def _show_outcome(outcome: Outcome) -> None:
    registered = outcome.registered
    version = f"{registered.name} version {registered.version}, {registered.alias}"
    trail = None if outcome.trail is None else outcome.trail.path
    _show_audit(outcome.judged.report.path, f"Registered: {version}.", trail)


def _show_audit(folder: Path, registered: str, trail: Path | None = None) -> None:
    """Print the summary of a written report, what was tried, what became of the model, and two commands."""
    from rm.report.audit_json import read_summary
    from rm.report.manifests import ReportManifest

    summary = read_summary(folder / ReportManifest.JSON_NAME)
    if trail is not None:
        from rm.challengers import page, stage
        from rm.challengers.trail import TrailManifest
        from rm.report.summary import after_search

        tried = stage.read(trail)
        summary = after_search(summary, tried.controlled)
        screen.show_lines([*page.lines(tried), f"Tried: {trail / TrailManifest.PAGE_NAME}"])
    screen.show_summary(summary, folder, registered)
    console.print(f"Runs in MLflow:  {Path(sys.argv[0])} exec mlflow server", soft_wrap=True, highlight=False)


def main() -> None:
    """Errors of `rm.errors` and mistyped options print a message; exit code 1, since 2 is a verdict."""
    code = EXIT_ERROR
    try:
        code = _exit_code()
    finally:
        if code and (interrupted := interrupts.exit_code()):  # whatever became of the exception on its way
            interrupts.show()
            sys.exit(interrupted)
    sys.exit(code)


def _exit_code() -> int:
    try:
        return app(standalone_mode=False) or 0
    except typer.Abort:
        return EXIT_ERROR
    except typer.TyperException as error:  # such as a mistyped option
        if message := error.format_message():  # none where nothing was given: then the help is printed already
            _show_error(f"{message}; see rmflow --help")
        return EXIT_ERROR
    except RmflowError as error:
        if interrupts.exit_code() is not None:
            raise  # of a process that the same signal has ended
        _show_error(str(error))
        return EXIT_ERROR
    except Exception as error:
        from tasks import tracebacks

        if interrupts.exit_code() is not None or (text := tracebacks.explain(error)) is None:
            raise
        _show_error(text)
        return EXIT_ERROR


def _show_error(message: str) -> None:
    screen.Screen(stderr=True).print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True, highlight=False)
