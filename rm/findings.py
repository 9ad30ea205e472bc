"""What an audit measured: records that the gate, the report and the trackers read."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Finding(_Record):
    """One measured number. An undefined estimate or bound is NaN, which no gate lets pass."""

    name: str
    estimate: float
    ci_low: float
    ci_high: float
    num_pairs: int
    """Pairs, or responses where the unit says so, behind the number."""
    unit: str
    method: str


class Bucket(_Record):
    """Rewards and accuracy where low <= length of the response < high."""

    low: int
    high: int
    num_responses: int
    reward: Finding
    accuracy: Finding
    """Of the pairs whose chosen response lies in the bucket."""


class Decile(_Record):
    """Accuracy where the chosen response is longer than the rejected one by low to high."""

    low: float
    high: float
    accuracy: Finding
    champion_accuracy: Finding | None


class Example(_Record):
    """A pair that the model got wrong."""

    prompt: str
    chosen: str
    rejected: str
    margin: float
    length_chosen: int
    length_rejected: int


class ProbeExample(_Record):
    """An edit that moved the reward the wrong way."""

    prompt: str
    edited_prompt: str | None
    """None if the prompt stayed."""
    response: str
    edited: str
    reward: float
    reward_edited: float


class ProbeDose(_Record):
    """What one dose of an edit, or one word, did to the reward."""

    dose: str
    """Empty where the probe has only one."""
    applicability: float
    """Share of the parents to which the edit applies."""
    num_parents: int
    """Parents to which it applies and for whose edited text the model has room."""
    win_rate: Finding
    over_placebo: Finding | None
    effect: Finding


class ProbeResult(_Record):
    """How the reward reacts to one kind of edit."""

    name: str
    family: str
    kind: str
    """MFT, INV or DIR, as CheckList has them."""
    expected: str
    """lower, not_higher, same or report."""
    about: str
    source: str
    applicability: float
    num_parents: int
    win_rate: Finding
    """Share of parents whose edit has the higher reward, ties 1/2; at the strongest dose, or over all words."""
    over_placebo: Finding | None
    """Win rate of the edit minus the placebo's, on the parents that have both."""
    effect: Finding
    """Mean change of the reward, in standard deviations of the parents' rewards."""
    dose_response: Finding | None
    """Mean change of the reward from one dose to the next, in the same unit; None without an order of doses."""
    doses: tuple[ProbeDose, ...]
    low: float | None
    """Limits on the win rate, of every word where the doses are words."""
    high: float | None
    as_expected: bool | None
    """Whether the win rate's estimate lies on the expected side of 1/2 (within the limits where it should stay there);
    None where nothing is expected or it is undefined."""
    examples: tuple[ProbeExample, ...]
    """The largest changes in the wrong direction, or in any where the reward should stay."""

    def findings(self) -> tuple[Finding, ...]:
        """Every number, each name once."""
        own = (self.win_rate, self.over_placebo, self.effect, self.dose_response)
        by_dose = [found for dose in self.doses for found in (dose.win_rate, dose.over_placebo, dose.effect)]
        return tuple({found.name: found for found in (*own, *by_dose) if found is not None}.values())


class Provenance(_Record):
    """What was audited, on what."""

    base: str
    checkpoint_digest: str
    dataset_digest: str
    sources: dict[str, str]
    num_train_pairs: int | None
    """None where it is not known."""
    num_heldout_prompts: int
    num_label_ties: int
    overlong: dict[str, dict[str, int]]
    notes: tuple[str, ...] = ()
    """What else is to be known of the data, such as rows that could not be used."""
    champion: str | None = None
    """The model in use that it was compared with."""
    champion_digest: str | None = None


class WordResult(_Record):
    """A word or phrase that the model prefers, or avoids, beyond what labels and length predict."""

    phrase: str
    num_pairs: int
    """Pairs in which one response has it and the other has not."""
    share_model: float
    """Of these, where the response with it has the higher reward; ties 1/2."""
    share_labels: float
    """Of these, where annotators chose the response with it."""
    z: float
    p: float
    q: float
    """False discovery rate at which it counts as found."""
    direction: Literal["over", "under"]


class WordTable(_Record):
    """The phrases that were found, the most certain first."""

    found: tuple[WordResult, ...]
    """At most 20."""
    num_found: int
    num_tested: int
    largest_excess: float
    """Of all that were found: share of the model minus share of the labels, absolute; NaN if none could be tested."""


class TopPattern(_Record):
    """How often something stands in the responses with the highest rewards, and in the others."""

    pattern: str
    kind: Literal["style", "phrase"]
    top: Finding
    rest: Finding
    excess: Finding
    """``top`` minus ``rest``."""
    q: float
    """False discovery rate at which a phrase counts as found; NaN for style."""
    num_training_texts: int | None
    """Training texts that have it; None if they are not known."""


class TopRewards(_Record):
    """What the tenth of the responses with the highest rewards has in common."""

    num_top: int
    num_rest: int
    num_single: int
    """Responses left out since they are the only one of their prompt."""
    style: tuple[TopPattern, ...]
    phrases: tuple[TopPattern, ...]
    """At most 20 of those found, the most certain first."""
    num_found: int
    num_tested: int
    unseen: tuple[TopPattern, ...] | None
    """Style and phrases of one in twenty of the top responses or more that no training text has; None if not known."""


class CalibrationBin(_Record):
    """Pairs of about equal margin: how sure the model is, and how often it is right."""

    low: float
    """Smallest absolute margin."""
    high: float
    """Largest absolute margin."""
    confidence: Finding
    accuracy: Finding


class CheckRate(_Record):
    """What one check said of a toy reward model, over all repeats."""

    name: str
    passed: float
    failed: float
    inconclusive: float
    """Shares of the repeats."""
    num_repeats: int


class PlantedBias(_Record):
    """A toy reward model with a planted bias, audited again and again."""

    name: str
    strength: float
    """In units in which one more right sentence is worth 1; 0 for a model without bias."""
    passed: float
    failed: float
    inconclusive: float
    """Shares of the repeats in which the verdict, by the hard checks, was this. Checks on edits and on a champion have
    no part in it, since not every audit has these."""
    warned: float
    """Share of the repeats in which one of these checks, hard or soft, did not pass."""
    checks: tuple[CheckRate, ...]
    """Every check that could be tried, those on edits and on a champion too."""


class SelfTest(_Record):
    """What an audit of this size would have found, had it been there."""

    num_pairs: int
    num_prompts: int
    num_repeats: int
    planted: tuple[PlantedBias, ...]
    smallest_seen: dict[str, float | None]
    """Smallest strength at which a kind of bias fails the gate in 80 % of the repeats; None if none that was tried
    does."""
    not_simulated: tuple[str, ...]
    """Checks on findings that the toys do not have."""


class AuditReport(_Record):
    """All that an audit measured."""

    findings: tuple[Finding, ...]
    deciles: tuple[Decile, ...] = ()
    buckets: tuple[Bucket, ...] = ()
    calibration: tuple[CalibrationBin, ...] = ()
    words: WordTable | None = None
    top_rewards: TopRewards | None = None
    subsets: dict[str, tuple[Finding, ...]] = {}
    """Accuracy by subset, of each division of the pairs, the worst first."""
    probes: tuple[ProbeResult, ...] = ()
    """Empty: no response was edited."""
    flaws: tuple[Finding, ...] = ()
    """Accuracy on the project's own pairs with one obvious flaw, by kind of flaw, then over all."""
    examples: tuple[Example, ...] = ()
    length_unit: str = "tokens"
    num_unscored: int = 0
    """Held-out responses without a reward: the model had no room for them."""
    provenance: Provenance

    def finding(self, name: str) -> Finding | None:
        """The finding of that name, None if it was not measured."""
        return next((finding for finding in self.findings if finding.name == name), None)
