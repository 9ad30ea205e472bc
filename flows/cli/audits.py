"""Audits outside the pipeline, as the command line runs them: nothing is tracked, cached or registered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from flows.cli import screen
from rm.audit.records import AuditReport
from rm.errors import RmflowError
from rm.files import replace_text
from rm.gate.decision import GateDecision
from rm.gate.policy import GatePolicy
from rm.pipeline.load import audit_settings, load_policy
from rm.report.summary import summarize
from rm.selftest.run import run_self_test
from rm.standalone import audits

Overrides = Sequence[str] | None
SELF_TEST_NAME = "self_test.json"
_MLFLOW_SCHEMES = ("models:/", "runs:/", "mlflow-artifacts:/")


def audit_scores(scores: Path, policy: Path | None, overrides: Overrides, out: Path | None) -> int:
    """Audit a file of scores; returns the exit code."""
    folder, config = _folder(out), audit_settings(overrides or ())
    audited = audits.audit_scores(scores, _policy(policy), config, datetime.now(UTC).date(), folder)
    return _show(*audited, folder)


def audit_model(reference: str, data: Path, policy: Path | None, overrides: Overrides, out: Path | None) -> int:
    """Audit a model on a labelled file; returns the exit code."""
    folder, today = _folder(out), datetime.now(UTC).date()
    checked, config = _policy(policy), audit_settings(overrides or ())
    model = _find_model(reference)
    # Not the whole path of a local model: reports are passed on, and a path may be private.
    name = model.name if Path(reference).is_dir() else reference
    audited = audits.audit_model(model, name, data, checked, config, today, folder)
    return _show(*audited, folder)


def self_test(file: Path, *, scored: bool, out: Path | None) -> int:
    """Show which biases, planted on the pairs of a file, an audit finds; write the result if a folder is given."""
    result = run_self_test(audits.labelled_pairs(file, scored=scored))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        replace_text(out / SELF_TEST_NAME, result.model_dump_json(indent=2) + "\n")
    limits = Table("family", "features", "common", "testable", "seen in 80 %", "seen in 95 %")
    for each in result.limits:
        points = (f"{100 * value:.0f} points" if value < 1 else "-" for value in (each.seen_80, each.seen_95))
        counts = (each.num_features, each.num_common, each.num_testable)
        limits.add_row(each.family, *map(str, counts), *points)
    screen.console.print(limits)
    table = Table("planted bias", "strength", "excess", "found", "beyond the limit")
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
    screen.show_summary(summarize(report, decision), folder)
    return screen.EXIT_CODES[decision.verdict]
