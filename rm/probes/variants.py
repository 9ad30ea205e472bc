"""Applying the probes: every edit of every parent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Literal

from rm.data import near_duplicates
from rm.files import sha256_json
from rm.probes.catalog import Dose, Probe
from rm.probes.config import ProbeConfig
from rm.probes.context import Corpus, EditContext, Parent, Prompt

Arm = Literal["edit", "placebo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A parent after an edit."""

    probe: str
    dose: str
    """Empty if the probe has only one dose."""
    arm: Arm
    parent: int
    """Index of the parent."""
    prompt: Prompt | None
    """The edited prompt; None if the prompt is not edited."""
    response: str | None
    """The edited response, or the parent's response if only the prompt is edited; None if the edit does not apply."""
    base_prompt: Prompt | None
    """The prompt of the response that the variant is compared with; None if it is the parent's prompt."""


def variants(parents: Sequence[Parent], probes: Sequence[Probe], config: ProbeConfig) -> list[Variant]:
    """Every edit of every parent, including edits that do not apply.

    Parameters
    ----------
    parents : sequence of Parent
        One per prompt; fillers, foreign responses and other prompts are taken from them, too.
    probes : sequence of Probe
    config : ProbeConfig

    Notes
    -----
    An edit does not apply if it gives None or changes nothing; then its placebo does not apply either. The seed of an
    edit is a hash of the probe's name, the dose, the prompt's id and the response, so that it does not depend on other
    parents or probes.
    """
    corpus = Corpus(parents, near_duplicates.clusters([parent.prompt for parent in parents]).tolist())
    return [
        variant
        for index, parent in enumerate(parents)
        for probe in probes
        for dose in doses(probe, config)
        for variant in _arms(probe, dose, index, parent, corpus)
    ]


def doses(probe: Probe, config: ProbeConfig) -> tuple[Dose, ...]:
    """The doses of a probe, which may be listed in the configuration."""
    return getattr(config, probe.doses) if isinstance(probe.doses, str) else probe.doses


def dose_label(dose: Dose) -> str:
    """A dose as text, for tables and names of findings."""
    return dose if isinstance(dose, str) else f"{dose:g}"


def _arms(probe: Probe, dose: Dose, index: int, parent: Parent, corpus: Corpus) -> list[Variant]:
    label = dose_label(dose)
    seed = int(sha256_json([probe.name, label, parent.prompt_id, parent.response])[:16], 16)

    def made(arm: Arm, edit: Callable[[EditContext, Any], str | None] | None) -> Variant:
        context = EditContext(parent=parent, corpus=corpus, draw=Random(seed))
        prompt = probe.prompt(context, dose) if probe.prompt else None
        base = probe.base_prompt(context) if probe.base_prompt else None
        response = edit(context, dose) if edit else parent.response
        unchanged = response == parent.response and prompt in (None, base or parent.prompt)
        return Variant(
            probe=probe.name,
            dose=label,
            arm=arm,
            parent=index,
            prompt=prompt,
            response=None if unchanged or not parent.response.strip() else response,
            base_prompt=base,
        )

    edited = made("edit", probe.edit)
    if not probe.placebo:
        return [edited]
    placebo = made("placebo", probe.placebo)
    return [edited, placebo if edited.response is not None else replace(placebo, response=None)]
