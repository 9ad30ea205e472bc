"""What each style feature says of the labels and of the model, side by side."""

from __future__ import annotations

from dataclasses import dataclass

from rm.audit.records import AuditReport
from rm.stats.finding import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureRow:
    """Coefficients of one feature."""

    feature: str
    label: Finding | None
    model: Finding | None
    added: Finding | None
    """What the model adds where the label is known."""

    @property
    def is_overused(self) -> bool:
        """Whether the model clearly adds a preference of its own."""
        return self.added is not None and (self.added.ci_low > 0 or self.added.ci_high < 0)


def feature_rows(report: AuditReport) -> tuple[FeatureRow, ...]:
    """One row a feature, in the order of the findings."""
    found: dict[str, dict[str, Finding]] = {}
    for finding in report.findings:
        for side in ("label", "model", "added"):
            prefix = f"{side}_coefficient_"
            if finding.name.startswith(prefix) and finding.name != "added_coefficient_label":
                found.setdefault(finding.name.removeprefix(prefix), {})[side] = finding
    return tuple(
        FeatureRow(
            feature=feature.replace("_", " "), label=by.get("label"), model=by.get("model"), added=by.get("added")
        )
        for feature, by in found.items()
    )
