"""The rows that the page shows: style features, accuracies to compare with, probes, and best of N."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from rm.audit.records import AuditReport
from rm.probes.results import ProbeResult
from rm.stats.finding import Finding

Outcome = Literal["as expected", "in doubt", "not as expected", "only reported", "undefined"]
_BASELINES = {"length": "length only", "style": "style only", "words": "bag of words"}
_BEST_OF_N = {
    ("responses", "length"): ("Length of the response that is picked", "length over the mean"),
    ("responses", "preferred"): ("How often annotators preferred it", "share over the mean"),
    ("edits", "edited"): ("How often it is an edited copy", "share over the mean"),
    ("edits", "length"): ("Characters of the picked copy", "characters over the mean"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureRow:
    """Coefficients of one style feature."""

    feature: str
    label: Finding | None
    model: Finding | None
    added: Finding | None
    """What the model adds, given the label."""

    @property
    def is_overused(self) -> bool:
        """Whether the model clearly adds a preference of its own."""
        return self.added is not None and (self.added.ci_low > 0 or self.added.ci_high < 0)


def feature_rows(report: AuditReport) -> tuple[FeatureRow, ...]:
    """One row per feature, in the order of the findings."""
    features = dict.fromkeys(one.labels["feature"] for one in report.select("coefficient"))
    return tuple(
        FeatureRow(
            feature=feature,
            label=report.find("coefficient", of="label", feature=feature),
            model=report.find("coefficient", of="model", feature=feature),
            added=report.find("coefficient", of="added", feature=feature),
        )
        for feature in features
        if feature != "label"
    )


class Level(NamedTuple):
    """An accuracy to compare the model's with, or the model's own."""

    title: str
    kind: Literal["baseline", "champion", "model", "ceiling"]
    accuracy: float
    finding: Finding | None
    """None if the number has no interval."""


def levels(report: AuditReport) -> tuple[Level, ...]:
    """The accuracies that were measured, from the coin to the annotators."""
    found = [Level("a coin", "baseline", 0.5, None)]
    for baseline, title in _BASELINES.items():
        found += _level(report.find("baseline_accuracy", baseline=baseline), title, "baseline")
    champion = _champion_accuracy(report)
    if champion is not None:
        found.append(Level("champion", "champion", champion, None))
    found += _level(report.find("accuracy"), "this model", "model")
    found += _level(report.find("label_ceiling"), "one annotator", "ceiling")
    return tuple(found)


def _level(finding: Finding | None, title: str, kind: Literal["baseline", "model", "ceiling"]) -> list[Level]:
    known = finding is not None and math.isfinite(finding.estimate)
    return [Level(title, kind, finding.estimate, finding)] if finding is not None and known else []


def _champion_accuracy(report: AuditReport) -> float | None:
    """The champion's, by the paired difference on the pairs that both models have scored."""
    accuracy, ahead = report.find("accuracy"), report.find("over_champion", of="accuracy")
    if accuracy is None or ahead is None or not math.isfinite(ahead.estimate):
        return None
    return accuracy.estimate - ahead.estimate


def families(results: Sequence[ProbeResult]) -> dict[str, list[ProbeResult]]:
    """The probes of each family, in their order."""
    grouped: dict[str, list[ProbeResult]] = {}
    for result in results:
        grouped.setdefault(result.family, []).append(result)
    return grouped


def outcome(result: ProbeResult) -> Outcome:
    """What a probe found. "In doubt": the win rate is on the right side of 1/2, or within its limits, but not both."""
    rate = result.win_rate.estimate
    if result.expected == "report":
        return "only reported"
    if result.as_expected is None or math.isnan(rate):
        return "undefined"
    within = (result.low or 0.0) <= rate <= (1.0 if result.high is None else result.high)
    if result.as_expected != within:
        return "in doubt"
    return "as expected" if within else "not as expected"


def judged(results: Sequence[ProbeResult]) -> tuple[ProbeResult, ...]:
    """The probes whose result is as expected or not: neither only reported nor undefined."""
    return tuple(result for result in results if outcome(result) not in ("only reported", "undefined"))


def unexpected(results: Sequence[ProbeResult]) -> tuple[ProbeResult, ...]:
    """The probes that a person should look at."""
    return tuple(result for result in results if outcome(result) in ("not as expected", "in doubt"))


def unexpected_first(results: Sequence[ProbeResult], most: int) -> tuple[ProbeResult, ...]:
    """At most so many probes in their order: those that a person should look at, and others if there is room."""
    first = sorted(results, key=lambda result: result not in unexpected(results))[:most]
    return tuple(result for result in results if result in first)


def ordered(results: Sequence[ProbeResult]) -> tuple[ProbeResult, ...]:
    """The probes with several ordered doses."""
    return tuple(result for result in results if result.dose_response is not None and len(result.doses) > 1)


def allowed(result: ProbeResult) -> str:
    """Limits on the win rate, in words."""
    if result.low is None and result.high is None:
        return "anything"
    if result.low is None:
        return f"at most {result.high:g}"
    return f"at least {result.low:g}" if result.high is None else f"{result.low:g} to {result.high:g}"


def invariance_rows(report: AuditReport) -> tuple[tuple[str, Finding | None, Finding | None], ...]:
    """One row per way of scoring: the way, the largest difference of a reward, the pairs that change order."""
    kinds = ("invariance_difference", "invariance_flips")
    found = {kind: {one.labels["way"]: one for one in report.select(kind)} for kind in kinds}
    ways = dict.fromkeys(way for by_way in found.values() for way in by_way)
    return tuple((way.replace("_", " "), found[kinds[0]].get(way), found[kinds[1]].get(way)) for way in ways)


class Point(NamedTuple):
    """One number of candidates."""

    num_offered: int
    picked: Finding
    gain: Finding | None
    """None for one candidate, since nothing is picked."""

    @property
    def divergence(self) -> float:
        """Upper bound on the KL divergence from picking at random, in nats: ln N - (N - 1) / N."""
        return math.log(self.num_offered) - (self.num_offered - 1) / self.num_offered


class Series(NamedTuple):
    """One value of the picked candidate, by number of candidates."""

    title: str
    ylabel: str
    points: tuple[Point, ...]


def best_of_n_series(report: AuditReport) -> tuple[Series, ...]:
    """Every series that was measured for at least two numbers of candidates."""
    series = (
        Series(title, ylabel, _points(report, among, value)) for (among, value), (title, ylabel) in _BEST_OF_N.items()
    )
    return tuple(one for one in series if len(one.points) > 1)


def _points(report: AuditReport, among: str, value: str) -> tuple[Point, ...]:
    return tuple(
        Point(int(picked.labels["n"]), picked, report.find("best_of_n_gain", **picked.labels))
        for picked in report.select("best_of_n", among=among, value=value)
    )
