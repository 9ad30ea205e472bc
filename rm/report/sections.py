"""The sections of the page, in order: title, when a section is shown, and what it shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rm.audit.records import AuditReport
from rm.report import answers, parts, picks
from rm.report.parts import PageInput
from rm.report.tables import best_of_n_series, feature_rows, invariance_rows


def _always(_: AuditReport) -> bool:
    return True


def _nothing(_: AuditReport) -> str:
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSection:
    """A section; its template is ``ANCHOR.html.j2``."""

    anchor: str
    title: str
    measured: Callable[[AuditReport], bool] = _always
    """Whether there is anything to show."""
    missing: str = ""
    """Sentence for the list of what was not tested, if there is nothing to show."""
    build: Callable[[PageInput], dict[str, Any]] = parts.nothing
    """What the template gets as ``part``."""
    answer: Callable[[AuditReport], str] = _nothing
    """One line that stands beside the title while the section is closed."""

    of_labels: bool = False
    """Whether it is about the labels that a model was trained on, which only the pipeline knows."""
    short: str = ""
    """One or two words for the navigation; default: the anchor."""

    @property
    def label(self) -> str:
        """What the navigation shows."""
        return self.short or self.anchor.replace("-", " ").capitalize()


def _has_champion(report: AuditReport) -> bool:
    return bool(report.select("over_champion"))


def _has_formulas(report: AuditReport) -> bool:
    return bool(report.select("benchmark"))


def _has_probes(report: AuditReport) -> bool:
    return bool(report.probes or invariance_rows(report))


REWARDED = (
    PageSection(
        anchor="overpaid",
        title="What does the reward pay for beyond the labels?",
        measured=lambda report: report.overpaid is not None,
        missing="Features of surface: they were not compared with the labels.",
        build=parts.overpaid,
        answer=answers.overpaid,
    ),
    PageSection(
        anchor="deciles",
        short="Short or long",
        title="Does the model know which response is better, or which is longer?",
        measured=lambda report: bool(report.deciles),
        missing="Accuracy by difference of length: there are no deciles.",
        build=parts.deciles,
        answer=answers.deciles,
    ),
    PageSection(anchor="length", title="Does reward follow length?", build=parts.length, answer=answers.length),
    PageSection(
        anchor="style",
        title="Does the model prefer a style more than the labels do?",
        measured=lambda report: bool(feature_rows(report)),
        missing="Style: too few pairs differ in it for coefficients.",
        build=parts.style,
        answer=answers.style,
    ),
    PageSection(
        anchor="floors",
        short="Heuristics",
        title="Is the model better than heuristics that understand nothing?",
        build=parts.baselines,
        answer=answers.floors,
    ),
    PageSection(
        anchor="probes",
        title="What happens when a response is edited?",
        measured=_has_probes,
        missing=(
            "Causes: no response was edited and scored again. Every number is an observation on the held-out pairs; "
            "none proves that length or style changes the reward."
        ),
        build=parts.probes,
        answer=answers.probes,
    ),
    PageSection(
        anchor="twins",
        title="Does the same text in another dialect, language or style get the same reward?",
        measured=lambda report: bool(report.twins),
        missing="Twins: no text was scored once more in another dialect, language or style.",
        build=parts.twins,
        answer=answers.twins,
    ),
    PageSection(
        anchor="pressure",
        title="Which response is picked when more are offered?",
        measured=lambda report: bool(best_of_n_series(report)),
        missing="Pressure: too few prompts have several responses or edits for best of N.",
        build=parts.best_of_n,
        answer=answers.pressure,
    ),
)
"""What the model pays for; on a wide screen they stand beside the others."""
SECTIONS = (
    *REWARDED,
    PageSection(
        anchor="candidates",
        short="Best of N",
        title="Best of N: are the candidates that it picks the better ones?",
        measured=lambda report: bool(picks.offered(report.findings)),
        missing="Candidates of a policy: nothing was picked among them.",
        build=parts.candidates,
        answer=answers.candidates,
    ),
    PageSection(
        anchor="calibration",
        title="Is the model as often right as it is sure?",
        measured=lambda report: bool(report.calibration),
        missing="Calibration: there is no reliability curve.",
        build=parts.calibration,
        answer=answers.calibration,
    ),
    PageSection(
        anchor="words",
        title="Which words and phrases does the model reward?",
        measured=lambda report: report.words is not None or report.top_rewards is not None,
        missing="Words and phrases: they were not counted.",
        answer=answers.words,
    ),
    PageSection(
        anchor="subsets",
        title="Where is the model worst?",
        measured=lambda report: bool(report.subsets),
        missing="Subsets: all pairs have the same domain, source, turns and prompt length, or these are not known.",
        answer=answers.subsets,
    ),
    PageSection(
        anchor="champion",
        title="Is the model better than the one in use?",
        measured=_has_champion,
        missing="The model in use: there was none of ours to compare with.",
        build=parts.champion,
        answer=answers.champion,
    ),
    PageSection(
        anchor="flaws",
        title="Does the model prefer a plain correct response to a polished one with an obvious flaw?",
        measured=lambda report: bool(report.flaws),
        missing="Obvious flaws: the project's own flawed pairs were not scored.",
        build=parts.flaws,
        answer=answers.flaws,
    ),
    PageSection(
        anchor="mistakes",
        title="Most confident mistakes",
        measured=lambda report: bool(report.examples),
        build=parts.mistakes,
        answer=answers.mistakes,
    ),
    PageSection(anchor="gate", title="The gate: each check and its limit", build=parts.gate),
    PageSection(anchor="labels", title="The labels that it was trained on", of_labels=True, build=parts.labels),
    PageSection(anchor="formulas", title="The benchmark's own formulas", measured=_has_formulas, build=parts.formulas),
    PageSection(anchor="not-tested", title="What was not tested"),
    PageSection(anchor="provenance", short="Audited", title="What was audited", answer=answers.provenance),
    PageSection(anchor="numbers", title="Every number", answer=answers.numbers),
)
