"""What an audit of labels found. Undefined numbers are NaN."""

from __future__ import annotations

from typing import Literal

from rm.labels.config import Action
from rm.labels.manifests import LabelsManifest
from rm.stats.finding import Finding, Record


class Estimate(Record):
    """A number with its interval: 95 %, or wider where several must hold together."""

    value: float
    low: float
    high: float


class MarkRow(Record):
    """What labels do with one mark of style."""

    feature: str
    family: str
    num_pairs: int
    """Pairs that differ in it."""
    more_wins: Estimate
    """Share of votes for the response with more of it."""
    effect: Estimate
    """Beside length: win probability for a usual difference of what length leaves of it. The intervals of all marks
    hold together in 95 of 100 audits."""


class Giveaway(Record):
    """A mark or phrase that nearly decides the label."""

    name: str
    num_pairs: int
    """Pairs in which only one response has it, or has more of it."""
    wins: float
    """Share of votes for that response."""
    bound: float
    """By how much at least it is on one side: of the share, or of one minus it."""


class Standing(Record):
    """An annotator's mean beside that of all others."""

    own: Estimate
    others: float
    num_prompts: int
    is_tested: bool = False
    """Whether there are prompts enough, on both sides, to call the annotator far; false where nobody told."""
    is_far: bool
    """Surely more than 10 points away; the chance that any annotator is called far by chance is 5 %."""


class AnnotatorRow(Record):
    """One annotator."""

    annotator: str
    """Of `rm.labels.aliases.alias`: no name."""
    num_votes: int
    num_shared: int
    """Votes on pairs on which others voted too."""
    agreement: Standing
    """With others on the same pair; beside: these others with each other, on the same pairs. Of pairs with two others
    or more where there are enough of these to test, else of all that others voted on too."""
    longer_wins: Standing

    @property
    def is_far(self) -> bool:
        """Whether this one votes unlike the others."""
        return self.agreement.is_far or self.longer_wins.is_far


class SourceRow(Record):
    """One source of judgements."""

    source: str
    num_votes: int
    num_pairs: int
    longer_wins: Estimate
    first_wins: Estimate
    """Share of votes for the response that the file has first. Always 1 or always 0 means that the file orders them by
    the label; snapshots do not keep that order."""
    agreement: Estimate
    """With votes of others, of any source, on the same pair."""
    share_of_new: float
    """Among the votes on pairs that the last snapshot did not have; NaN without one."""
    share_of_old: float


class BenchmarkRow(Record):
    """How much of a benchmark is in the annotations."""

    benchmark: str
    num_prompts: int
    num_skipped: int
    """Prompts that are not looked for: of fewer than five words, or nothing but a template of the benchmark."""
    num_train: int
    """Prompts of the benchmark that are in training prompts."""
    num_heldout: int
    examples: tuple[str, ...]


class DriftRow(Record):
    """What differs between pairs that the last snapshot had and those that came since."""

    name: str
    old: float
    new: float
    change: Estimate
    """In standard deviations of the older pairs, or of all where those are all the same; all intervals hold together in
    95 of 100 audits."""


class LabelResult(Record):
    """What became of one check."""

    name: str
    limit: float
    action: Action
    status: Literal["holds", "warned", "stopped", "not measured"]
    reason: str
    """One sentence."""


class LabelReport(Record):
    """All that was found on the labels of a snapshot."""

    num_prompts: int
    num_pairs: int
    """Training pairs that were read."""
    num_train_pairs: int
    """All training pairs."""
    num_votes: int
    """Judgements."""
    findings: tuple[Finding, ...]
    marks: tuple[MarkRow, ...]
    """The largest first."""
    giveaways: tuple[Giveaway, ...]
    annotators: tuple[AnnotatorRow, ...]
    """Those who are far first."""
    sources: tuple[SourceRow, ...]
    near_duplicates: tuple[tuple[str, str], ...]
    """Some held-out prompts, each with a training prompt that is nearly the same."""
    benchmarks: tuple[BenchmarkRow, ...]
    drift: tuple[DriftRow, ...]
    """The largest first; empty if there is no earlier snapshot of the table, or nothing came since."""
    checks: tuple[LabelResult, ...]
    notes: tuple[str, ...]

    def find(self, name: str) -> Finding | None:
        """The finding with this name."""
        return next((one for one in self.findings if one.name == name), None)

    def reasons(self, status: str) -> tuple[str, ...]:
        """The sentences of all checks with a status."""
        return tuple(check.reason for check in self.checks if check.status == status)


def read_labels(manifest: LabelsManifest) -> LabelReport:
    """The report in the folder of a finished stage."""
    text = (manifest.path / LabelsManifest.REPORT_NAME).read_bytes()
    return LabelReport.model_validate_json(text)
