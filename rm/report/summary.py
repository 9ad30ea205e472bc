"""An audit for a person who decides in a minute: the verdict, why, what to do next, and what could not be seen."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rm.audit import sizes
from rm.audit.records import AuditReport
from rm.gate.decision import CheckResult, GateDecision, Verdict
from rm.gate.paid_for import paid_for
from rm.probes.catalog import MIN_EDITS
from rm.remedies import candidates
from rm.remedies.config import RemediesConfig
from rm.remedies.controllable import LENGTH
from rm.report import reasons
from rm.report.reasons import Reason
from rm.report.text import count, things
from rm.stats.finding import Record

MOST_REASONS = 3
_MOST_REMEDIES = 3
_MEANINGS: dict[Verdict, str] = {
    "passed": "Every check holds: use it, and audit it again on responses of the policy that is trained with it.",
    "passed_with_warnings": "Nothing keeps it out, but read the warnings before you use it.",
    "failed": "Do not train a policy with this reward model: the policy would learn its faults.",
    "inconclusive": "Not shown to be sound, nor to be biased: do not use it before the open checks are decided.",
}
_LAST: dict[Verdict, str] = {
    "passed": "Register it; watch length and style of the policy that is trained with it.",
    "passed_with_warnings": "Decide whether the warnings matter for your use; none of them keeps it out.",
}
_AGAIN = "Repair what is said above, and audit again."
_NO_EDITS = "Causes: no response was edited and scored again."
_NO_POLICY = "What a policy would find that is trained against these rewards."


_SEARCH = "Or train with remedies against it: rmflow run --remedy"
_TRIED = "Control for length was tried. Add pairs in which length misleads, and retrain."


class Summary(Record):
    """What stands on the first screen of the page, at the head of the other reports, and in the terminal."""

    verdict: Verdict
    meaning: str
    """One sentence."""
    reasons: tuple[Reason, ...]
    """At most three: what keeps the model out, or else the warnings."""
    num_more: int
    """Further reasons; checks that say the same count once."""
    next_steps: tuple[str, ...]
    """One to three sentences."""
    unseen: tuple[str, ...]
    """What a pass would say nothing about; one to three sentences."""

    @property
    def title(self) -> str:
        """The verdict in capital letters."""
        return self.verdict.replace("_", " ").upper()


def after_search(summary: Summary, controlled: Collection[str]) -> Summary:
    """The summary without the advice to search for a remedy, and to train with one that the search has tried.

    Parameters
    ----------
    summary : Summary
    controlled : collection of str
        What trainings of the search controlled for. Who trains so again has the same model, which the choosing prompts
        have rejected, judged by all held-out prompts.
    """
    steps = tuple(step for step in summary.next_steps if not step.startswith(_SEARCH))
    if LENGTH in controlled:
        steps = tuple(_TRIED if step.startswith(reasons.CONTROL) else step for step in steps)
    return summary.model_copy(update={"next_steps": steps})


def summarize(report: AuditReport, decision: GateDecision) -> Summary:
    """The summary of an audit and its verdict.

    Parameters
    ----------
    report : AuditReport
    decision : GateDecision
    """
    in_order = sorted(_open(decision), key=lambda check: reasons.rank(check, report))
    found = [_reason(check, report) for check in in_order]
    # Beside what failed, what is undecided reads like one more fault.
    faults = [one for one, check in zip(found, in_order, strict=True) if check.status == "failed"]
    shown = _chosen(faults if decision.verdict == "failed" and faults else found, reasons.gain_without_length(report))
    return Summary(
        verdict=decision.verdict,
        meaning=_MEANINGS[decision.verdict],
        reasons=shown,
        num_more=len({one.text for one in found} - {one.text for one in shown}),
        next_steps=_steps(shown, found, decision.verdict, _search(report, decision)),
        unseen=_unseen(report),
    )


def lines(summary: Summary) -> tuple[str, ...]:
    """The summary as at most eight lines of plain text."""
    kind = "Warn" if summary.verdict == "passed_with_warnings" else "Why"
    more = f" ({count(summary.num_more)} more failed or undecided: see the report)" if summary.num_more else ""
    return (
        f"{summary.title}. {summary.meaning}{more}",
        *(f"  {kind}: {one.text}" for one in summary.reasons),
        *(f"  Next: {step}" for step in summary.next_steps),
        f"  Not seen: {' '.join(summary.unseen)}",
    )


def _open(decision: GateDecision) -> list[CheckResult]:
    """The checks that keep the model out; else those that do not hold."""
    blocking = [check for check in decision.checks if check.blocks]
    return blocking or [check for check in decision.checks if check.status != "passed"]


def _reason(check: CheckResult, report: AuditReport) -> Reason:
    found = reasons.reason(check, report)
    if check.waiver is None:
        return found
    vouched = f"{check.waiver.by} vouches for it until {check.waiver.expires}"
    return found.model_copy(update={"text": f"{found.text} ({vouched}: {check.waiver.reason})"})


def _chosen(found: Sequence[Reason], gain: Reason | None) -> tuple[Reason, ...]:
    """At most three that say different things, on different topics first; the gain follows a reason about length."""
    different = list({one.text: one for one in reversed(found)}.values())[::-1]
    first_of_topic = list({one.topic: one for one in reversed(different)}.values())
    ahead = [one for one in different if one in first_of_topic]
    in_order = [*ahead, *(one for one in different if one not in ahead)]
    if gain is not None:
        others = [one for one in in_order if one.text != gain.text]
        place = next((index + 1 for index, one in enumerate(others[:MOST_REASONS]) if one.topic == "length"), None)
        if place is not None:
            in_order = [*others[:place], gain, *others[place:]]
    return tuple(in_order[:MOST_REASONS])


def _steps(shown: Sequence[Reason], found: Sequence[Reason], verdict: Verdict, search: str) -> tuple[str, ...]:
    """What to do about each reason, each thing once; more pairs alone repair nothing that failed.

    Where nothing failed, the pairs are those that decide all that keeps the model out, whether it is shown or not.
    """
    given = list(dict.fromkeys(one.remedy for one in shown if one.remedy))
    deciding = found if verdict == "inconclusive" else shown
    needed = max((one.more_pairs for one in deciding if one.more_pairs is not None), default=None)
    if needed is not None and not (given and verdict == "failed"):
        given.append(f"Audit on about {things(needed, 'more held-out pair')}.")
    if verdict in ("passed", "passed_with_warnings") or not given:
        given = [*given[: MOST_REASONS - 1], _LAST.get(verdict, _AGAIN)]
    return (*given[: MOST_REASONS - 1], search) if search else tuple(given)


def _search(report: AuditReport, decision: GateDecision) -> str:
    """The command that tries the remedies of training which are for what failed; empty if there is none.

    Nothing of a model that this pipeline did not train.
    """
    if decision.verdict != "failed" or report.provenance.num_train_pairs is None:
        return ""
    failed = [check.name for check in decision.checks if check.status == "failed" and check.severity == "hard"]
    training = report.provenance
    present = RemediesConfig(controlled=training.controlled, **training.remedy_shares)
    biases, paid = candidates.biases(failed), paid_for(report, failed)
    possible = candidates.candidates(biases, present, paid, keeps_head=training.keeps_head)
    named = "; ".join(remedy.name for remedy in possible[:_MOST_REMEDIES])
    return f"{_SEARCH} ({named})." if named else ""


def _unseen(report: AuditReport) -> tuple[str, ...]:
    few = [each for each in report.probes if each.expected != "report" and each.num_parents < MIN_EDITS]
    lines = [_sizes(report)]
    if not report.probes:
        lines.append(_NO_EDITS)
    elif few:
        lines.append(f"Edits that were tried too rarely to say what they do: {len(few)} of {len(report.probes)}.")
    lines.append(_NO_POLICY)
    return tuple(line for line in lines if line)


def _sizes(report: AuditReport) -> str:
    """How large a bias could have stayed unseen, by family."""
    if report.overpaid is None:
        return ""
    if not report.overpaid.follows_labels:
        why = "without an error" if report.overpaid.never_wrong else "where rewards and labels do not go together"
        return f"Any overpaid feature: {why}, none can be tested."
    seen = seen_from(report)
    known = {family: size for family, size in seen.items() if size is not None and size < 1}
    rare = [family for family, size in seen.items() if size is None]
    blind = [family for family, size in seen.items() if size is not None and size >= 1]
    others = sorted((size, family) for family, size in known.items() if family != "length")
    parts = [f"length below {_whole(known['length'])} of win probability"] if "length" in known else []
    if others:
        ends = [f"{_whole(size)} ({family})" for size, family in dict.fromkeys((others[0], others[-1]))]
        parts.append(f"other features below {' to '.join(ends)}")
    said = [f"Small biases: {', '.join(parts)}."] if parts else []
    if blind:
        said.append(f"Too few pairs to be sure to see a bias of any size: {', '.join(blind)}.")
    if rare:
        said.append(f"Hardly any pairs differ in: {', '.join(rare)}.")
    return " ".join(said)


def _whole(size: float) -> str:
    """Whole points; below one it is one."""
    return things(max(round(100 * size), 1), "point")


def seen_from(report: AuditReport) -> dict[str, float | None]:
    """`rm.audit.sizes.seen_from` of a report; empty if nothing was tested."""
    accuracy = report.find("accuracy")
    if report.overpaid is None or accuracy is None:
        return {}
    return sizes.seen_from(report.overpaid.rows, accuracy.num_pairs)
