"""The answer of each section of the page in one line, so that it can stay closed."""

from __future__ import annotations

import math
from collections import Counter

from rm.audit.records import AuditReport, OverpaidRow
from rm.gate.checks import DEFAULT_CHECKS, LENGTH_FOLLOWING
from rm.gate.decision import GateDecision
from rm.labels.records import LabelReport
from rm.probes.results import ProbeResult
from rm.report import picks
from rm.report.reasons import blind
from rm.report.tables import best_of_n_series, feature_rows, judged, levels, unexpected
from rm.report.text import count, number, percent, points, things
from rm.report.twins import worst_first
from rm.stats.finding import Finding

_METER = next(check.max_value for check in DEFAULT_CHECKS if check.name == LENGTH_FOLLOWING) or 0.0
"""A correlation with length beyond this makes a model a length meter to the default policy."""
_LARGE = 10
"""From here on decimals say nothing."""


def _known(finding: Finding | None) -> bool:
    return finding is not None and math.isfinite(finding.estimate)


def overpaid(report: AuditReport) -> str:
    """The features that are named, and the smallest one that would have been."""
    table = report.overpaid
    if table is None or not table.follows_labels:
        return f"Nothing could be tested. {blind(report)}"
    named = [row for row in table.rows if row.verdict == "named"]
    counts = Counter(row.verdict for row in table.rows)
    tested = len(table.rows) - counts["untestable"]
    if not tested:
        return "Nothing could be tested: too few pairs differ in any feature."
    if not named:
        none = f"None of {count(tested)} tested features is shown to be paid or punished beyond what the labels support"
        follows = report.find("length_following")
        meter = follows is not None and (follows.ci_low > _METER or follows.ci_high < -_METER)
        return f"{none}{'; labels that follow length cannot show it of length' if meter else ''}."
    first = ", ".join(f"{feature_name(row)} by at least {points(row.bound)} points" for row in named[:3])
    return f"{count(len(named))} of {count(tested)} tested features: {first}."


def feature_name(row: OverpaidRow) -> str:
    """A feature, with the kind of prompt if it is within one."""
    return row.feature if row.within is None else f"{row.feature} (prompts: {row.within})"


def deciles(report: AuditReport) -> str:
    """Accuracy where the shorter and where the longer response is right."""
    shorter, longer = report.find("accuracy_shorter_chosen"), report.find("accuracy_longer_chosen")
    if shorter is None or longer is None or not (_known(shorter) or _known(longer)):
        return ""
    one, other = percent(shorter.estimate), percent(longer.estimate)
    if _known(shorter) and _known(longer):
        return f"It is right in {one} where the shorter response is better, in {other} where the longer one is."
    share, which = (one, "shorter") if _known(shorter) else (other, "longer")
    return f"It is right in {share} where the {which} response is better."


def length(report: AuditReport) -> str:
    """Which response it prefers by length, and which is better."""
    model, label = report.find("length_preference_model"), report.find("length_preference_label")
    if model is None or label is None or not (_known(model) and _known(label)):
        return ""
    return f"It prefers the longer response in {percent(model.estimate)} of the pairs, annotators in " + (
        f"{percent(label.estimate)}."
    )


def style(report: AuditReport) -> str:
    """How many features weigh more than the labels explain."""
    rows = feature_rows(report)
    used = [row.feature for row in rows if row.is_overused]
    named = f": {', '.join(used)}" if used else ""
    weigh = "weighs" if len(used) == 1 else "weigh"
    return f"{len(used)} of {len(rows)} features of style {weigh} other than the labels explain{named}."


def floors(report: AuditReport) -> str:
    """The accuracies side by side."""
    return "; ".join(f"{level.title} {percent(level.accuracy)}" for level in levels(report)) + "."


def probes(report: AuditReport) -> str:
    """How many edits are not answered as they should be, and the worst."""
    tried = judged(report.probes)
    wrong = unexpected(tried)
    if not report.probes:
        return "No response was edited; rewards were computed in several ways."
    if not tried:
        return "No edit has a result that could be judged."
    worst = f", such as: {max(wrong, key=_distance).about}" if wrong else "."
    return f"Not answered as they should be: {len(wrong)} of {things(len(tried), 'edit')}{worst}"


def _distance(result: ProbeResult) -> float:
    """How far the win rate is beyond its limits."""
    rate = result.win_rate.estimate
    return max(rate - (1.0 if result.high is None else result.high), (result.low or 0.0) - rate)


def pressure(report: AuditReport) -> str:
    """Each series at its largest number of candidates."""
    ends = [(series, series.points[-1]) for series in best_of_n_series(report)]
    parts = [
        f"{series.title.lower()}: {_short(point.picked.estimate)}, of {point.num_offered}"
        for series, point in ends
        if _known(point.picked)
    ]
    return f"{'; '.join(parts).capitalize()}." if parts else ""


def _short(value: float) -> str:
    return number(value) if abs(value) < _LARGE else f"{value:,.0f}"


def candidates(report: AuditReport) -> str:
    """How often the judge prefers its picks, and how often they are the longest, if all candidates are offered."""
    *_, row = picks.offered(report.findings)
    parts = []
    if row.wins and all(map(_known, row.wins.values())):
        model, *others = (percent(one.estimate) for one in row.wins.values())
        against = f"a random one in {others[0]}, the longest in {others[1]}, the best one in {others[2]}"
        parts.append(f"The judge prefers its pick in {model}, {against}.")
    if row.longest is not None and row.chance is not None and _known(row.longest):
        by_chance = f"by chance {percent(row.chance.estimate)}"
        parts.append(f"The pick is the longest in {percent(row.longest.estimate)} ({by_chance}).")
    return " ".join(parts)


def twins(report: AuditReport) -> str:
    """What changes on the worst kind of twin."""
    worst, *others = worst_first(report.twins)
    found, kind = worst.by_kind, worst.kind or ""
    if others:
        kind = f"{kind}, the worst of {count(len(others) + 1)} kinds"
    change = "the rewards of the originals are all equal"
    if _known(found["twin_change"]):
        change = f"the reward changes by {number(found['twin_change'].estimate)} standard deviations"
    if worst.num_pairs:
        lost, gained = (percent(found[side].estimate) for side in ("twin_lost", "twin_gained"))
        change = f"{lost} of the pairs go from right to wrong, {gained} from wrong to right; {change}"
    return f"Twins{f' ({kind})' if kind else ''}: {change}."


def calibration(report: AuditReport) -> str:
    """How far it is from as sure as it is right."""
    error, slope = report.find("calibration_error"), report.find("calibration_slope")
    if error is None or slope is None or not _known(error):
        return ""
    size = f"off by about {points(max(error.estimate, 0.0))} points"
    if not all(map(math.isfinite, (slope.estimate, slope.ci_low, slope.ci_high))):
        return f"Its sureness is {size}; whether it is too sure cannot be told."
    sure = (
        "too sure" if slope.ci_high < 1 else "not sure enough" if slope.ci_low > 1 else "about as sure as it is right"
    )
    return f"It is {sure}: {size}."


def words(report: AuditReport) -> str:
    """How many words are overpaid or over-punished."""
    if report.words is None:
        return "Words of the highest rewards."
    found = ", ".join(
        f"\N{LEFT DOUBLE QUOTATION MARK}{one.phrase}\N{RIGHT DOUBLE QUOTATION MARK}" for one in report.words.found[:5]
    )
    if not report.words.num_tested:
        return "No word is in enough pairs to be tested."
    total = f"{count(report.words.num_found)} of {count(report.words.num_tested)} words and word pairs"
    return f"Overpaid or over-punished: {total}{f', such as {found}' if found else ''}."


def subsets(report: AuditReport) -> str:
    """The subset with the lowest accuracy."""
    found = [one for rows in report.subsets.values() for one in rows if _known(one)]
    if not found:
        return ""
    worst = min(found, key=lambda one: one.estimate)
    division, pairs = worst.labels.get("division", "subset"), things(worst.num_pairs, "pair")
    return f"By {division}, {worst.name}: right in {percent(worst.estimate)} of {pairs}."


def champion(report: AuditReport) -> str:
    """Difference in accuracy."""
    found = report.find("over_champion", of="accuracy")
    if found is None:
        return ""
    if not math.isfinite(found.estimate):
        return f"Not compared: {found.detail}."
    size = points(abs(found.estimate))
    side = f"{size} points {'above' if found.estimate > 0 else 'below'} " if float(size) else ""
    span = f"{points(found.ci_low)} to {points(found.ci_high)}"
    return f"Its accuracy is {side}that of the one in use (difference: {span})."


def flaws(report: AuditReport) -> str:
    """Accuracy over all kinds of flaws."""
    return f"Right in {percent(report.flaws[-1].estimate)} of {things(report.flaws[-1].num_pairs, 'such pair')}."


def mistakes(report: AuditReport) -> str:
    """How many are shown."""
    worst = min(one.margin for one in report.examples)
    return f"{things(len(report.examples), 'pair')}; the worst has a margin of {number(worst)}."


def labels(found: LabelReport | None) -> str:
    """How many checks of labels warn."""
    if found is None:
        return ""
    warned = sum(check.status in ("warned", "stopped") for check in found.checks)
    held = sum(check.status == "holds" for check in found.checks)
    return f"{things(warned, 'warning')}; {count(held)} of {count(len(found.checks))} checks hold."


def gate(decision: GateDecision) -> str:
    """How many checks hold."""
    held = sum(check.status == "passed" for check in decision.checks)
    blocking = sum(check.blocks for check in decision.checks)
    out = f"; {count(blocking)} of the others keep{'s' if blocking == 1 else ''} the model out" if blocking else ""
    return f"{count(held)} of {count(len(decision.checks))} checks hold{out}."


def numbers(report: AuditReport) -> str:
    """How many there are."""
    return f"{count(len(report.findings))} findings under the names that policies and programs use."


def provenance(report: AuditReport) -> str:
    """What was audited, on how much."""
    return f"{report.provenance.base} on {things(report.provenance.num_heldout_prompts, 'held-out prompt')}."
