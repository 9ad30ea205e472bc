"""Audits outside the pipeline, as the command line runs them: nothing is tracked, cached or registered."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from rich.markup import escape
from rich.table import Column, Table

from flows.cli import screen
from rm.audit.config import AuditConfig
from rm.audit.heldout import Heldout
from rm.audit.records import AuditReport
from rm.data.config import IngestConfig
from rm.errors import RmflowError
from rm.files import replace_text
from rm.gate.decision import GateDecision
from rm.gate.policy import GatePolicy
from rm.pipeline.load import LabelledSettings, audit_settings, labelled_settings, load_policy, reading_settings
from rm.report import twins as twin_report
from rm.report.summary import summarize
from rm.selftest.run import run_self_test
from rm.standalone import audits, best_of_n, labelled_files
from rm.standalone import twins as twin_files
from rm.standalone.audits import ScoreSet
from rm.standalone.side_by_side import SideBySide, mark, shown

Overrides = Sequence[str] | None
SELF_TEST_NAME = "self_test.json"
_MLFLOW_SCHEMES = ("models:/", "runs:/", "mlflow-artifacts:/")
_HUB_NAME = re.compile(r"\w[\w.-]*(?:/\w[\w.-]*)?(?:@.*)?")


def settings(overrides: Overrides, *, labelled: bool) -> LabelledSettings:
    """What ``--set`` says; keys of ``ingest`` have an effect where labelled responses are read from a file."""
    if labelled:
        return labelled_settings(overrides or ())
    return LabelledSettings(audit=audit_settings(overrides or ()))


def score_sets(
    scores: Sequence[Path],
    pairs: Sequence[Path],
    reading: IngestConfig,
    twins: Path | None = None,
    candidates: Path | None = None,
) -> list[ScoreSet]:
    """The files of each set; twins and candidates are of one model, so they go with one set only."""
    if pairs and len(pairs) != len(scores):
        raise RmflowError(
            f"rmflow audit: expected one --pairs for each --scores, in the same order, or none; got {len(pairs)} for "
            f"{len(scores)}"
        )
    if len(scores) > 1 and (twins or candidates):
        raise RmflowError(f"rmflow audit: --twins and --best-of-n go with one --scores; got {len(scores)}")
    beside: Sequence[Path | None] = pairs or [None] * len(scores)
    return [ScoreSet(one, other, twins, candidates, reading) for one, other in zip(scores, beside, strict=True)]


def audit_scores(sets: Sequence[ScoreSet], policy: Path | None, config: AuditConfig, out: Path | None) -> int:
    """Audit one file of scores, or several side by side; returns the exit code."""
    folder, checked, today = _folder(out), _policy(policy), datetime.now(UTC).date()
    if len(sets) == 1:
        return _show(*audits.audit_scores(sets[0], checked, config, today, folder), folder)
    compared = audits.audit_several(sets, checked, config, today, folder)
    show_side_by_side(compared)
    for one in sets:
        screen.show_report(folder / one.name)
    return screen.EXIT_CODES[compared.verdict]


def show_side_by_side(compared: SideBySide) -> None:
    """Print the main lines, and those whose signs differ beyond chance."""
    table = Table("", *map(escape, compared.names), "signs")
    for line in compared.lines:
        if line.is_main or line.signs == "differ beyond chance":
            table.add_row(line.name, *map(shown, line.cells), mark(line))
    table.add_row("verdict", *map(screen.shown, compared.verdicts), "")
    screen.console.print(table)


def audit_twins(twins: Path, overrides: Overrides, out: Path | None) -> int:
    """Show what changes on twins, and write it if a folder is given; judges nothing, so the exit code is 0."""
    check_folder(out)
    found = twin_files.read(twins)
    results = found.measure(audit_settings(overrides or ()))
    if out is not None:
        twin_files.write_files(results, found, out)
    for result in results:
        screen.show_rows(result.kind or "twins", twin_report.rows(result), twin_report.amounts(result))
    return 0


def audit_best_of_n(candidates: Path, policy: Path | None, overrides: Overrides, out: Path | None) -> int:
    """Show what models pick among candidates, and write it if a folder is given; returns the exit code."""
    check_folder(out)
    config, today = audit_settings(overrides or ()), datetime.now(UTC).date()
    result = best_of_n.audit(candidates, _policy(policy), config, today)
    table = Table(Column(best_of_n.COLUMNS[0], overflow="fold"), *best_of_n.COLUMNS[1:])
    for row in best_of_n.rows(result):
        table.add_row(escape(row.model), row.number, *map(best_of_n.short, row.numbers))
    screen.console.print(table)
    for line in (best_of_n.LEGEND, best_of_n.about(result), *result.notes, *best_of_n.differences(result)):
        screen.console.print(escape(line), soft_wrap=True, highlight=False)
    if out is not None:
        best_of_n.write(result, out)
    if result.decision is None:
        return 0
    if result.decision.warnings:
        screen.show_reasons("Warnings.", result.decision.warnings)
    if not result.decision.passed:
        screen.show_reasons(f"{screen.shown(result.decision.verdict).capitalize()}.", result.decision.reasons)
    return screen.EXIT_CODES[result.decision.verdict]


def audit_model(reference: str, data: Path, policy: Path | None, overrides: Overrides, out: Path | None) -> int:
    """Audit a model on a labelled file; returns the exit code."""
    folder, today = _folder(out), datetime.now(UTC).date()
    checked, given = _policy(policy), settings(overrides, labelled=True)
    model = find_model(reference)
    # Not the whole path of a local model: reports are passed on, and a path may be private.
    name = model.name if Path(reference).is_dir() else reference
    audited = audits.audit_model(model, name, data, checked, given.audit, today, folder, reading=given.ingest)
    return _show(*audited, folder)


def self_test_scores(sets: Sequence[ScoreSet], out: Path | None) -> int:
    """Show which biases, planted on the pairs of a file of scores, an audit finds."""
    if len(sets) > 1:
        raise RmflowError(f"rmflow audit: expected one --scores with --self-test, got {len(sets)}")
    return _show_self_test(audits.read_scores(sets[0]).heldout, out)


def self_test_data(data: Path, overrides: Overrides, out: Path | None) -> int:
    """Show which biases, planted on the pairs of a labelled file, an audit finds."""
    given = labelled_files.read(data, reading_settings(overrides or ()))
    return _show_self_test(given.heldout([np.zeros(len(group.responses)) for group in given.groups], None), out)


def _show_self_test(heldout: Heldout, out: Path | None) -> int:
    """Print the result, and write it if a folder is given."""
    check_folder(out)
    result = run_self_test(heldout)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        replace_text(out / SELF_TEST_NAME, result.model_dump_json(indent=2) + "\n")
    limits = Table("family", "features", "common", "testable", "seen in 80 %", "seen in 95 %")
    for each in result.limits:
        points = (f"{100 * value:.0f} points" if value < 1 else "-" for value in (each.seen_80, each.seen_95))
        counts = (each.num_features, each.num_common, each.num_testable)
        limits.add_row(each.family, *map(str, counts), *points)
    screen.console.print(limits)
    table = Table("planted bias", "strength", "excess", "found", "failed")
    for planted in result.planted:
        excess = f"{100 * planted.excess:.1f} points" if planted.family else "no feature describes it"
        shares = (f"{share:.0%}" for share in (planted.found, planted.failed))
        table.add_row(escape(planted.name), f"{planted.strength:g}", excess, *shares)
    screen.console.print(table)
    screen.console.print(
        f"{result.num_pairs:,} pairs of {result.num_prompts:,} prompts, {result.num_repeats} repeats. The sound reward "
        f"was accused in {result.sound_found:.0%} of them. A strength of 1 is a standard deviation of its difference.",
        soft_wrap=True,
    )
    return 0


def check_folder(out: Path | None) -> None:
    """Refuse a file in place of the folder, before anything is measured."""
    if out is not None and out.exists() and not out.is_dir():
        raise RmflowError(f"{out}: expected a folder for the report, got a file")


def _folder(out: Path | None) -> Path:
    if out is None:
        raise RmflowError("rmflow audit: --out is missing; expected a folder for the report")
    return out


def _policy(path: Path | None) -> GatePolicy:
    return GatePolicy() if path is None else load_policy(path)


def find_model(reference: str) -> Path:
    """The folder of a model that is named by a folder, on the hub, or by a URI of MLflow."""
    if Path(reference).is_dir():
        return Path(reference)
    if reference.startswith(_MLFLOW_SCHEMES):
        from flows.cli import models
        from tasks import registry

        models.probe()
        return registry.download(reference)
    if not _HUB_NAME.fullmatch(reference):
        raise RmflowError(
            f"{reference}: no such folder; expected one, OWNER/NAME on the hub, or a URI such as models:/..."
        )
    from rm.model import base_files
    from rm.model.config import ModelConfig

    name, _, revision = reference.partition("@")
    found = base_files.resolve(ModelConfig(hub=name, revision=revision or "main")).folder
    assert found is not None  # a model on the hub has files
    return found


def _show(report: AuditReport, decision: GateDecision, folder: Path) -> int:
    screen.show_summary(summarize(report, decision), folder)
    return screen.EXIT_CODES[decision.verdict]
