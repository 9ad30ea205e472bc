"""The trail of a search for a remedy: as a page, as lines of plain text, and as Markdown."""

from __future__ import annotations

from rm.challengers.trail import ENDINGS, Trail, Try
from rm.report.figures.drawing import Drawn
from rm.report.figures.trade_off import Point, trade_off
from rm.report.html import rendered
from rm.report.markdown import escaped, table
from rm.report.text import number, plain, points
from rm.stats.finding import Finding

_VERDICTS = {
    "passed": "passed",
    "passed_with_warnings": "passed with warnings",
    "failed": "failed",
    "inconclusive": "undecided",
}


def page(trail: Trail) -> str:
    """The HTML page; it loads nothing and runs nothing."""
    return rendered(
        "remedies.html.j2",
        "page.css",
        "rm.challengers",
        trail=trail,
        title=title(trail),
        outcome=outcome(trail),
        ending=ENDINGS[trail.ending],
        tries=_all(trail),
        figure=figure(trail),
        verdicts=_VERDICTS,
        missed=missed,
        judged=trail.judged,
    )


def figure(trail: Trail) -> Drawn | None:
    """Accuracy against the worst bias of all models that have both; None if none has."""
    shown = [
        Point(each.title, each.standing.accuracy, each.standing.worst_bias, not each.remedy)
        for each in _all(trail)
        if each.standing is not None and each.standing.worst_bias is not None
    ]
    return trade_off(shown) if shown else None


def title(trail: Trail) -> str:
    """How it ended, in a few words."""
    return f"Passed with {trail.remedy}" if trail.remedy else "No remedy passed"


def outcome(trail: Trail) -> str:
    """How it ended, in one or two sentences."""
    if trail.refused is not None:
        return (
            f'"{trail.tries[trail.refused].title}" was chosen, but the prompts that judge have judged another '
            "challenger before: a second look would make it easier to pass. Other held-out prompts are needed, such as "
            "those of new annotations."
        )
    if trail.judged is None:
        if not trail.tries:
            return ENDINGS[trail.ending]
        if all(each.standing is None for each in trail.tries):
            return "No challenger could be audited, so none was judged."
        return (
            "On the prompts on which a remedy is chosen, a hard check failed for every challenger, so none was judged."
        )
    judged = trail.tries[trail.judged.index]
    said = f'"{judged.title}" was chosen, and judged by prompts on which nothing was chosen'
    verdict = _VERDICTS[trail.judged.verdict]
    why = f": {trail.judged.reasons[0].removeprefix('undecided: ')}" if trail.judged.reasons else ""
    return f"{said}: {verdict}{why}."


def lines(trail: Trail) -> tuple[str, ...]:
    """The same for a terminal: how it ended, then each model on the choosing prompts."""
    return (f"{title(trail)}. {outcome(trail)}", *(f"  {_row(each)}" for each in _all(trail)))


def markdown(trail: Trail) -> str:
    """The same for Prefect, with a table."""
    header = ("remedy", "accuracy", "with lengths balanced", "worst bias", "hard checks missed", "minutes")
    rows = (
        (
            each.title,
            _interval(each.standing.accuracy) if each.standing else each.error,
            _balanced(each),
            bias(each),
            missed(each),
            "" if each.minutes is None else f"{each.minutes:.1f}",
        )
        for each in _all(trail)
    )
    parts = [f"## {escaped(title(trail))}", escaped(outcome(trail)), table(header, rows), ENDINGS[trail.ending]]
    return "\n\n".join(parts) + "\n"


def bias(each: Try) -> str:
    """The worst bias of a model, and of what."""
    worst = each.standing and each.standing.worst_bias
    if not worst:
        return "not tested" if each.standing else ""
    return f"{points(worst.estimate)} points ({plain(worst.detail or worst.name)})"


def missed(each: Try) -> str:
    """The hard checks whose limits a model's estimates miss, in words; whether that is shown, too."""
    if each.standing is None:
        return ""
    shown = set(each.standing.failed)
    names = dict.fromkeys((*each.standing.failed, *each.standing.missed))
    return ", ".join(f"{plain(name)} (failed)" if name in shown else plain(name) for name in names) or "none"


def _row(each: Try) -> str:
    if each.standing is None:
        return f"{each.title}: {each.error}"
    right = f"accuracy {_interval(each.standing.accuracy)}"
    if each.standing.balanced is not None:
        right += f", with lengths balanced {number(each.standing.balanced.estimate)}"
    return f"{each.title}: {right}; worst bias {bias(each)}; hard checks missed: {missed(each)}"


def _balanced(each: Try) -> str:
    """The accuracy with lengths balanced."""
    if each.standing is None:
        return ""
    return "undefined" if each.standing.balanced is None else _interval(each.standing.balanced)


def _interval(finding: Finding) -> str:
    return f"{number(finding.estimate)} [{number(finding.ci_low)}, {number(finding.ci_high)}]"


def _all(trail: Trail) -> tuple[Try, ...]:
    return (trail.plain, *trail.tries)
