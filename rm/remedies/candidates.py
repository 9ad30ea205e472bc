"""From the checks that failed to the remedies that are tried: the one table that says which is for which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from rm.remedies.catalog import REMEDIES, Bias, Remedy
from rm.remedies.config import RemediesConfig

BIASES: Mapping[str, Bias] = MappingProxyType(
    {
        "length_following": "length",
        "overpaid_length": "length",
        "gain_without_length": "length",
        "over_champion_gain_without_length": "length",
        "overpaid_structure": "structure",
        "overpaid_typography": "structure",
        "overpaid_wording": "words",
        "overpaid_tone": "words",
        "overpaid_opening_and_closing": "words",
        "overpaid_people": "words",
        "joint_overpaid_words": "words",
        "joint_overpaid_letters": "words",
        "num_phrases": "words",
        "accuracy_over_words_floor": "words",
        "overpaid_own": "surface",
        "joint_overpaid_surface": "surface",
        "gain_without_surface": "surface",
        "accuracy_without_surface": "surface",
        "accuracy_over_style_floor": "surface",
        "overpaid_prompt": "prompt",
        "probe_foreign": "prompt",
        "probe_echo": "prompt",
        "probe_empty": "evasion",
        "probe_dont_know": "evasion",
        "probe_word_scramble": "surface",
        "probe_double": "length",
    }
)
"""Name of a check to the bias of which it is a sign. A check that is not here has no remedy that training knows: it is
about the data, about how rewards are computed, or about the champion."""


def telling(*checks: Sequence[str]) -> tuple[str, ...]:
    """The checks that say for what a remedy is needed.

    Parameters
    ----------
    *checks : sequences of str
        Names of hard checks, those that show most first: that failed, whose estimate lies clearly beyond a limit, and
        beyond it at all. The first sequence that has one of a bias counts alone.
    """
    for names in checks:
        if found := tuple(name for name in names if name in BIASES):
            return found
    return ()


def biases(checks: Sequence[str]) -> tuple[Bias, ...]:
    """The biases of which some checks are signs, in their order, each once."""
    return tuple(dict.fromkeys(BIASES[name] for name in checks if name in BIASES))


def candidates(
    against: Sequence[Bias], present: RemediesConfig, paid_for: tuple[str, ...] = (), *, keeps_head: bool = False
) -> tuple[Remedy, ...]:
    """The remedies to try: control of what the model is paid for, then the table's.

    Of these the one that is for the most of these biases comes first, and among equals the cheapest.

    Parameters
    ----------
    against : sequence of Bias
    present : RemediesConfig
        What the model was trained with: it is not tried again.
    paid_for : tuple of str
        Features and words for `RemediesConfig.controlled`.
    keeps_head : bool
        Whether trainings start from the head of a reward model, beside which nothing can be controlled.
    """
    helpful = [each for each in REMEDIES if set(each.against) & set(against)]
    helpful.sort(key=lambda each: (-len(set(each.against) & set(against)), each.tokens))  # stable: the table's order
    named = [controlling(paid_for, tuple(against))] if paid_for else []
    different: dict[str, Remedy] = {}
    for each in [*named, *helpful]:
        if keeps_head and "controlled" in dict(each.settings):
            continue
        settings = with_remedy(each, present)
        if settings != present:
            different.setdefault(settings.model_dump_json(), each)
    return tuple(different.values())


def controlling(names: tuple[str, ...], against: tuple[Bias, ...]) -> Remedy:
    """Control of features and words that an audit named."""
    return Remedy(name=f"controlled {', '.join(names)}", settings=(("controlled", names),), against=against)


def with_remedy(remedy: Remedy, present: RemediesConfig) -> RemediesConfig:
    """The settings of a training that also has a remedy; what is there already is made no weaker."""
    stronger = {name: _stronger(value, getattr(present, name)) for name, value in remedy.settings}
    return RemediesConfig.model_validate({**present.model_dump(), **stronger})


def _stronger(value: Any, present: Any) -> Any:
    if isinstance(value, tuple):
        return (*present, *(each for each in value if each not in present))
    return max(value, present)
