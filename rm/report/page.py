"""Putting a report together. Annotators' text is hostile input: the template escapes everything."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pyarrow.parquet as pq

from rm import pairs as scored
from rm import stats
from rm.audit import SCORES_NAME, read_report
from rm.findings import AuditReport, Finding
from rm.gate import GateDecision
from rm.manifests import AuditManifest, DatasetManifest, ReportManifest, ScoresManifest
from rm.report import figures

PAGE_NAME = "audit.html"
JSON_NAME = "audit.json"

NOT_TESTED = (
    "Causal effects: no response was edited and scored again. The numbers are observations on the held-out pairs.",
    "Behaviour under optimisation (best-of-N, RL): a policy finds responses that these data do not hold.",
    "Biases other than length and surface style, such as sycophancy, dialect or identity.",
)
_DIRECTION_CONTROLS = {code: f"[U+{code:04X}]" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}
_HEADLINES = (
    ("accuracy", "Accuracy on held-out pairs"),
    ("accuracy_style_only", "Accuracy of style alone"),
    ("length_label_controlled_pearson", "Length correlation, label-controlled"),
    ("accuracy_shorter_chosen", "Accuracy where the shorter is right"),
    ("accuracy_longer_chosen", "Accuracy where the longer is right"),
)


def write(
    audited: AuditManifest, decision: GateDecision, dataset: DatasetManifest, scores: ScoresManifest, folder: Path
) -> ReportManifest:
    """Write a report's page, JSON and scores.

    Parameters
    ----------
    audited : AuditManifest
        What was measured.
    decision : GateDecision
    dataset, scores : manifests
        Of the audited responses, for the figures.
    folder : Path
        Gets ``audit.html``, ``audit.json``, ``scores.parquet`` and the manifest.
    """
    report = read_report(audited)
    folder.mkdir(parents=True, exist_ok=True)
    heldout = scored.join(dataset, scores)
    (folder / PAGE_NAME).write_text(page(report, decision, heldout), encoding="utf-8")
    (folder / JSON_NAME).write_text(json.dumps(as_json(report, decision), indent=2, allow_nan=False) + "\n", "utf-8")
    shutil.copyfile(audited.path / SCORES_NAME, folder / SCORES_NAME)
    return ReportManifest.seal(
        folder,
        parents=(audited,),
        config=decision,
        num_rows=pq.read_metadata(folder / SCORES_NAME).num_rows,
        passed=decision.passed,
    )


def as_json(report: AuditReport, decision: GateDecision) -> dict[str, Any]:
    """Every number of a report; undefined ones are null."""
    values: dict[str, Any] = _without_nan(report.model_dump(mode="python"))
    checks = [check.model_dump() for check in decision.checks]
    digests = {"checkpoint_digest": decision.checkpoint_digest, "policy_digest": decision.policy_digest}
    return {"verdict": decision.verdict, "checks": checks, **digests, **values}


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def page(report: AuditReport, decision: GateDecision, heldout: scored.Heldout) -> str:
    """The HTML page; it needs nothing from the network."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("rm.report", "."),
        autoescape=True,
        finalize=_with_visible_controls,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["number"] = _number
    environment.filters["interval"] = _interval
    headlines = [(title, finding) for name, title in _HEADLINES if (finding := report.finding(name)) is not None]
    return environment.get_template("page.html.j2").render(
        report=report,
        decision=decision,
        headlines=headlines,
        figures=_figures(report, heldout),
        not_tested=NOT_TESTED,
    )


def _with_visible_controls(value: Any) -> Any:
    """Text whose direction controls are written out, so that it reads in the order in which a model saw it."""
    return value.translate(_DIRECTION_CONTROLS) if isinstance(value, str) else value


def _figures(report: AuditReport, heldout: scored.Heldout) -> dict[str, str]:
    responses, pairs = heldout.responses, heldout.pairs
    inside = stats.within(responses.reward, responses.cluster, heldout.num_clusters)
    length_inside = stats.within(responses.length, responses.cluster, heldout.num_clusters)
    flaws = [finding.name.replace("_", " ") for finding in report.flaws]
    return {
        "split": figures.accuracy_by_length_difference(pairs.correct, pairs.length_difference),
        "correlations": figures.correlations(report),
        "pooled": figures.reward_against_length(responses.reward, responses.length, report.buckets, "reward"),
        "within": figures.reward_against_length(inside, length_inside, (), "reward minus the prompt's mean"),
        "buckets": figures.accuracy_by_bucket(report.buckets),
        "flaws": figures.forest(report.flaws, flaws, 0.5, "accuracy; 0.5 is a coin"),
    }


def _number(value: float) -> str:
    return "undefined" if not np.isfinite(value) else f"{value:.3f}".replace("-", "\N{MINUS SIGN}")


def _interval(finding: Finding) -> str:
    return f"{_number(finding.ci_low)} to {_number(finding.ci_high)}"
