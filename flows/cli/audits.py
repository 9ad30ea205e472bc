"""Audits outside the pipeline, as the command line runs them: nothing is tracked, cached or registered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.markup import escape
from rich.table import Column, Table

from flows.cli import screen
from rm.audit.records import AuditReport
from rm.errors import RmflowError
from rm.files import replace_text
from rm.gate.decision import GateDecision
from rm.gate.policy import GatePolicy
from rm.pipeline.load import audit_settings, load_policy
from rm.report.certificate import meaning
from rm.selftest import run as testing
from rm.selftest.manifests import SelfTestManifest
from rm.standalone import audits, best_of_n

Overrides = Sequence[str] | None
_MLFLOW_SCHEMES = ("models:/", "runs:/", "mlflow-artifacts:/")


def audit_scores(
    scores: Path, policy: Path | None, overrides: Overrides, out: Path | None, candidates: Path | None = None
) -> int:
    """Audit a file of scores, and what the same model picks among candidates; returns the exit code."""
    folder, config = _folder(out), audit_settings(overrides or ())
    audited = audits.audit_scores(scores, _policy(policy), config, datetime.now(UTC).date(), folder, candidates)
    return _show(*audited, folder)


def audit_best_of_n(candidates: Path, policy: Path | None, overrides: Overrides, out: Path | None) -> int:
    """Show what models pick among candidates, and write it if a folder is given; returns the exit code."""
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
        screen.show_reasons(f"{result.decision.verdict.capitalize()}.", result.decision.reasons)
    return screen.EXIT_CODES[result.decision.verdict]


def audit_model(reference: str, data: Path, policy: Path | None, overrides: Overrides, out: Path | None) -> int:
    """Audit a model on a labelled file; returns the exit code."""
    folder, today = _folder(out), datetime.now(UTC).date()
    checked, config = _policy(policy), audit_settings(overrides or ())
    model = _find_model(reference)
    # Not the whole path of a local model: reports are passed on, and a path may be private.
    name = model.name if Path(reference).is_dir() else reference
    audited = audits.audit_model(model, name, data, checked, config, today, folder)
    return _show(*audited, folder)


def self_test(num_pairs: int, policy: Path | None, overrides: Overrides, out: Path | None) -> int:
    """Show which planted biases an audit of ``num_pairs`` pairs finds, and write the result if a folder is given."""
    checked = _policy(policy)
    result = testing.run_self_test(num_pairs, num_pairs, checked, audit_settings(overrides or ()).probes)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        replace_text(out / SelfTestManifest.RESULT_NAME, result.model_dump_json(indent=2) + "\n")
    table = Table("planted bias", "strength", "failed", "undecided", "passed", "found by")
    for planted in result.planted:
        shares = (planted.failed, planted.inconclusive, planted.passed)
        found = [f"{check.name} {check.failed:.0%}" for check in planted.checks if check.failed]
        strength = "none" if not planted.strength else f"{planted.strength:g}"
        table.add_row(planted.name, strength, *(f"{share:.0%}" for share in shares), "\n".join(found))
    screen.console.print(table)
    screen.console.print(" ".join(meaning(result)), soft_wrap=True)
    screen.console.print("A strength of 1 is worth one more right sentence.", soft_wrap=True)
    if result.not_simulated:
        screen.console.print(f"Not simulated: {', '.join(result.not_simulated)}", soft_wrap=True)
    return 0


def _folder(out: Path | None) -> Path:
    if out is None:
        raise RmflowError("rmflow audit: --out is missing; expected a folder for the report")
    return out


def _policy(path: Path | None) -> GatePolicy:
    return GatePolicy() if path is None else load_policy(path)


def _find_model(reference: str) -> Path:
    if Path(reference).is_dir():
        return Path(reference)
    if reference.startswith(_MLFLOW_SCHEMES):
        from tasks import registry

        return registry.download(reference)
    from rm.model import base_models
    from rm.model.config import ModelConfig

    name, _, revision = reference.partition("@")
    found = base_models.resolve(ModelConfig(hub=name, revision=revision or "main")).folder
    assert found is not None  # a model on the hub has files
    return found


def _show(report: AuditReport, decision: GateDecision, folder: Path) -> int:
    screen.show_table(report, decision, None)
    if not decision.passed:
        screen.show_reasons(f"{decision.verdict.capitalize()}.", decision.reasons)
    screen.show_report(folder)
    return screen.EXIT_CODES[decision.verdict]
