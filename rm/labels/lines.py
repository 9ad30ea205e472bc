"""An audit of labels in about ten lines."""

from __future__ import annotations

import json
import math

from rm.labels.records import LabelReport, LabelResult
from rm.remedies.controllable import LENGTH, problem

_WORST_FIRST = ("stopped", "warned", "not measured", "holds")


def lines(report: LabelReport) -> tuple[str, ...]:
    """How much was looked at, what became of every check, and what a training can do; a check is said once."""
    worst = _worst(report.checks)
    said = [f"{_WORDS[check.status]}: {check.reason}" for check in worst if check.status != "not measured"]
    missing = [check.name for check in worst if check.status == "not measured"]
    sizes = (
        f"{report.num_votes:,} judgements of {report.num_prompts:,} prompts by {len(report.annotators):,} named "
        f"annotator{'' if len(report.annotators) == 1 else 's'}; {report.num_pairs:,} training pairs read"
    )
    unsaid = [f"not measured, or too few to say: {', '.join(missing)}"] if missing else []
    return (sizes, *said, *_controlling(report), *unsaid, *report.notes)


def _controlling(report: LabelReport) -> tuple[str, ...]:
    """How to leave what the labels follow out of a reward; empty if nothing is beyond its limit."""
    beyond = {check.name for check in report.checks if check.status in ("warned", "stopped")}
    marks = [row.feature for row in report.marks if not math.isnan(row.effect.value)][:1] if "mark" in beyond else []
    names = [*([LENGTH] if "longer_wins" in beyond else []), *marks]
    if not (able := [name for name in names if problem(name) is None]):
        return ()
    given = f"train.remedies.controlled='{json.dumps(able)}'"
    head = "with --set model.head=new if the base model is a reward model"
    return (f"where such a mark says nothing of quality, leave it out of the reward, {head}: --set {given}",)


_WORDS = {"stopped": "stops", "warned": "warning", "holds": "fine"}


def _worst(checks: tuple[LabelResult, ...]) -> list[LabelResult]:
    """The worst result of each name, the worst first."""
    found: dict[str, LabelResult] = {}
    for check in checks:
        known = found.get(check.name)
        if known is None or _WORST_FIRST.index(check.status) < _WORST_FIRST.index(known.status):
            found[check.name] = check
    return sorted(found.values(), key=lambda check: _WORST_FIRST.index(check.status))
