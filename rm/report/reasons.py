"""Why a check does not hold, in words for a person who knows no name of a finding, and what to do about it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Literal

from rm.audit.records import EVERYTHING, AuditReport
from rm.gate.decision import CheckResult
from rm.remedies import controllable
from rm.report.text import percent, plain, points, things
from rm.stats.finding import Finding, Record

Topic = Literal["scoring", "length", "surface", "heuristics", "edits", "champion", "data", "other"]
_WITHIN = re.compile(r"^(?P<feature>.*) \(prompts: (?P<kind>.*)\)$")
_MOST_NAMED = 3
_COIN = 0.5

CONTROL = "Retrain with train.remedies.controlled: "
"""How the advice to control for length begins."""
_LEARN = "Find out why it learned so little: more or cleaner pairs, a longer training, a larger base model."
_HARDER = "Audit on more pairs, or on pairs that it gets wrong more often."
_CHECK_DATA = (
    "Check the file first: are chosen and rejected, or the sign of the reward, swapped? Are these the right prompts?"
)
_LOOK = "Look at its most confident mistakes, in the report."


class Reason(Record):
    """Why one check does not hold."""

    check: str
    """Name of the check; empty if it is not a check but a finding that explains one."""
    topic: Topic
    family: str = ""
    """Family of features, if it is about one."""
    text: str
    """One or two sentences without identifiers."""
    remedy: str = ""
    """What to do about it; empty if nothing is known, or if more pairs would decide it."""
    more_pairs: int | None = None
    """About how many more held-out pairs would decide it, if it is undecided."""


def reason(check: CheckResult, report: AuditReport) -> Reason:
    """Why a check does not hold.

    Parameters
    ----------
    check : CheckResult
        One that has not passed.
    report : AuditReport
    """
    finding = report.finding(check.name)
    if finding is None:
        subject = plain(check.name)
        text = f"What the policy asks for was not measured: {subject}."
        return Reason(check=check.name, topic="data", text=text, remedy="Measure it, or take it out of the policy.")
    if check.status == "trained_on":
        text = f"The model was trained on what {plain(check.name)} asks, so that passing it shows nothing."
        return Reason(check=check.name, topic="edits", text=text)
    found = _write(check, finding, report)
    if check.undecided and check.more_pairs is not None:
        return found.model_copy(update={"remedy": "", "more_pairs": check.more_pairs})
    return found


def _write(check: CheckResult, finding: Finding, report: AuditReport) -> Reason:
    blind = finding.kind == "visible" and finding.estimate >= 1
    if finding.kind == "probe_win_rate":
        return _probe(check, finding, report)
    if blind or not math.isfinite(finding.estimate):
        return _undefined(check, finding, report)
    if check.undecided and finding.kind in _UNDECIDED and check.why:
        return Reason(check=check.name, topic=_UNDECIDED[finding.kind], text=f"{_not_decided(check, finding)}.")
    return _WRITERS.get(finding.kind, _other)(check, finding, report)


def _not_decided(check: CheckResult, finding: Finding) -> str:
    pairs = f"{things(finding.num_pairs, 'pair')} {'does' if finding.num_pairs == 1 else 'do'}"
    about = f"whether {check.why.partition(':')[0]}" if check.why else f"about {plain(finding.name)}"
    return f"{pairs} not decide {about}"


def rank(check: CheckResult, report: AuditReport) -> tuple[bool, int, int]:
    """Sorts checks: hard ones first, what failed before what is undecided or warns, then by what explains more."""
    finding = report.finding(check.name)
    statuses = ("failed", "waived", "warned", "inconclusive", "trained_on", "passed")
    kinds = list(_WRITERS)
    place = kinds.index(finding.kind) if finding is not None and finding.kind in kinds else len(kinds)
    is_first = finding is not None and finding.is_a("overpaid", family="length")
    return check.severity == "soft", statuses.index(check.status), -1 if is_first else place


def gain_without_length(report: AuditReport) -> Reason | None:
    """That it would be right more often without length, if that is shown."""
    gain, without, accuracy = (
        report.find("gain_without", part="length"),
        report.find("accuracy_without", part="length"),
        report.find("accuracy"),
    )
    if gain is None or without is None or accuracy is None or not gain.ci_low > 0:
        return None
    return Reason(
        check="",
        topic="length",
        text=(
            f"Taking length out of its rewards would make it right {points(gain.estimate)} points more often "
            f"({percent(without.estimate)} of the pairs instead of {percent(accuracy.estimate)})."
        ),
        remedy="Until then, subtract from each reward what the logarithm of its length predicts.",
    )


def _undefined(check: CheckResult, finding: Finding, report: AuditReport) -> Reason:
    table = report.overpaid
    if finding.kind in ("overpaid", "joint_overpaid", "visible") and table is not None and not table.follows_labels:
        remedy = _HARDER if table.never_wrong else _CHECK_DATA
        return Reason(check=check.name, topic="heuristics", text=blind(report), remedy=remedy)
    if finding.kind == "visible":
        return _visible(check, finding, report)
    if finding.kind == "over_champion" and finding.detail:
        text = f"It could not be compared with the model in use: {finding.detail}."
        return Reason(check=check.name, topic="champion", text=text, remedy="Decide by another comparison of the two.")
    if check.undecided:
        because = f": {finding.detail}" if finding.detail else ""
        text = f"{_not_decided(check, finding)}{because}."
        return Reason(check=check.name, topic="data", text=text, remedy=_HARDER)
    text = f"What the policy asks for has no value on these pairs: {plain(finding.name)}."
    return Reason(check=check.name, topic="data", text=text, remedy="Take out of the policy what cannot apply here.")


def blind(report: AuditReport) -> str:
    """Why no feature can be tested: rewards do not go with the labels, or always do."""
    accuracy = report.find("accuracy")
    right = "" if accuracy is None else f" (right in {percent(accuracy.estimate)} of the pairs; a coin in 50%)"
    if accuracy is not None and accuracy.ci_high < _COIN:
        return f"Its rewards go against the labels{right}."
    if report.overpaid is not None and report.overpaid.never_wrong:
        return f"It makes no error{right}, so that nothing tells its biases: these pairs are too easy."
    return f"Its rewards and the labels do not go together beyond chance{right}: its biases cannot be told."


def _overpaid(check: CheckResult, finding: Finding, report: AuditReport) -> Reason:
    """In the sign of the finding: paid beyond what labels support, or punished beyond it."""
    family = finding.labels["family"]
    what, within = _feature(finding.detail)
    known = family in ("length", "own") or what == ""
    about = family if what in ("", "characters") or what.startswith("log ") else f"{family} ({what})"
    about = about if known else f"{what} ({family})"
    least = max(finding.ci_low, -finding.ci_high, 0.0)
    pays = finding.estimate > 0
    text = (
        f"It {'overpays for' if pays else 'punishes'} {about}{within}: a usual difference "
        f"{'is worth' if pays else 'costs'} {points(abs(finding.estimate))} points of win probability more than the "
        f"labels support (at least {points(least)})."
    )
    topic: Topic = "length" if family == "length" else "surface"
    counter = _counter("has more of what it overpays" if pays else "has less of what it punishes")
    remedy = _length_remedy(report, longer=pays) if family == "length" else counter
    return Reason(check=check.name, topic=topic, family=family, text=text, remedy=remedy)


def _length_remedy(report: AuditReport, *, longer: bool) -> str:
    """Control for length beside what was controlled for; pairs against it if that was done already."""
    controlled = report.provenance.controlled
    if controllable.LENGTH not in controlled:
        head = " and model.head: new" if report.provenance.keeps_head else ""
        return f"{CONTROL}[{', '.join((*controlled, controllable.LENGTH))}]{head}, and audit again."
    counter = _counter("is the longer one" if longer else "is the shorter one")
    return f"Its training controlled for length already. {counter}"


def _counter(what: str) -> str:
    return f"Add pairs in which the worse response {what}, and retrain."


def _feature(detail: str) -> tuple[str, str]:
    """The feature, and " on prompts of the kind ..." if it is looked at within one."""
    found = _WITHIN.match(detail)
    return (found["feature"], f" on prompts of the kind {found['kind']}") if found else (detail, "")


_TOGETHER = {"surface": "all features of surface", "words": "single words", "letters": "how often letters come up"}


def _joint(check: CheckResult, finding: Finding, _: AuditReport) -> Reason:
    over = _TOGETHER[finding.labels["over"]]
    least, parts = max(finding.ci_low, -finding.ci_high, 0.0), ", ".join(finding.detail.split(", ")[:_MOST_NAMED])
    does = "pays for" if finding.estimate > 0 else "takes off for"
    text = (
        f"What it {does} {over} together goes {points(abs(finding.estimate))} points beyond what the labels support "
        f"(at least {points(least)}); the largest parts: {parts}."
    )
    return Reason(check=check.name, topic="surface", text=text, remedy=_LOOK)


def _length_following(check: CheckResult, finding: Finding, report: AuditReport) -> Reason:
    prefers = report.find("length_preference_model")
    right, without = report.find("length_preference_label"), report.find("accuracy_without", part="length")
    longer = finding.estimate > 0
    text = f"It follows length: the correlation of reward and length is {finding.estimate:.2f}."
    if prefers is not None and right is not None and math.isfinite(prefers.estimate + right.estimate):
        model, labels = (one.estimate if longer else 1 - one.estimate for one in (prefers, right))
        text = (
            f"It measures length: the {'longer' if longer else 'shorter'} response gets the higher reward in "
            f"{percent(model)} of the pairs, and is the better one in {percent(labels)}."
        )
    rarer = report.find("accuracy_shorter_chosen" if longer else "accuracy_longer_chosen")
    if rarer is not None and math.isfinite(rarer.estimate):
        which = "shorter" if longer else "longer"
        text += f" Where the {which} one is better, it is right in {percent(rarer.estimate)}."
    elif without is not None and math.isfinite(without.estimate):
        text += f" With length taken out of its rewards it is right in {percent(without.estimate)}; a coin in 50%."
    remedy = _length_remedy(report, longer=longer)
    return Reason(check=check.name, topic="length", family="length", text=text, remedy=remedy)


_HEURISTICS = {
    "style": "a rule that sees only length and formatting",
    "words": "a bag of words that never reads the prompt",
    "length": "a rule that sees only length",
}


def _over_baseline(check: CheckResult, finding: Finding, report: AuditReport) -> Reason:
    baseline = finding.labels["baseline"]
    other = _HEURISTICS.get(baseline, baseline)
    accuracy, its = report.find("accuracy"), report.find("baseline_accuracy", baseline=baseline)
    against = ""
    if accuracy is not None and its is not None:
        against = f" ({percent(accuracy.estimate)} of the pairs against {percent(its.estimate)})"
    how = "It is right less often than" if finding.ci_high < 0 else "It is not clearly better than"
    text = f"{how} {other}{against}."
    if check.undecided:
        return Reason(check=check.name, topic="heuristics", text=f"Undecided: {text}")
    return Reason(check=check.name, topic="heuristics", text=text, remedy=_learn(report))


def _learn(report: AuditReport) -> str:
    """Below a coin something is swapped; otherwise it learned too little."""
    accuracy = report.find("accuracy")
    return _CHECK_DATA if accuracy is not None and accuracy.ci_high < _COIN else _LEARN


def _without(check: CheckResult, finding: Finding, report: AuditReport) -> Reason:
    part = finding.labels["part"]
    what = "length, formatting and wording predict" if part == EVERYTHING else f"{plain(part)} predicts"
    how = "not clearly better than" if finding.estimate > 0.5 else "no better than"
    text = f"With all that {what} taken out of its rewards, it is {how} a coin (right in {percent(finding.estimate)})."
    if check.undecided:
        return Reason(check=check.name, topic="surface", text=f"Undecided: {text}")
    return Reason(check=check.name, topic="surface", text=text, remedy=_learn(report))


def _gain(check: CheckResult, finding: Finding, report: AuditReport) -> Reason:
    part, shown = finding.labels["part"], gain_without_length(report)
    what = "all that length, formatting and wording predict" if part == EVERYTHING else plain(part)
    text = f"Taking {what} out of its rewards would make it right {points(finding.estimate)} points more often."
    if part != controllable.LENGTH:
        remedy = "Subtract from each reward what these predict, or add pairs in which they mislead, and retrain."
        return Reason(check=check.name, topic="surface", text=text, remedy=remedy)
    follows = report.find("length_following")
    remedy = _length_remedy(report, longer=follows is None or not follows.estimate < 0)
    if shown is not None:
        text, remedy = shown.text, f"{remedy} {shown.remedy}"
    return Reason(check=check.name, topic="length", text=text, remedy=remedy)


def _probe(check: CheckResult, finding: Finding, report: AuditReport) -> Reason:
    result = next((one for one in report.probes if one.name == finding.labels["probe"]), None)
    about = check.why if result is None else result.about
    if result is not None and result.applicability == 0:
        text = f"Undecided: {about} That edit does not apply to any of these responses."
        waive = ", or waive it" if check.severity == "hard" else ""
        remedy = f"Leave it out of the policy's probe_checks{waive}: more edits of such responses do not exist."
        return Reason(check=check.name, topic="edits", text=text, remedy=remedy)
    measured = f"The edited response gets the higher reward in {percent(finding.estimate)} of {finding.num_pairs}."
    text = f"{about} {measured if finding.num_pairs else 'No edited response has a reward.'}"
    if check.undecided:
        text = f"Undecided: {text}"
        return Reason(check=check.name, topic="edits", text=text, remedy="Raise audit.probes.budget for more edits.")
    remedy = "Look at the worst edits in the report; add such pairs to the training data, labelled as they should be."
    return Reason(check=check.name, topic="edits", text=text, remedy=remedy)


def _flips(check: CheckResult, finding: Finding, _: AuditReport) -> Reason:
    way = plain(finding.labels["way"])
    flips = "1 pair changes its" if finding.estimate == 1 else f"{finding.estimate:.0f} pairs change their"
    text = f"Its rewards depend on how they are computed ({way}): {flips} order."
    remedy = "Repair the scoring first (padding, precision, dropout): until then no other number holds."
    return Reason(check=check.name, topic="scoring", text=text, remedy=remedy)


def _ties(check: CheckResult, finding: Finding, _: AuditReport) -> Reason:
    text = f"{percent(finding.estimate)} of the pairs get exactly equal rewards: of these it says nothing."
    remedy = "Check whether rewards were rounded, or texts cut to the same beginning."
    return Reason(check=check.name, topic="scoring", text=text, remedy=remedy)


def _champion(check: CheckResult, finding: Finding, report: AuditReport) -> Reason:
    if finding.labels["of"] not in ("accuracy", "gain_without_length"):
        return _other(check, finding, report)
    less = finding.labels["of"] == "accuracy"
    size = points(abs(finding.estimate))
    measured = {
        True: f"right {size} points {'more' if finding.estimate > 0 else 'less'} often",
        False: f"by {size} points {'more' if finding.estimate > 0 else 'less'} biased by length",
    }[less]
    sure = "It may be worse than the model in use" if check.undecided else "The model in use is better"
    text = f"{sure}: on the same pairs this one is {measured}."
    return Reason(check=check.name, topic="champion", text=text, remedy="Keep the model in use for now.")


def _phrases(check: CheckResult, finding: Finding, report: AuditReport) -> Reason:
    found = report.words.found if report.words else ()
    named = ", ".join(f'"{one.phrase}"' for one in found[:_MOST_NAMED])
    words = "1 word or phrase" if finding.estimate == 1 else f"{finding.estimate:.0f} words or phrases"
    text = f"It pays for, or punishes, {words} beyond what the labels support"
    return Reason(check=check.name, topic="surface", text=f"{text}{f': {named}' if named else ''}.", remedy=_LOOK)


def _visible(check: CheckResult, finding: Finding, _: AuditReport) -> Reason:
    what = "by length" if finding.labels["family"] == "length" else "by other features of surface"
    size = f"{points(finding.estimate)} points" if finding.estimate < 1 else "any size"
    text = f"Too few pairs: a bias {what} of {size} could have stayed unseen."
    return Reason(check=check.name, topic="data", text=text, remedy="Audit on more held-out pairs.")


def _num_prompts(check: CheckResult, finding: Finding, _: AuditReport) -> Reason:
    text = f"Too few prompts to say something about others: {finding.estimate:.0f}."
    return Reason(check=check.name, topic="data", text=text, remedy="Audit on more prompts.")


def _unscored(check: CheckResult, finding: Finding, _: AuditReport) -> Reason:
    text = f"{percent(finding.estimate)} of the responses have no reward: the model has no room for such long texts."
    return Reason(check=check.name, topic="data", text=text, remedy="Score with a longer context.")


def _other(check: CheckResult, finding: Finding, _: AuditReport) -> Reason:
    """For checks that only a policy of one's own has."""
    measured = (
        f"{plain(finding.name)} is {finding.estimate:.3f}, between {finding.ci_low:.3f} and {finding.ci_high:.3f}"
    )
    why = f"{check.why[0].upper()}{check.why[1:]} ({measured})" if check.why else f"{measured[0].upper()}{measured[1:]}"
    doubt = "Undecided: " if check.undecided else ""
    return Reason(check=check.name, topic="other", text=f"{doubt}{why}.", remedy="")


_UNDECIDED: dict[str, Topic] = {
    "unexplained_tie_share": "scoring",
    "length_following": "length",
    "gain_without": "surface",
    "num_phrases": "surface",
    "unscored_share": "data",
}
"""Kinds whose words would say too much while they are undecided."""
_Writer = Callable[[CheckResult, Finding, AuditReport], Reason]
_WRITERS: dict[str, _Writer] = {
    "invariance_flips": _flips,
    "unexplained_tie_share": _ties,
    "length_following": _length_following,
    "accuracy_over_baseline": _over_baseline,
    "overpaid": _overpaid,
    "gain_without": _gain,
    "accuracy_without": _without,
    "joint_overpaid": _joint,
    "probe_win_rate": _probe,
    "over_champion": _champion,
    "num_phrases": _phrases,
    "unscored_share": _unscored,
    "num_clusters": _num_prompts,
    "visible": _visible,
}
"""By kind of finding, the one that explains most first."""
