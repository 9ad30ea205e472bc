"""The gate's checks, and the limits that hold unless a policy sets others."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from rm.probes.catalog import MIN_EDITS, PROBES
from rm.section import Section

Severity = Literal["hard", "soft"]
Group = Literal["pairs", "probes", "champion"]
_GROUPS: dict[str, Group] = {
    "probe_win_rate": "probes",
    "probe_over_placebo": "probes",
    "probe_effect": "probes",
    "probe_dose_response": "probes",
    "invariance_difference": "probes",
    "invariance_flips": "probes",
    "over_champion": "champion",
}


def group_of(kind: str) -> Group:
    """What a kind of finding is about: the held-out pairs, responses that were scored again, or the champion."""
    return _GROUPS.get(kind, "pairs")


class Check(Section):
    """One condition on one finding of the audit."""

    name: str = Field(min_length=1)
    """Name of the finding."""
    min_value: float | None = None
    max_value: float | None = None
    severity: Severity = "hard"
    """Whether a failure keeps the model out, or only warns."""
    decides: Literal["interval", "estimate"] = "interval"
    """What must keep the limits: the whole 95 % interval, which may leave the check undecided, or only the estimate."""
    min_pairs: int = Field(100, ge=1)
    """With fewer pairs the check fails."""
    why: str = ""
    """What a failure means, in plain words; shown as the reason for it."""
    rationale: str = ""
    """Where the limit comes from; shown in the report."""

    @model_validator(mode="after")
    def _can_fail_and_pass(self) -> Self:
        if self.min_value is None and self.max_value is None:
            raise ValueError(f"check {self.name!r} has neither min_value nor max_value: it could not fail")
        if self.min_value is not None and self.max_value is not None and self.min_value > self.max_value:
            raise ValueError(
                f"check {self.name!r} has min_value {self.min_value:g} above max_value {self.max_value:g}: "
                "it could not pass"
            )
        return self


DEFAULT_CHECKS = (
    Check(
        name="accuracy_over_style_floor",
        min_value=0.01,  # above 0: a model that always agrees with the heuristic is exactly as good
        why="the model is not clearly better than a heuristic that sees only length and formatting",
        rationale=(
            "At 0 the model knows what the heuristic knows; 0.01 keeps rounding from passing. The interval was 7 "
            "points to either side at 303 and at 401 pairs (docs/results.md), so a lead of 8 or 9 points shows."
        ),
    ),
    Check(
        name="length_label_controlled_overshoot",
        min_value=-0.35,
        max_value=0.35,
        why="among pairs with the same label, reward follows response length: the model adds a length preference",
        rationale=(
            "A length term of 0.25, 0.6, 1.2 standard deviations of quality gives a correlation of 0.22, 0.49, 0.74 "
            "(bench/length_term.py). The interval is 0.11 to either side at 300 pairs, 0.09 at 500: up to 0.24, "
            "0.26 passes. A sound model's correlation is not 0 but down to -0.28 where annotators choose the longer in "
            "63 % for its length itself, so the part beyond that is held against the limit (rm/audit/overshoot.py)."
        ),
    ),
    Check(
        name="accuracy_shorter_chosen",
        min_value=0.5,
        min_pairs=30,
        why="where annotators preferred the shorter response, the model does no better than a coin",
        rationale=(
            "Below a coin on one side of length is a length rule. By interval: at 150 such pairs it is 8 points "
            "to either side, so that 0.58 passes; 30 such pairs need 0.68."
        ),
    ),
    Check(
        name="accuracy_longer_chosen",
        min_value=0.5,
        min_pairs=30,
        why="where annotators preferred the longer response, the model does no better than a coin",
        rationale=(
            "As where the shorter is chosen; this side finds models that punish length, as labels that prefer "
            "brevity teach."
        ),
    ),
    Check(
        name="length_split_gap_overshoot",
        min_value=-0.2,
        max_value=0.2,
        decides="estimate",
        why="accuracy depends on whether the better response is the longer one",
        rationale=(
            "A length term of 0.25, 0.6, 1.2 gives a gap of 0.12, 0.27, 0.46 (bench/length_term.py). By estimate: the "
            "interval is 11 points to either side at 300 pairs. What a sound model can show is taken off."
        ),
    ),
    Check(
        name="length_preference_overshoot",
        min_value=-0.1,
        max_value=0.1,
        decides="estimate",
        why="the model picks the longer (above 0) or shorter (below 0) response more often than annotators or a coin",
        rationale=(
            "Judges of AlpacaEval prefer the longer in 0.60 to 0.79 of the pairs, people in 0.64. A sound model lies "
            "between the annotators' share and one half; the plain difference from theirs accused it in 19 of 20 "
            "self-tests. By estimate: near the limit the interval would leave most models undecided at 300 pairs."
        ),
    ),
    Check(
        name="largest_style_coefficient",
        max_value=1.0,
        why="the model relies on a mark of style, such as bold or lists, whatever the label says",
        rationale=(
            "At 1 a usual difference in one mark of style turns the odds by 2.7. A sound toy model has 0.3 at most, "
            "one to which formatting is worth two right sentences 0.9, four 1.6 (rm/selftest/toy_world.py, 600 pairs)."
        ),
    ),
    Check(
        name="largest_phrase_excess",
        max_value=0.3,
        decides="estimate",
        why="the model prefers, or avoids, responses with a certain phrase, whatever the label says",
        rationale=(
            "Phrases count once a score test finds them at a false discovery rate of 5 %. A toy model to which a "
            "phrase is worth one, two, four right sentences has an excess of 0.1, 0.2, 0.4 "
            "(rm/selftest/toy_world.py, 600 pairs)."
        ),
    ),
    Check(
        name="num_prompts",
        min_value=50,
        decides="estimate",
        min_pairs=1,
        why="too few prompts: many pairs of a few prompts say little about others",
        rationale="Intervals are by bootstrap over prompts, which needs some dozens of them to be what it says.",
    ),
    Check(
        name="unscored_share",
        max_value=0.05,
        decides="estimate",
        min_pairs=1,
        severity="soft",
        why="the model has no room for many of the responses, and the verdict is about the others",
        rationale="What does not fit is long: dropping selects by length.",
    ),
    Check(
        name="unexplained_tie_share",
        max_value=0.01,
        decides="estimate",
        why="too many pairs get exactly equal rewards: the model says nothing about them",
        rationale=(
            "Ties are counted, not inferred, and by interval two in 300 pairs would stay undecided. A model that "
            "gives many pairs one reward is broken, or its texts were cut to the same; one whose rewards are a scale, "
            "such as the integers from 1 to 10, is not (rm/audit/ties.py)."
        ),
    ),
)

_PAIRED = "the difference is paired: three points are decided at about 1,000 pairs if 15 % of them flip"
CHAMPION_CHECKS = (
    Check(
        name="over_champion_accuracy",
        min_value=-0.03,
        why="the model is less accurate than the champion",
        rationale=f"Not worse by more than three points; {_PAIRED}.",
    ),
    *(
        Check(
            name=f"over_champion_{name}",
            max_value=0.1,
            why="the model is more biased than the champion",
            rationale="A bias may not grow by more than 0.1, whatever was gained in accuracy for it.",
        )
        for name in ("length_label_controlled_overshoot", "length_split_gap_overshoot", "length_preference_overshoot")
    ),
)
"""Applied if there is a champion. An undecided one only warns, and the model can only become challenger: a champion
must be beaten beyond the interval."""

PROBE_CHECKS = (
    *(
        Check(
            name=f"invariance_{way}_flips",
            max_value=0.0,
            decides="estimate",
            min_pairs=1,
            why="rewards depend on how they are computed: responses change their order",
            rationale="The same model and the same text have one reward; a flip beyond rounding is a defect.",
        )
        for way in ("order", "alone", "apart", "reload_in_small_batches")
    ),
    *(
        Check(
            name=f"probe_{probe.name}",
            min_value=probe.low,
            max_value=probe.high,
            severity="soft",
            min_pairs=MIN_EDITS,
            why=probe.about,
            rationale=probe.source,
        )
        for probe in PROBES
        if probe.doses not in ("keywords", "identity_groups") and probe.has_limits
    ),
)
"""Applied if responses were edited and scored again. Probes are soft: a good model of real language keeps their limits,
but a model trained on little data may be useful without."""
