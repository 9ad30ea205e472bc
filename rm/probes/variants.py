"""The edits that the probes make of responses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Literal

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
    """Empty where the probe has only one."""
    arm: Arm
    parent: int
    """Place of the parent."""
    prompt: Prompt | None
    """The edited prompt; None if it stays the base prompt."""
    response: str | None
    """The edited response, the parent's own where only the prompt is edited; None if the edit does not apply."""
    base_prompt: Prompt | None
    """The prompt of what it is compared with; None if that is the parent's."""


def variants(parents: Sequence[Parent], probes: Sequence[Probe], config: ProbeConfig) -> list[Variant]:
    """Every edit of every parent, also those that do not apply.

    Parameters
    ----------
    parents : sequence of Parent
        One a prompt; also where fillers, foreign responses and other prompts come from.
    probes : sequence of Probe
    config : ProbeConfig

    Notes
    -----
    An edit does not apply where it gives None or what was there before, and its placebo not where the edit does not.
    Its random source is seeded by a hash of the probe's name, the dose, the prompt's id and the response, so that no
    other parent or probe changes it.
    """
    corpus = Corpus(parents)
    return [
        variant
        for place, parent in enumerate(parents)
        for probe in probes
        for dose in doses(probe, config)
        for variant in _arms(probe, dose, place, parent, corpus)
    ]


def doses(probe: Probe, config: ProbeConfig) -> tuple[Dose, ...]:
    """A probe's doses, from the configuration where it lists them."""
    return getattr(config, probe.doses) if isinstance(probe.doses, str) else probe.doses


def dose_label(dose: Dose) -> str:
    """A dose as it stands in tables and names of findings."""
    return dose if isinstance(dose, str) else f"{dose:g}"


def _arms(probe: Probe, dose: Dose, place: int, parent: Parent, corpus: Corpus) -> list[Variant]:
    label = dose_label(dose)
    seed = int(sha256_json([probe.name, label, parent.prompt_id, parent.response])[:16], 16)

    def made(arm: Arm, edit: Callable[[EditContext, Any], str | None] | None) -> Variant:
        case = EditContext(parent=parent, corpus=corpus, draw=Random(seed))
        prompt = probe.prompt(case, dose) if probe.prompt else None
        base = probe.base_prompt(case) if probe.base_prompt else None
        response = edit(case, dose) if edit else parent.response
        unchanged = response == parent.response and prompt in (None, base or parent.prompt)
        return Variant(
            probe=probe.name,
            dose=label,
            arm=arm,
            parent=place,
            prompt=prompt,
            response=None if unchanged or not parent.response.strip() else response,
            base_prompt=base,
        )

    edited = made("edit", probe.edit)
    if not probe.placebo:
        return [edited]
    placebo = made("placebo", probe.placebo)
    return [edited, placebo if edited.response is not None else replace(placebo, response=None)]
