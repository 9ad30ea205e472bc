"""The sections of the page, in their order: what each is called, when it is there, and what it shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rm.audit.records import AuditReport
from rm.report import parts
from rm.report.parts import PageInput
from rm.report.tables import best_of_n_series, feature_rows, invariance_rows


def _always(_: AuditReport) -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSection:
    """A section, whose template is ``ANCHOR.html.j2``."""

    anchor: str
    title: str
    measured: Callable[[AuditReport], bool] = _always
    """Whether there is anything to show."""
    missing: str = ""
    """What is said where there is not, as of a thing that was not tested."""
    build: Callable[[PageInput], dict[str, Any]] = parts.nothing
    """What the template gets as ``part``."""


def _has_champion(report: AuditReport) -> bool:
    return bool(report.select("over_champion"))


def _has_formulas(report: AuditReport) -> bool:
    return bool(report.select("benchmark"))


def _has_probes(report: AuditReport) -> bool:
    return bool(report.probes or invariance_rows(report))


SECTIONS = (
    PageSection(
        anchor="deciles",
        title="Does it know which response is better, or which is longer?",
        measured=lambda report: bool(report.deciles),
        missing="Accuracy by difference of length: there are no deciles.",
        build=parts.deciles,
    ),
    PageSection(anchor="length", title="Does reward follow length?", build=parts.length),
    PageSection(
        anchor="style",
        title="Does it add a taste for style to the labels'?",
        measured=lambda report: bool(feature_rows(report)),
        missing="Style: too few pairs differ in it for coefficients.",
        build=parts.style,
    ),
    PageSection(anchor="floors", title="Is it better than heuristics that understand nothing?", build=parts.baselines),
    PageSection(
        anchor="probes",
        title="What happens when a response is edited?",
        measured=_has_probes,
        missing=(
            "Causes: no response was edited and scored again. Every number is an observation on the held-out pairs, "
            "and none says that length or style moves the reward."
        ),
        build=parts.probes,
    ),
    PageSection(
        anchor="pressure",
        title="What is picked when more is offered?",
        measured=lambda report: bool(best_of_n_series(report)),
        missing="Pressure: too few prompts have several responses or edits for best of N.",
        build=parts.best_of_n,
    ),
    PageSection(
        anchor="calibration",
        title="Is it as often right as it is sure?",
        measured=lambda report: bool(report.calibration),
        missing="Calibration: there is no reliability curve.",
        build=parts.calibration,
    ),
    PageSection(
        anchor="words",
        title="Which words and phrases does it reward?",
        measured=lambda report: report.words is not None or report.top_rewards is not None,
        missing="Words and phrases: they were not counted.",
    ),
    PageSection(
        anchor="subsets",
        title="Where is it worst?",
        measured=lambda report: bool(report.subsets),
        missing="Subsets: the pairs have one domain, source, number of turns and length of prompt, or none is known.",
    ),
    PageSection(
        anchor="champion",
        title="Is it better than the model in use?",
        measured=_has_champion,
        missing="The model in use: there was no champion to compare with.",
        build=parts.champion,
    ),
    PageSection(
        anchor="flaws",
        title="A polished response with one obvious flaw, or a plain one that is right?",
        measured=lambda report: bool(report.flaws),
        missing="Obvious flaws: the project's own flawed pairs were not scored.",
        build=parts.flaws,
    ),
    PageSection(
        anchor="mistakes",
        title="Most confident mistakes",
        measured=lambda report: bool(report.examples),
        build=parts.mistakes,
    ),
    PageSection(anchor="gate", title="The gate"),
    PageSection(anchor="self-test", title="What this audit would have found", build=parts.self_test),
    PageSection(anchor="numbers", title="Every number"),
    PageSection(anchor="formulas", title="The benchmark's own formulas", measured=_has_formulas, build=parts.formulas),
    PageSection(anchor="not-tested", title="What was not tested"),
    PageSection(anchor="provenance", title="Provenance"),
)
