"""What each section of the page shows: its figures and rows. Texts are not escaped here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from rm.audit.heldout import Heldout
from rm.audit.records import AuditReport, Example
from rm.audit.twin_results import TwinExample
from rm.gate.decision import GateDecision
from rm.labels.records import LabelReport
from rm.probes.results import ProbeExample
from rm.report import picks
from rm.report import twins as twin_rows
from rm.report.changes import changes, excerpt, shortened, sides
from rm.report.figures import certainty, forests
from rm.report.figures import length as length_figures
from rm.report.figures import overpaid as overpaid_figures
from rm.report.figures import picks as pick_figures
from rm.report.figures import probes as probe_figures
from rm.report.figures import style as style_figures
from rm.report.figures import twins as twin_figures
from rm.report.picture import overpaid_rows
from rm.report.summary import seen_from
from rm.report.tables import (
    allowed,
    best_of_n_series,
    families,
    feature_rows,
    invariance_rows,
    levels,
    ordered,
    outcome,
    unexpected,
    unexpected_first,
)
from rm.report.text import plain
from rm.stats import clustered
from rm.stats.finding import Finding

_CORRELATIONS: tuple[tuple[str, dict[str, str]], ...] = (
    ("all responses", {}),
    ("within prompt", {"over": "within_prompt"}),
    ("label-controlled", {"over": "label_controlled"}),
)
_CALIBRATION = ("calibration_error", "brier_score", "log_loss", "calibration_slope", "temperature")
_VERDICTS = {
    "goes along": "Go along with a named one: paid too, but not once that one is taken into account",
    "blunter": "Overpaid, or the labels are blunter where they differ",
    "clear": "Not shown to be overpaid or over-punished",
    "untestable": "Not testable: too few prompts differ, or rewards do not follow the labels",
}
"""Titles of the features that are not named, by verdict."""
MOST_DRAWN = 6
"""Rows of a figure with a row for each thing; the numbers below it have all."""
_MOST_PROBES, _MOST_LINES = 12, 8
"""In the figure of all probes, and in that of doses."""
_MOST_TWINS = 2
"""Examples of one kind."""
_MOST_MARKS = 12
"""Rows of a table of labels; labels.json has all."""
_SIMPSON = 0.1
"""Smallest difference of two correlations for which the page has a remark."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageInput:
    """Everything from which a page is made."""

    report: AuditReport
    decision: GateDecision
    heldout: Heldout
    labels: LabelReport | None = None
    """What was found on the labels of the training; None where they are not known."""


def gate(source: PageInput) -> dict[str, Any]:
    """Each check with its reason in words that have no identifier: those that hold, and the others."""
    rows = [(check, check.reason.replace(check.name, plain(check.name))) for check in source.decision.checks]
    return {
        "others": [(check, reason) for check, reason in rows if check.status != "passed"],
        "hold": [(check, reason) for check, reason in rows if check.status == "passed"],
    }


def nothing(_: PageInput) -> dict[str, Any]:
    """No values: for a section that shows the report's own records."""
    return {}


def overpaid(source: PageInput) -> dict[str, Any]:
    """The features that are named, and all others by what was found of them."""
    table = source.report.overpaid
    rows = table.rows if table else ()
    shown = overpaid_rows(source.report, most=MOST_DRAWN)
    return {
        "figure": overpaid_figures.forest(shown, table.critical_value) if table and shown else None,
        "num_drawn": len(shown),
        "num_tested": sum(row.verdict != "untestable" for row in rows),
        "named": sorted((row for row in rows if row.verdict == "named"), key=lambda row: -row.bound),
        "others": [
            (title, found)
            for verdict, title in _VERDICTS.items()
            if (found := [row for row in rows if row.verdict == verdict])
        ],
        "sizes": seen_from(source.report),
    }


def deciles(source: PageInput) -> dict[str, Any]:
    """Accuracy by difference of length."""
    report = source.report
    return {"figure": length_figures.accuracy_by_decile(report.deciles, report.length_unit)}


def length(source: PageInput) -> dict[str, Any]:
    """Reward against length, pooled and within prompt, and their correlations."""
    report, responses, num_clusters = source.report, source.heldout.responses, source.heldout.num_clusters
    num_prompts = len(source.heldout.prompt_ids)
    unit, cluster = report.length_unit, responses.cluster
    reward, lengths = (
        clustered.demean(values, responses.prompt, num_prompts) for values in (responses.reward, responses.length)
    )
    pooled = length_figures.curve(responses.reward, responses.length, cluster, num_clusters)
    within = length_figures.curve(reward, lengths, cluster, num_clusters)
    draw = length_figures.reward_against_length
    known = {
        f"{title}, {statistic.capitalize()}": finding
        for title, labels in _CORRELATIONS
        for statistic in ("pearson", "spearman")
        if (finding := report.find("length_correlation", statistic=statistic, **labels)) is not None
    }
    return {
        "pooled": draw(responses.reward, responses.length, pooled, f"response {unit}", "reward"),
        "within": draw(reward, lengths, within, f"{unit} minus the prompt's mean", "reward minus the prompt's mean"),
        "correlations": length_figures.correlations(known, unit) if known else None,
        "simpson": _simpson(report),
    }


def _simpson(report: AuditReport) -> tuple[Finding, Finding] | None:
    """The pooled correlation and the one within prompts, if they differ enough for a remark; else None."""
    pooled = report.find("length_correlation", statistic="pearson")
    within = report.find("length_correlation", statistic="pearson", over="within_prompt")
    if pooled is None or within is None:
        return None
    return (pooled, within) if abs(pooled.estimate - within.estimate) > _SIMPSON else None


def style(source: PageInput) -> dict[str, Any]:
    """Coefficients of the labels and of the model."""
    rows = feature_rows(source.report)
    shown = sorted(rows, key=lambda row: not row.is_overused)[:MOST_DRAWN]
    return {
        "rows": rows,
        "num_drawn": len(shown),
        "figure": style_figures.coefficients(shown),
        "label": source.report.select("coefficient", of="added", feature="label"),
    }


def baselines(source: PageInput) -> dict[str, Any]:
    """Accuracies, from that of a coin to that of the annotators."""
    rows = levels(source.report)
    over = source.report.select("accuracy_over_baseline")
    return {"rows": rows, "figure": style_figures.baselines(rows), "over": over}


def probes(source: PageInput) -> dict[str, Any]:
    """Every probe by family, doses, invariances, and the worst edits of the probes that a person should look at."""
    report = source.report
    in_order = ordered(report.probes)
    shown = unexpected_first(report.probes, _MOST_PROBES)
    return {
        "figure": probe_figures.forest(shown) if shown else None,
        "num_drawn": len(shown),
        "num_probes": len(report.probes),
        "families": {
            family: [(result, outcome(result), allowed(result)) for result in members]
            for family, members in families(report.probes).items()
        },
        "doses": probe_figures.doses(in_order[:_MOST_LINES]) if in_order else None,
        "num_lines": (min(len(in_order), _MOST_LINES), len(in_order)),
        "dosed": [result for result in report.probes if len(result.doses) > 1],
        "invariances": invariance_rows(report),
        "unexpected": [
            (result, outcome(result), [_edit(example) for example in result.examples])
            for result in unexpected(report.probes)
        ],
    }


def _edit(example: ProbeExample) -> dict[str, Any]:
    """Prompt and response, with marks on what the edit changed."""
    prompt = example.prompt if example.edited_prompt is None else example.edited_prompt
    return {
        "change": example.reward_edited - example.reward,
        "example": example,
        "prompt": shortened(changes(example.prompt, prompt)),
        "response": shortened(changes(example.response, example.edited)),
    }


def best_of_n(source: PageInput) -> dict[str, Any]:
    """Each series of best of N with its figure."""
    return {"series": [(series, certainty.best_of(series)) for series in best_of_n_series(source.report)]}


def candidates(source: PageInput) -> dict[str, Any]:
    """What is picked among given candidates, by how many are offered."""
    findings = source.report.findings
    rows, drifts = picks.offered(findings), picks.drifts(findings)
    judged = any(row.wins for row in rows)
    return {
        "rows": rows,
        "wins": pick_figures.win_rates(rows) if judged else None,
        "over": [
            (of, found)
            for of in ("random", "longest")
            if (found := source.report.find(f"picks_over_{of}")) and found.num_pairs
        ],
        "drifts": pick_figures.drifts(drifts) if drifts else None,
        "most_drifted": drifts,
    }


def twins(source: PageInput) -> dict[str, Any]:
    """What changes on twins, the worst kind first, with the texts whose rewards change most."""
    results = twin_rows.worst_first(source.report.twins)
    confidence = results[0].by_kind.get("twin_confidence_change")
    return {
        "results": results,
        "confidence": confidence if confidence and math.isfinite(confidence.estimate) else None,
        "figure": twin_figures.changes(results[:MOST_DRAWN]),
        "num_drawn": len(results[:MOST_DRAWN]),
        "examples": [(result, _twin(one)) for result in results for one in result.examples[:_MOST_TWINS]],
    }


def _twin(example: TwinExample) -> dict[str, Any]:
    """Both texts in one, with marks on what only one of them has."""
    return {"example": example, "text": shortened(changes(example.original, example.twin))}


def calibration(source: PageInput) -> dict[str, Any]:
    """How sure the model is and how often it is right."""
    return {
        "reliability": certainty.reliability(source.report.calibration),
        "margins": certainty.margins(source.heldout.pairs.margin),
        "numbers": [finding for kind in _CALIBRATION for finding in source.report.select(kind)],
    }


def labels(source: PageInput) -> dict[str, Any]:
    """What was found on the labels, the most important rows of each table."""
    found = source.labels
    if found is None:
        return {}
    return {
        "labels": found,
        "marks": found.marks[:_MOST_MARKS],
        "annotators": [row for at, row in enumerate(found.annotators) if row.is_far or at < _MOST_MARKS],
        "drift": found.drift[:_MOST_MARKS],
    }


def champion(source: PageInput) -> dict[str, Any]:
    """Paired differences from the model in use."""
    return {"findings": source.report.select("over_champion")}


def flaws(source: PageInput) -> dict[str, Any]:
    """Accuracy by kind of flaw: the worst kinds, and all together."""
    *kinds, all_of_them = source.report.flaws
    worst = sorted(kinds, key=lambda finding: finding.estimate)[: MOST_DRAWN - 1]
    shown = [*(finding for finding in kinds if finding in worst), all_of_them]
    names = [finding.labels["flaw"].replace("_", " ") for finding in shown]
    return {"figure": forests.forest(shown, names, 0.5, "accuracy; 0.5 is a coin"), "num_drawn": len(shown)}


def mistakes(source: PageInput) -> dict[str, Any]:
    """Both texts of each pair, with marks on what only one of them has."""
    return {"examples": [_mistake(example) for example in source.report.examples]}


def _mistake(example: Example) -> dict[str, Any]:
    chosen, rejected = sides(example.chosen, example.rejected)
    return {
        "example": example,
        "prompt": excerpt(example.prompt),
        "chosen": shortened(chosen),
        "rejected": shortened(rejected),
    }


def formulas(source: PageInput) -> dict[str, Any]:
    """Findings that a benchmark defines."""
    return {"findings": source.report.select("benchmark")}
