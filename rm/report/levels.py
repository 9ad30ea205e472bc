"""Accuracies to hold the model's against: heuristics below, the model in use, annotators above."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from rm.audit.records import AuditReport
from rm.stats.finding import Finding

_FLOORS = {
    "accuracy_length_only": "length only",
    "accuracy_style_only": "style only",
    "accuracy_words_only": "bag of words",
}


class Level(NamedTuple):
    """One accuracy."""

    title: str
    kind: Literal["floor", "champion", "model", "ceiling"]
    accuracy: float
    finding: Finding | None
    """None where the number has no interval."""


def levels(report: AuditReport) -> tuple[Level, ...]:
    """Those that were measured, from the coin to the annotators."""
    found = [Level("a coin", "floor", 0.5, None)]
    for name, title in _FLOORS.items():
        found += _level(report, name, title, "floor")
    champion = _champion(report)
    if champion is not None:
        found.append(Level("champion", "champion", champion, None))
    found += _level(report, "accuracy", "this model", "model")
    found += _level(report, "label_ceiling", "one annotator", "ceiling")
    return tuple(found)


def _level(report: AuditReport, name: str, title: str, kind: Literal["floor", "model", "ceiling"]) -> list[Level]:
    finding = report.finding(name)
    known = finding is not None and math.isfinite(finding.estimate)
    return [Level(title, kind, finding.estimate, finding)] if finding is not None and known else []


def _champion(report: AuditReport) -> float | None:
    """Its accuracy on the pairs that both have scored, put together from the deciles."""
    found = [decile.champion_accuracy for decile in report.deciles if decile.champion_accuracy is not None]
    found = [finding for finding in found if finding.num_pairs]
    num_pairs = sum(finding.num_pairs for finding in found)
    return sum(finding.estimate * finding.num_pairs for finding in found) / num_pairs if num_pairs else None
