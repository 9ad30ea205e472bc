"""What was measured, held against the limits of the configuration."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from rm.labels import marks
from rm.labels.config import LabelCheck
from rm.labels.records import LabelReport, LabelResult
from rm.stats.finding import Finding
from rm.stats.sufficiency import MIN_CLUSTERS


class _Measured(NamedTuple):
    """What a check looks at."""

    value: float
    """Held against the limit: for an estimate the bound that is nearer to what is fine."""
    text: str


def judge(report: LabelReport, checks: Sequence[LabelCheck]) -> tuple[LabelResult, ...]:
    """The result of every check, in their order.

    Parameters
    ----------
    report : LabelReport
        Its own ``checks`` are not looked at.
    checks : sequence of LabelCheck
    """
    return tuple(_result(check, _OF[check.name](report)) for check in checks)


def _result(check: LabelCheck, measured: _Measured | None) -> LabelResult:
    if measured is None or math.isnan(measured.value):
        what = f"{check.name}: " + ("nothing to measure it on" if measured is None else "too few to say")
        return LabelResult(**check.model_dump(), status="not measured", reason=what)
    if measured.value <= check.limit:
        return LabelResult(**check.model_dump(), status="holds", reason=f"{measured.text}; limit {check.limit:g}")
    beyond = f"{measured.text}, beyond the limit of {check.limit:g} (labels.checks, {check.name})"
    return LabelResult(**check.model_dump(), status="stopped" if check.action == "stop" else "warned", reason=beyond)


def _shown(found: Finding, *, rest: bool = False) -> str:
    """A share, or what is left of it, with its interval."""
    numbers = found.estimate, found.ci_low, found.ci_high
    value, low, high = (1 - numbers[0], 1 - numbers[2], 1 - numbers[1]) if rest else numbers
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _longer_wins(report: LabelReport) -> _Measured | None:
    found = report.find("label_longer_wins")
    if found is None:
        return None
    shorter = 1 - found.ci_high > found.ci_low
    which = "shorter" if shorter else "longer"
    text = f"the {which} response wins {_shown(found, rest=shorter)} of the votes"
    return _Measured(1 - found.ci_high if shorter else found.ci_low, text)


def _mark(report: LabelReport) -> _Measured | None:
    known = [row for row in report.marks if not math.isnan(row.effect.low)]
    if not known:
        return None
    row = known[0]
    value, low, high = row.effect.value, row.effect.low, row.effect.high
    side = "more"
    if value < 0:
        side, value, low, high = "less", -value, -high, -low
    text = f"labels favour {side} of {row.feature!r} by {value:.3f} [{low:.3f}, {high:.3f}] of win probability"
    return _Measured(marks.least(row.effect), text)


def _accuracy(kind: str) -> Callable[[LabelReport], _Measured | None]:
    def measured(report: LabelReport) -> _Measured | None:
        found = report.find(f"label_{kind}_accuracy")
        return (
            None
            if found is None
            else _Measured(found.ci_low, f"{kind} alone, without a prompt, guesses {_shown(found)} of the labels")
        )

    return measured


def _giveaways(report: LabelReport) -> _Measured:
    names = _some(f"{one.name} ({one.wins:.3f} of the votes for it)" for one in report.giveaways)
    count = len(report.giveaways)
    what = "1 mark or phrase nearly decides" if count == 1 else f"{count} marks and phrases nearly decide"
    return _Measured(count, f"{what} the label{': ' if names else ''}{names}")


def _order(report: LabelReport) -> _Measured | None:
    found = report.find("label_order")
    if found is None or not found.num_pairs:
        return None
    value = max(found.ci_low - 0.5, 0.5 - found.ci_high, 0.0)
    text = f"the first response of the snapshot wins {_shown(found)} of the votes"
    return _Measured(value, f"{text}, at least {value:.3f} from one half")


def _swap(report: LabelReport) -> _Measured | None:
    found = [one for kind in ("style", "words") if (one := report.find(f"label_swap_{kind}")) is not None]
    if not found:
        return None
    worst = max(found, key=lambda one: abs(one.estimate))
    value = abs(worst.estimate)
    return _Measured(value, f"a model of flipped labels is {value:.3f} from one minus the accuracy")


def _disagreement(report: LabelReport) -> _Measured | None:
    found = report.find("label_agreement")
    if found is None:
        return None
    return _Measured(1 - found.ci_high, f"two votes on one pair differ in {_shown(found, rest=True)}")


def _annotators(report: LabelReport) -> _Measured | None:
    tested = [row for row in report.annotators if row.agreement.is_tested or row.longer_wins.is_tested]
    if not tested:
        return None
    far = [row for row in report.annotators if row.is_far]
    names = _some(
        f"{row.annotator} (agreement {row.agreement.own.value:.2f}, others {row.agreement.others:.2f}; longer wins "
        f"{row.longer_wins.own.value:.2f}, others {row.longer_wins.others:.2f})"
        for row in far
    )
    are = "is" if len(far) == 1 else "are"
    text = f"{len(far)} of {len(tested)} annotators {are} far from the others{': ' if names else ''}{names}"
    return _Measured(len(far), text)


def _source_contradictions(report: LabelReport) -> _Measured | None:
    found = report.find("label_source_contradictions")
    if found is None or not found.num_pairs:
        return None
    return _Measured(found.ci_low, f"sources contradict each other on {_shown(found)} of the pairs that several have")


def _near_duplicates(report: LabelReport) -> _Measured | None:
    found = report.find("label_near_duplicates")
    if found is None:
        return None
    value = found.estimate if found.num_pairs >= MIN_CLUSTERS else math.nan
    return _Measured(value, f"{found.estimate:.3f} of the held-out prompts are near-duplicates of training prompts")


def _benchmarks(report: LabelReport) -> _Measured | None:
    sought = {row: row.num_prompts - row.num_skipped for row in report.benchmarks}
    shares = {row.benchmark: row.num_train / count for row, count in sought.items() if count}
    if not shares:
        return None
    worst = max(shares, key=lambda name: shares[name])
    return _Measured(shares[worst], f"{shares[worst]:.3f} of the prompts of {worst} are trained on")


def _drift(report: LabelReport) -> _Measured | None:
    if not report.drift:
        return None
    row = report.drift[0]
    bound = max(row.change.low, -row.change.high)
    text = f"since the last snapshot {row.name} changed by {row.change.value:+.2f} standard deviations"
    return _Measured(max(bound, 0.0), f"{text} [{row.change.low:.2f}, {row.change.high:.2f}]")


def _some(parts: Iterable[str]) -> str:
    """The first three, and how many more."""
    every = list(parts)
    return ", ".join(every[:3]) + (f" and {len(every) - 3} more" if len(every) > 3 else "")


_OF: dict[str, Callable[[LabelReport], _Measured | None]] = {
    "longer_wins": _longer_wins,
    "mark": _mark,
    "style_accuracy": _accuracy("style"),
    "words_accuracy": _accuracy("words"),
    "giveaways": _giveaways,
    "order": _order,
    "swap": _swap,
    "disagreement": _disagreement,
    "annotators": _annotators,
    "source_contradictions": _source_contradictions,
    "near_duplicates": _near_duplicates,
    "benchmarks": _benchmarks,
    "drift": _drift,
}
"""What each check of `rm.labels.config.MEASURES` looks at."""
