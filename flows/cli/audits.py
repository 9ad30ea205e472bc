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
from rm.report.certificate import meaning
from rm.selftest import run as testing
from rm.selftest.manifests import SelfTestManifest
from rm.standalone import audits
from rm.standalone.audits import ScoreSet
from rm.standalone.side_by_side import SideBySide, mark, shown

Overrides = Sequence[str] | None
_MLFLOW_SCHEMES = ("models:/", "runs:/", "mlflow-artifacts:/")


def audit_scores(
    scores: Sequence[Path], pairs: Sequence[Path], policy: Path | None, overrides: Overrides, out: Path | None
) -> int:
    """Audit one file of scores, or several side by side; returns the exit code."""
    folder, config = _folder(out), audit_settings(overrides or ())
    if pairs and len(pairs) != len(scores):
        raise RmflowError(
            f"rmflow audit: expected one --pairs for each --scores, in the same order, or none; got {len(pairs)} for "
            f"{len(scores)}"
        )
    checked, today = _policy(policy), datetime.now(UTC).date()
    if len(scores) == 1:
        return _show(*audits.audit_scores(scores[0], checked, config, today, folder, *pairs), folder)
    sets = [ScoreSet(*files) for files in (zip(scores, pairs, strict=True) if pairs else zip(scores, strict=True))]
    compared = audits.audit_several(sets, checked, config, today, folder)
    _show_side_by_side(compared)
    for one in sets:
        screen.show_report(folder / one.name)
    return screen.EXIT_CODES[compared.verdict]


def _show_side_by_side(compared: SideBySide) -> None:
    """Print the main lines, and those whose signs differ beyond chance."""
    table = Table("", *map(escape, compared.names), "signs")
    for line in compared.lines:
        if line.is_main or line.signs == "differ beyond chance":
            table.add_row(line.name, *map(shown, line.cells), mark(line))
    table.add_row("verdict", *compared.verdicts, "")
    screen.console.print(table)


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
