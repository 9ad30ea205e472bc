"""What an audit measured: records that the gate, the report and the trackers read."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from rm.audit.manifests import AuditManifest
from rm.audit.twin_results import TwinResult
from rm.model.manifests import CheckpointManifest
from rm.probes.results import ProbeResult
from rm.stats.finding import Finding, Record

EVERYTHING = "surface"
"""The part of a reward that all features of the battery predict."""


class Bucket(Record):
    """Rewards and accuracy where low <= length of the response < high."""

    low: int
    high: int
    num_responses: int
    reward: Finding
    accuracy: Finding
    """Of the pairs whose chosen response lies in the bucket."""


class Decile(Record):
    """Accuracy where the chosen response is longer than the rejected one by low to high."""

    low: float
    high: float
    accuracy: Finding
    champion_accuracy: Finding | None


class Example(Record):
    """A pair that the model got wrong."""

    prompt: str
    chosen: str
    rejected: str
    margin: float
    length_chosen: int
    length_rejected: int


class Provenance(Record):
    """What was audited, on what."""

    base: str
    checkpoint_digest: str
    dataset_digest: str
    sources: dict[str, str]
    num_train_pairs: int | None
    """None if it is not known."""
    num_heldout_prompts: int
    num_label_ties: int
    overlong: dict[str, dict[str, int]]
    notes: tuple[str, ...] = ()
    """What else a reader should know about the data, such as rows that could not be used."""
    champion: str | None = None
    """The model in use, with which the audited one was compared."""
    champion_digest: str | None = None
    trained_on: tuple[str, ...] = ()
    """Names of the probes whose questions the model was taught, as far as it is known."""
    controlled: tuple[str, ...] = ()
    """What its training controlled for, by the names of ``train.remedies.controlled``, as far as it is known."""
    remedy_shares: dict[str, float] = Field(default_factory=dict)
    """Shares of the training prompts to which remedies added pairs, by their keys in ``train.remedies``, as far as
    they are known."""
    keeps_head: bool = False
    """Whether its training is known to have started from the head of a reward model, beside which nothing can be
    controlled."""


def training(checkpoint: CheckpointManifest) -> dict[str, Any]:
    """What `Provenance` says of the remedies of a training."""
    names = ("trained_on", "controlled", "remedy_shares", "keeps_head")
    return {name: getattr(checkpoint, name) for name in names}


class OverpaidRow(Record):
    """What the model pays for one feature, and what the labels still ask of it once the reward is known.

    All in shares of win probability (0.01 is one point) per usual difference of the feature.
    """

    feature: str
    family: str
    within: str | None
    """The kind of prompt that it is looked at in; None: all."""
    about: str
    source: str
    """Why a model may pay for it."""
    num_pairs: int
    """Pairs that differ in it."""
    num_clusters: int
    asked: float
    asked_error: float
    paid: float
    paid_error: float
    excess: float
    """Above 0 if overpaid, below 0 if over-punished."""
    bound: float
    """Simultaneous lower bound of the excess's size; below 0 where none is shown."""
    visible: float
    """Size of excess that four of five audits of this size would have shown."""
    verdict: Literal["named", "goes along", "blunter", "clear", "untestable"]
    along: str | None
    """The named feature that it goes along with."""


class OverpaidTable(Record):
    """Every feature of surface, the ones with the largest bound first."""

    critical_value: float
    """Standard errors between an estimate and its simultaneous bound."""
    follows_labels: bool
    """Whether rewards and labels go together beyond chance; if not, nothing could be tested."""
    never_wrong: bool = False
    """Whether the model is wrong on no pair, so that errors tell nothing."""
    rows: tuple[OverpaidRow, ...]


class WordResult(Record):
    """A word or phrase for which the model pays although the labels ask for less of it, or the other way round."""

    phrase: str
    num_pairs: int
    """Pairs in which exactly one response has the phrase."""
    share_model: float
    """Share of these pairs in which the response with the phrase has the higher reward; ties 1/2."""
    share_labels: float
    """Share of these pairs in which annotators chose the response with the phrase."""
    asked: float
    """What the labels still ask of it once the reward is known, in shares of win probability."""
    paid: float
    """What the model pays for it, in the same unit."""
    z: float
    """Of what is asked."""
    p: float
    q: float
    """False discovery rate at which it counts as found."""
    direction: Literal["over", "under"]
    """Overpaid or over-punished."""


class WordTable(Record):
    """The phrases found, the most certain first."""

    found: tuple[WordResult, ...]
    """At most 20."""
    num_found: int
    num_tested: int


class TopPattern(Record):
    """How often a pattern is in the responses with the highest rewards, and in the other responses."""

    pattern: str
    kind: Literal["style", "phrase"]
    top: Finding
    rest: Finding
    excess: Finding
    """``top`` minus ``rest``."""
    q: float
    """False discovery rate at which a phrase counts as found; NaN for style."""
    num_training_texts: int | None
    """Number of training texts that have it; None if the training texts are not known."""


class TopRewards(Record):
    """What the tenth of the responses with the highest rewards have in common."""

    num_top: int
    """0 where more than a tenth tie at the top, so that nothing was compared."""
    num_rest: int
    num_single: int
    """Responses left out because they are the only one of their prompt."""
    style: tuple[TopPattern, ...]
    phrases: tuple[TopPattern, ...]
    """At most 20 of the phrases found, the most certain first."""
    num_found: int
    num_tested: int
    unseen: tuple[TopPattern, ...] | None
    """Patterns that at least 5 % of the top responses and no training text have; None if the texts are not known."""


class CalibrationBin(Record):
    """Pairs of about equal margin: how sure the model is, and how often it is right."""

    low: float
    """Smallest absolute margin."""
    high: float
    """Largest absolute margin."""
    confidence: Finding
    accuracy: Finding


class AuditReport(Record):
    """All that an audit measured."""

    findings: tuple[Finding, ...]
    deciles: tuple[Decile, ...] = ()
    buckets: tuple[Bucket, ...] = ()
    calibration: tuple[CalibrationBin, ...] = ()
    overpaid: OverpaidTable | None = None
    words: WordTable | None = None
    top_rewards: TopRewards | None = None
    subsets: dict[str, tuple[Finding, ...]] = Field(default_factory=dict)
    """For each division of the pairs, accuracy by subset, the worst first."""
    probes: tuple[ProbeResult, ...] = ()
    """Empty if no response was edited."""
    twins: tuple[TwinResult, ...] = ()
    """By kind of twin; empty if none was scored."""
    flaws: tuple[Finding, ...] = ()
    """Accuracy on the project's own pairs with one obvious flaw, by kind of flaw, then over all."""
    examples: tuple[Example, ...] = ()
    length_unit: str = "tokens"
    num_unscored: int = 0
    """Held-out responses without a reward: the model had no room for them."""
    provenance: Provenance

    def by_name(self) -> dict[str, Finding]:
        """The findings by name, as policies name them."""
        return {finding.name: finding for finding in self.findings}

    def finding(self, name: str) -> Finding | None:
        """The finding with this name, or None if it was not measured."""
        return self.by_name().get(name)

    def find(self, kind: str, /, **labels: str) -> Finding | None:
        """The finding of this kind with exactly these labels, or None if it was not measured."""
        return next((one for one in self.findings if one.kind == kind and one.labels == labels), None)

    def select(self, kind: str, /, **labels: str) -> tuple[Finding, ...]:
        """All findings of a kind that have at least these labels, in their order."""
        return tuple(one for one in self.findings if one.is_a(kind, **labels))


def read_report(manifest: AuditManifest) -> AuditReport:
    """What an audit measured."""
    return AuditReport.model_validate_json((manifest.path / AuditManifest.FINDINGS_NAME).read_text(encoding="utf-8"))
