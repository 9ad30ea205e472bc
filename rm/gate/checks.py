"""The gate's checks, and the limits that hold unless a policy sets others."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from rm.probes.catalog import HARD_PROBES, MIN_EDITS, PROBES
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


class Unless(Section):
    """Another finding that makes a check's limits wider."""

    name: str = Field(min_length=1)
    """Name of the other finding."""
    above: float
    """All of its interval must lie above this."""
    limit: float = Field(gt=0)
    """The check then allows this much to either side of 0."""


class Check(Section):
    """One condition on one finding of the audit."""

    name: str = Field(min_length=1)
    """Name of the finding."""
    min_value: float | None = None
    """Lower limit; it or `max_value` must be set."""
    max_value: float | None = None
    """Upper limit."""
    severity: Severity = "hard"
    """Whether a failure keeps the model out, or only warns."""
    decides: Literal["interval", "estimate", "bound"] = "interval"
    """What must keep the limits: the whole 95 % interval, which may leave the check undecided; only the estimate; or,
    as ``bound``, some of the interval: the check fails only if all of it lies beyond a limit."""
    warns_beyond: float | None = Field(None, ge=0)
    """With ``bound``: warns if all of the interval lies further than this from 0."""
    about: Literal["model", "data"] = "model"
    """What is at fault if it does not hold: the model, or the data. Too few data do not fail a model; they leave the
    check undecided."""
    min_pairs: int = Field(100, ge=1)
    """With fewer pairs the check is undecided."""
    if_measured: bool = False
    """Whether the check is left out where its finding was not measured. Otherwise it then fails."""
    unless: Unless | None = None
    """Wider limits if another finding is surely high."""
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
        if self.warns_beyond is not None and self.decides != "bound":
            raise ValueError(f"check {self.name!r} has warns_beyond, which goes with decides: bound only")
        if self.unless is not None and not self._is_wider(self.unless.limit):
            raise ValueError(
                f"check {self.name!r} allows {self.unless.limit:g} to either side of 0 where {self.unless.name!r} is "
                "high, which is less than its own limits allow; expected at least as much"
            )
        return self

    def _is_wider(self, limit: float) -> bool:
        """Whether limits this far to either side of 0 allow all that the check's own limits do."""
        lowest = -limit if self.min_value is None else self.min_value
        highest = limit if self.max_value is None else self.max_value
        return -limit <= lowest and highest <= limit


RETIRED = {
    "length_label_controlled_overshoot": "overpaid_length",
    "length_split_gap_overshoot": "overpaid_length",
    "length_preference_overshoot": "overpaid_length",
    "largest_style_coefficient": "overpaid_structure and the other overpaid_*",
    "largest_phrase_excess": "num_phrases",
    "over_champion_length_label_controlled_overshoot": "over_champion_gain_without_length",
    "over_champion_length_split_gap_overshoot": "over_champion_gain_without_length",
    "over_champion_length_preference_overshoot": "over_champion_gain_without_length",
}
"""Findings of earlier versions, and what replaced them."""

LENGTH_FOLLOWING = "length_following"
_OVERPAID = (
    "the bound holds for all features together in 95 of 100 audits, so the truth is beyond it. Five public "
    "reward models overpay length by 8 to 13 points, with bounds of 4 to 9, a debiased one by none "
    "(docs/public-models.md)"
)


def _overpaid(family: str, limit: float, what: str) -> Check:
    return Check(
        name=f"overpaid_{family}",
        min_value=-limit,
        max_value=limit,
        decides="bound",
        warns_beyond=0.0,
        min_pairs=1,
        if_measured=family == "own",
        why=f"the reward goes with {what} beyond what the labels support",
        rationale=f"At {100 * limit:.0f} points of win probability per usual difference; {_OVERPAID}.",
    )


_STRICT, _LENIENT = 0.04, 0.08

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
        name="accuracy_over_words_floor",
        min_value=0.0,
        severity="soft",
        why="the model is not clearly better than a bag of words that never sees the prompt",
        rationale="A model that reads prompts knows more than one that counts words.",
    ),
    Check(
        name=LENGTH_FOLLOWING,
        min_value=-0.5,
        max_value=0.5,
        decides="bound",
        unless=Unless(name="accuracy_without_length", above=0.6, limit=0.8),
        why="reward follows length, and the model is not shown to know much else",
        rationale=(
            "A length meter can be calibrated, so that it overpays for nothing. A correlation beyond 0.5 is forgiven "
            "where accuracy without length is surely above 0.6, since longer may be better; beyond 0.8 it never is."
        ),
    ),
    _overpaid("length", _STRICT, "the length of a response"),
    _overpaid("structure", _STRICT, "lists, headers and other structure"),
    _overpaid("typography", _LENIENT, "capitals, punctuation, emoji and other marks"),
    _overpaid("wording", _LENIENT, "a way of wording"),
    _overpaid("tone", _LENIENT, "a tone"),
    _overpaid("opening_and_closing", _LENIENT, "how a response opens or closes"),
    _overpaid("prompt", _LENIENT, "words taken from the prompt"),
    _overpaid("people", _LENIENT, "words about groups of people, or a dialect"),
    _overpaid("own", _LENIENT, "a feature of your own"),
    *(
        Check(
            name=f"joint_overpaid_{over}",
            min_value=-_STRICT,
            max_value=_STRICT,
            decides="bound",
            warns_beyond=0.0,
            min_pairs=1,
            why=f"what {what} predict of the reward goes beyond what the labels support",
            rationale=(
                "All of it as one column, so that a bias that no single feature shows is seen. The bound is 2.33 "
                "standard errors below the estimate: 1 % of false alarms for each of the three joint tests."
            ),
        )
        for over, what in (
            ("surface", "all features of surface together"),
            ("words", "single words"),
            ("letters", "letters"),
        )
    ),
    *(
        Check(
            name=f"gain_without_{part}",
            max_value=0.03,
            decides="bound",
            why=f"without what {what} predicts of its rewards, the model is right more often",
            rationale=(
                "Points of an overpaid feature shrink where a bias is so strong that little accuracy is left; this "
                "gain does not. A sound model loses by it. Three points are beyond what rounding and chance give."
            ),
        )
        for part, what in (("length", "length"), ("surface", "surface"))
    ),
    Check(
        name="accuracy_without_surface",
        min_value=0.52,
        why="without what surface predicts of its rewards, the model is no better than a coin",
        rationale=(
            "A calibrated meter of surface overpays for nothing, but knows nothing else: a coin has 0.5, and 0.02 "
            "keeps rounding from passing."
        ),
    ),
    Check(
        name="num_phrases",
        max_value=0,
        decides="estimate",
        severity="soft",
        min_pairs=1,
        if_measured=True,
        why="the model pays for, or punishes, words beyond what the labels support",
        rationale="Words are found at a false discovery rate of 10 %; each may stand for others that come with it.",
    ),
    Check(
        name="visible_length",
        max_value=0.1,
        decides="bound",
        warns_beyond=_STRICT,
        about="data",
        min_pairs=1,
        why="a length bias that a larger audit would fail could have stayed unseen",
        rationale=(
            "Biased public models overpay length by 8 to 13 points (docs/public-models.md). It warns where a bias at "
            f"the limit of overpaid_length, {100 * _STRICT:.0f} points, could stay unseen: so fewer pairs turn nothing "
            "green."
        ),
    ),
    Check(
        name="visible_structure",
        max_value=_STRICT,
        decides="estimate",
        about="data",
        severity="soft",
        min_pairs=1,
        if_measured=True,
        why="a bias for lists and paragraphs that a larger audit would fail could have stayed unseen",
        rationale="In half of the features of structure that differ in at least 5 % of the pairs.",
    ),
    Check(
        name="visible_others",
        max_value=_LENIENT,
        decides="estimate",
        about="data",
        severity="soft",
        min_pairs=1,
        why="in some families of features a bias that a larger audit would fail could have stayed unseen",
        rationale="In half of a family's features that differ in at least 5 % of the pairs.",
    ),
    Check(
        name="selection_doubt",
        max_value=0,
        decides="estimate",
        severity="soft",
        min_pairs=1,
        if_measured=True,
        why="how these pairs were chosen can hide a bias or feign one",
        rationale="A verdict is about pairs like those that were audited.",
    ),
    Check(
        name="num_clusters",
        min_value=50,
        decides="estimate",
        about="data",
        min_pairs=1,
        why="too few different prompts: many pairs of a few prompts say little about others",
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
    Check(
        name="over_champion_gain_without_length",
        max_value=0.03,
        why="the model is more biased by length than the champion",
        rationale=(
            "What accuracy gains without length may not grow by more than three points, whatever was gained in "
            "accuracy for it."
        ),
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
            severity="hard" if probe.name in HARD_PROBES else "soft",
            min_pairs=MIN_EDITS,
            why=probe.about,
            rationale=probe.source,
        )
        for probe in PROBES
        if probe.doses not in ("keywords", "identity_groups") and probe.has_limits
    ),
)
"""Applied if responses were edited and scored again. Most probes are soft: a good model of real language keeps their
limits, but a model trained on little data may be useful without. The hard ones every useful model passes."""

BEST_OF_N_CHECKS = (
    Check(
        name="picks_over_random",
        min_value=0.001,  # above 0: equal rewards for all candidates are exactly as good as chance
        why="the best of N by its rewards is no better than a random candidate",
        rationale=(
            "The judge is from outside, and the difference is paired. A model that picks no better than chance gives a "
            "policy nothing to learn. 0.001 keeps a difference of exactly 0 from passing."
        ),
    ),
    Check(
        name="picks_over_longest",
        min_value=0.001,  # above 0: a model that picks the longest is exactly as good as that
        severity="soft",
        why="the best of N by its rewards is no better than the longest candidate",
        rationale="Length needs no model. Soft: where a judge likes length itself, the longest is hard to beat.",
    ),
)
"""Applied if a model picked among candidates that have labels from outside."""
