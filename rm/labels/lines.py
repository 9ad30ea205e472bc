"""An audit of labels in about ten lines."""

from __future__ import annotations

from rm.labels.records import LabelReport, LabelResult

_WORST_FIRST = ("stopped", "warned", "not measured", "holds")


def lines(report: LabelReport) -> tuple[str, ...]:
    """How much was looked at, and what became of every check; a check that warns and stops is said once."""
    worst = _worst(report.checks)
    said = [f"{_WORDS[check.status]}: {check.reason}" for check in worst if check.status != "not measured"]
    missing = [check.name for check in worst if check.status == "not measured"]
    sizes = (
        f"{report.num_votes:,} judgements of {report.num_prompts:,} prompts by {len(report.annotators):,} named "
        f"annotators; {report.num_pairs:,} training pairs read"
    )
    unsaid = [f"not measured, or too few to say: {', '.join(missing)}"] if missing else []
    return (sizes, *said, *unsaid, *report.notes)


_WORDS = {"stopped": "stops", "warned": "warning", "holds": "fine"}


def _worst(checks: tuple[LabelResult, ...]) -> list[LabelResult]:
    """The worst result of each name, the worst first."""
    found: dict[str, LabelResult] = {}
    for check in checks:
        known = found.get(check.name)
        if known is None or _WORST_FIRST.index(check.status) < _WORST_FIRST.index(known.status):
            found[check.name] = check
    return sorted(found.values(), key=lambda check: _WORST_FIRST.index(check.status))
