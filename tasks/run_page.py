"""What a person reads about a run in MLflow and Prefect: its name, a few numbers and a text, made from its audit."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rm.audit.records import AuditReport
from rm.challengers.trail import Trail
from rm.data.manifests import DatasetManifest
from rm.gate.decision import GateDecision
from rm.ledger.words import HEADLINE
from rm.pipeline.config import PipelineConfig
from rm.report.markdown import listed, summarized, table
from rm.report.summary import summarize
from rm.report.text import HEADLINES, count, plain, points
from rm.stats.finding import Finding

ENDINGS = {
    "passed": "passed",
    "passed_with_warnings": "passed with warnings",
    "failed": "rejected",
    "inconclusive": "inconclusive",
}
"""How a run ended, by the gate's verdict."""
WORST_BIAS = "worst bias"
LEDGER_PAGE, LEDGER_JSON = "ledger.html", "ledger.json"
"""Names of the ledger's files."""
_OVERPAID, _JOINTLY = "overpaid", "joint_overpaid"
_MOST_OF_A_NAME = 200
"""Characters of model and table in a run's name; MLflow's limit is 250 for all of it."""
_MOST_CHARACTERS = 7000
"""Of a text; MLflow's limit is 8,000 for a tag."""
_MOST_OF_ALERTS = 700


def table_name(config: PipelineConfig) -> str:
    """The annotations that a run trains on, in words."""
    return "made-up annotations" if config.sample else config.ingest.table


def subject(config: PipelineConfig) -> str:
    """The model and the annotations of a run."""
    return f"{config.registry.name} {table_name(config)}"[:_MOST_OF_A_NAME]


def title(config: PipelineConfig, dataset: DatasetManifest, ending: str = "") -> str:
    """The name of a run in Prefect, such as ``reward-model annotations 12,345 rows: rejected``."""
    return f"{_sized(config, dataset)}: {ending}" if ending else _sized(config, dataset)


def mlflow_title(config: PipelineConfig, dataset: DatasetManifest, ending: str) -> str:
    """The same for MLflow, whose list of runs shows about twenty characters: how it ended comes first."""
    return f"{ending}: {_sized(config, dataset)}"


def challenger_title(trail: Trail, index: int) -> str:
    """The name of a challenger's run in MLflow: its verdict if it was judged, and its remedy."""
    was_judged = trail.judged is not None and trail.judged.index == index
    ending = ENDINGS[trail.judged.verdict] if trail.judged is not None and was_judged else "not chosen"
    return f"{ending}: {trail.tries[index].remedy}"


def _sized(config: PipelineConfig, dataset: DatasetManifest) -> str:
    return f"{subject(config)} {count(dataset.num_judgements)} rows"


def sizes(dataset: DatasetManifest) -> dict[str, float]:
    """How much a training read, and how much was held out."""
    pairs = dataset.num_pairs
    return {
        "rows": dataset.num_judgements,
        "train pairs": pairs.get("train", 0),
        "held-out pairs": pairs.get("heldout", 0),
    }


def metrics(report: AuditReport, decision: GateDecision) -> dict[str, float]:
    """Under twenty numbers by the names of their findings, with blanks; NaN where nothing was measured.

    Biases are in points of win probability. All other numbers are in ``audit.json``.
    """
    accuracy = report.find("accuracy")
    families = [one for one in report.findings if one.kind == _OVERPAID]
    others = [*(name for name, _ in HEADLINES if name != "accuracy"), "over_champion_accuracy"]
    return {
        "accuracy": accuracy.estimate if accuracy else math.nan,
        "accuracy low": accuracy.ci_low if accuracy else math.nan,
        "accuracy high": accuracy.ci_high if accuracy else math.nan,
        WORST_BIAS: _worst_bias(_biases(report))[0],
        "checks not passed": sum(check.status != "passed" for check in decision.checks),
        **{plain(name): _estimate(report.finding(name)) for name in others},
        **{plain(one.name): 100 * one.estimate for one in families},
    }


def tags(report: AuditReport, decision: GateDecision) -> dict[str, str]:
    """The verdict, its first reason and the worst bias in words, as columns of a list of runs."""
    reasons = summarize(report, decision).reasons
    why = shortened(reasons[0].text, _MOST_CHARACTERS) if reasons else "every check holds"
    return {"verdict": ENDINGS[decision.verdict], "why": why, WORST_BIAS: _worst_bias(_biases(report))[1]}


def _estimate(finding: Finding | None) -> float:
    return math.nan if finding is None else finding.estimate


def _biases(report: AuditReport) -> list[Finding]:
    """What is paid for a family of features, and for all features, words or letters together."""
    return [one for one in report.findings if one.kind in (_OVERPAID, _JOINTLY)]


def _worst_bias(biases: Sequence[Finding]) -> tuple[float, str]:
    """In points of win probability, and in words; only what is shown beyond its interval counts."""
    tested = [one for one in biases if math.isfinite(one.estimate)]
    if not tested:
        return math.nan, "not tested"
    found = [one for one in tested if one.ci_low > 0 or one.ci_high < 0]
    if not found:
        return 0.0, "none found"
    worst = max(found, key=lambda one: abs(one.estimate))
    of = f"{worst.labels['over']} together" if worst.kind == _JOINTLY else plain(worst.detail)
    return 100 * abs(worst.estimate), f"{of}: {points(worst.estimate)} points"


def note(report: AuditReport, decision: GateDecision, link: str) -> str:
    """The text of a run's page: the verdict, up to three reasons, what to do next, and a link to the report.

    Parameters
    ----------
    report : AuditReport
    decision : GateDecision
    link : str
        Where the report opens.
    """
    text = "\n\n".join([_heading(decision), *summarized(report, decision)])
    return f"{shortened(text, _MOST_CHARACTERS)}\n\n[Open the report]({link})\n"


def verdict(report: AuditReport, decision: GateDecision, link: str) -> str:
    """The same with a table of the checks that did not pass.

    Parameters
    ----------
    report : AuditReport
    decision : GateDecision
    link : str
        Markdown that leads to more.
    """
    open_checks = [check for check in decision.checks if check.status != "passed"]
    rows = ((plain(check.name), check.severity, check.status.replace("_", " "), check.reason) for check in open_checks)
    listed = [table(("check", "severity", "result", "measured and allowed"), rows)] if open_checks else []
    return "\n\n".join([_heading(decision), *summarized(report, decision), link, *listed]) + "\n"


def alerted(alerts: Sequence[str]) -> str:
    """The ledger's alerts as Markdown; empty if there is none."""
    return shortened("\n\n".join(listed(HEADLINE, alerts)), _MOST_OF_ALERTS)


def with_ledger(text: str, alerts: Sequence[str], link: str) -> str:
    """The text of a run's page with the ledger's alerts and a link to it.

    Parameters
    ----------
    text : str
        From `note`.
    alerts : sequence of str
    link : str
        Where the ledger opens.
    """
    parts = [text.rstrip("\n"), alerted(alerts), f"[Open the ledger of all versions]({link})"]
    return "\n\n".join(part for part in parts if part) + "\n"


def _heading(decision: GateDecision) -> str:
    return f"## {ENDINGS[decision.verdict].capitalize()}"


def shortened(text: str, most: int) -> str:
    """As many whole lines of a text as there is room for."""
    return text if len(text) <= most else text[: most - 4].rpartition("\n")[0] + "\n..."
