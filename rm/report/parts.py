"""What each section of the page shows: figures drawn and rows put together, with all texts still as they were."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rm.audit.heldout import Heldout
from rm.audit.records import AuditReport, Example
from rm.gate.decision import GateDecision
from rm.probes.results import ProbeExample
from rm.report.certificate import failures, meaning
from rm.report.changes import changes, excerpt, shortened, sides
from rm.report.coefficients import feature_rows
from rm.report.curves import curve
from rm.report.figures import certainty, forests
from rm.report.figures import length as length_figures
from rm.report.figures import probes as probe_figures
from rm.report.figures import style as style_figures
from rm.report.levels import levels
from rm.report.pressure_series import pressure_series
from rm.report.probe_tables import allowed, families, invariance_rows, ordered, outcome, unexpected
from rm.selftest.records import SelfTest
from rm.stats import clustered
from rm.stats.finding import Finding

_CORRELATIONS = {
    "length": "all responses",
    "length_within_prompt": "within prompt",
    "length_label_controlled": "label-controlled",
}
_CALIBRATION = ("expected_calibration_error", "brier_score", "log_loss", "calibration_slope", "temperature")
_SIMPSON = 0.1
"""Difference of two correlations that is worth a remark."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageInput:
    """All that a page is made of."""

    report: AuditReport
    decision: GateDecision
    heldout: Heldout
    certificate: SelfTest


def nothing(_: PageInput) -> dict[str, Any]:
    """For a section that shows the report's own records."""
    return {}


def deciles(source: PageInput) -> dict[str, Any]:
    """Accuracy by difference of length."""
    report = source.report
    return {"figure": length_figures.accuracy_by_decile(report.deciles, report.length_unit)}


def length(source: PageInput) -> dict[str, Any]:
    """Reward against length, pooled and within prompt, and their correlations."""
    report, responses, num_clusters = source.report, source.heldout.responses, source.heldout.num_clusters
    unit, cluster = report.length_unit, responses.cluster
    reward, lengths = (
        clustered.demean(values, cluster, num_clusters) for values in (responses.reward, responses.length)
    )
    pooled = curve(responses.reward, responses.length, cluster, num_clusters)
    within = curve(reward, lengths, cluster, num_clusters)
    draw = length_figures.reward_against_length
    known = {
        f"{title}, {kind}": finding
        for name, title in _CORRELATIONS.items()
        for kind in ("Pearson", "Spearman")
        if (finding := report.finding(f"{name}_{kind.lower()}")) is not None
    }
    return {
        "pooled": draw(responses.reward, responses.length, pooled, f"response {unit}", "reward"),
        "within": draw(reward, lengths, within, f"{unit} minus the prompt's mean", "reward minus the prompt's mean"),
        "correlations": length_figures.correlations(known, unit) if known else None,
        "simpson": _simpson(report),
    }


def _simpson(report: AuditReport) -> tuple[Finding, Finding] | None:
    """The pooled correlation and the one within prompts, where they tell different stories."""
    pooled, within = report.finding("length_pearson"), report.finding("length_within_prompt_pearson")
    if pooled is None or within is None:
        return None
    return (pooled, within) if abs(pooled.estimate - within.estimate) > _SIMPSON else None


def style(source: PageInput) -> dict[str, Any]:
    """Coefficients of the labels and of the model."""
    rows = feature_rows(source.report)
    return {
        "rows": rows,
        "figure": style_figures.coefficients(rows),
        "label": _found(source, "added_coefficient_label"),
    }


def floors(source: PageInput) -> dict[str, Any]:
    """Accuracies from a coin's to the annotators'."""
    rows = levels(source.report)
    over = [finding for finding in source.report.findings if finding.name.startswith("accuracy_over_")]
    return {"rows": rows, "figure": style_figures.floors(rows), "over": over}


def probes(source: PageInput) -> dict[str, Any]:
    """Every probe by family, doses, invariances, and the worst edits of those that a person should look at."""
    report = source.report
    in_order = ordered(report.probes)
    return {
        "figure": probe_figures.forest(report.probes) if report.probes else None,
        "families": {
            family: [(result, outcome(result), allowed(result)) for result in members]
            for family, members in families(report.probes).items()
        },
        "doses": probe_figures.doses(in_order) if in_order else None,
        "dosed": [result for result in report.probes if len(result.doses) > 1],
        "invariances": invariance_rows(report),
        "unexpected": [
            (result, outcome(result), [_edit(example) for example in result.examples])
            for result in unexpected(report.probes)
        ],
    }


def _edit(example: ProbeExample) -> dict[str, Any]:
    """Prompt and response with what the edit changed marked."""
    prompt = example.prompt if example.edited_prompt is None else example.edited_prompt
    return {
        "change": example.reward_edited - example.reward,
        "example": example,
        "prompt": shortened(changes(example.prompt, prompt)),
        "response": shortened(changes(example.response, example.edited)),
    }


def pressure(source: PageInput) -> dict[str, Any]:
    """Best of N."""
    return {"series": [(series, certainty.best_of(series)) for series in pressure_series(source.report)]}


def calibration(source: PageInput) -> dict[str, Any]:
    """How sure the model is and how often it is right."""
    return {
        "reliability": certainty.reliability(source.report.calibration),
        "margins": certainty.margins(source.heldout.pairs.margin),
        "numbers": _found(source, *_CALIBRATION),
    }


def champion(source: PageInput) -> dict[str, Any]:
    """Paired differences from the model in use."""
    found = [finding for finding in source.report.findings if finding.name.startswith("over_champion_")]
    return {"findings": found}


def flaws(source: PageInput) -> dict[str, Any]:
    """Accuracy by kind of flaw."""
    found = source.report.flaws
    names = [finding.name.replace("_", " ") for finding in found]
    return {"figure": forests.forest(found, names, 0.5, "accuracy; 0.5 is a coin")}


def mistakes(source: PageInput) -> dict[str, Any]:
    """Both texts of each, with what only the one or the other has marked."""
    return {"examples": [_mistake(example) for example in source.report.examples]}


def _mistake(example: Example) -> dict[str, Any]:
    chosen, rejected = sides(example.chosen, example.rejected)
    return {
        "example": example,
        "prompt": excerpt(example.prompt),
        "chosen": shortened(chosen),
        "rejected": shortened(rejected),
    }


def self_test(source: PageInput) -> dict[str, Any]:
    """The certificate, and what it means."""
    return {"certificate": source.certificate, "meaning": meaning(source.certificate), "failures": failures}


def formulas(source: PageInput) -> dict[str, Any]:
    """Findings that a benchmark defines."""
    return {"findings": benchmark_findings(source.report)}


def benchmark_findings(report: AuditReport) -> list[Finding]:
    """Those named ``BENCHMARK/PART``; a key word of a probe may hold a slash too."""
    return [one for one in report.findings if "/" in one.name and not one.name.startswith("probe_")]


def _found(source: PageInput, *names: str) -> list[Finding]:
    return [finding for name in names if (finding := source.report.finding(name)) is not None]
