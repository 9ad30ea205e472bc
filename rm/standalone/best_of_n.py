"""Audit of what models pick among the candidates in a file, alone or beside an audit of scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

from rm.audit import best_of_n_labels
from rm.audit.best_of_n_labels import PICKED_OVER_RANDOM
from rm.audit.config import AuditConfig
from rm.audit.records import AuditReport, Provenance
from rm.errors import AuditError
from rm.files import replace_text
from rm.gate.decision import GateDecision, decide
from rm.gate.policy import GatePolicy
from rm.report import picks
from rm.report.markdown import escaped, listed, table
from rm.standalone import candidates
from rm.standalone.candidates import CandidateFile
from rm.stats.finding import Finding, Record

JSON_NAME = "best_of_n.json"
MARKDOWN_NAME = "best_of_n.md"
COLUMNS = ("model", "N", "picks", "random", "longest", "oracle", "picks longest", "chance", "length")
LEGEND = (
    "picks, random, longest, oracle: probability that the judge prefers them to the reference, among candidates with a "
    "label. picks longest, chance: how often the pick is the longest, and a random pick would be. length: of picks, "
    "over the mean."
)
_NUM_DRIFTS = 10


class ModelPicks(Record):
    """What one model picks."""

    name: str
    findings: tuple[Finding, ...]
    """`rm.audit.best_of_n_labels.measure`."""

    def find(self, kind: str, /, **labels: str) -> Finding | None:
        """The finding of this kind with exactly these labels, or None if it was not measured."""
        return next((one for one in self.findings if one.kind == kind and one.labels == labels), None)

    @property
    def drifts(self) -> tuple[Finding, ...]:
        """Drifts over all candidates, the largest first."""
        return tuple(one for one in self.findings if one.is_a("pick_drift") and "n" not in one.labels)


class BestOfN(Record):
    """What the models of a file pick."""

    file: str
    digest: str
    """SHA-256 of the file."""
    num_prompts: int
    num_sets: int
    num_candidates: int
    """In all sets."""
    num_labelled: int
    notes: tuple[str, ...]
    models: tuple[ModelPicks, ...]
    decision: GateDecision | None = None
    """None without rewards, labels or a hard check: then nothing is judged."""


class Row(NamedTuple):
    """A line of the table: one model and one N."""

    model: str
    number: str
    numbers: tuple[Finding | None, ...]
    """One for each of `COLUMNS` from the third on."""


def audit(path: Path, policy: GatePolicy, config: AuditConfig, today: date) -> BestOfN:
    """Measure what each model of a file of candidates picks.

    Parameters
    ----------
    path : Path
        A file as `rm.standalone.candidates` describes it.
    policy : GatePolicy
        Its ``best_of_n_checks`` judge the picks by rewards if candidates have labels.
    config : AuditConfig
    today : date
        In UTC; decides which waivers are still valid.

    Raises
    ------
    DataError
        If the file cannot be read; names row and key.
    """
    given = candidates.read(path)
    models = tuple(
        ModelPicks(name=picker.name, findings=best_of_n_labels.measure(given.sets, picker, config))
        for picker in given.pickers
    )
    notes = [*_notes(given), *(note for model in models for note in undecided(model.name, model.findings))]
    decision = None
    if given.pickers[0].scored and models[0].find(PICKED_OVER_RANDOM.kind):
        decision = _decision(given, models[0], policy, today)
        if not any(check.severity == "hard" for check in decision.checks):  # a decision without one is a rejection
            decision = None
            notes.append("Nothing is judged: none of the policy's best_of_n_checks that apply is hard.")
    return BestOfN(
        file=path.name,
        digest=given.digest,
        num_prompts=given.sets.num_prompts,
        num_sets=len(given.sets.cluster),
        num_candidates=len(given.sets.texts),
        num_labelled=int(given.sets.labelled.sum()),
        notes=tuple(notes),
        models=models,
        decision=decision,
    )


def findings(path: Path, config: AuditConfig) -> tuple[Finding, ...]:
    """The findings that join the report of the one model in a file: `rm.audit.best_of_n_labels.main`.

    Raises
    ------
    DataError
        As for `audit`.
    AuditError
        If the file has picks of several models.
    """
    given = candidates.read(path)
    if len(given.pickers) > 1:
        names = [picker.name for picker in given.pickers]
        raise AuditError(f"{path}: picked_by: expected the picks of the audited model alone, got those of {names}")
    return best_of_n_labels.main(best_of_n_labels.measure(given.sets, given.pickers[0], config))


def undecided(name: str, findings: Sequence[Finding]) -> Iterator[str]:
    """A note if labels do not say whether the picks of a model are good, as none can be held against another."""
    for one in findings:
        if one.is_a(PICKED_OVER_RANDOM.kind) and not one.num_pairs:
            yield f"Picks of {name} cannot be compared with others: {one.method}."


def _notes(given: CandidateFile) -> Iterator[str]:
    """What a reader should know about the labels."""
    sets, labelled = given.sets, given.sets.labelled
    if not labelled.any():
        yield "No candidate has a label: nobody says which pick is good."
        return
    if not labelled.all():
        one, other = sets.length[labelled].mean(), sets.length[~labelled].mean()
        yield (
            f"{labelled.sum():,} of {len(labelled):,} candidates have a label; they have {one:,.0f} characters on "
            f"average, those without {other:,.0f}. Win probabilities are of candidates with a label only."
        )
        if not given.pickers[0].scored:
            yield "Win probabilities are over the prompts whose pick has a label, other prompts for each model."


def _decision(given: CandidateFile, model: ModelPicks, policy: GatePolicy, today: date) -> GateDecision:
    """What the policy's checks on best of N say, without its other checks."""
    provenance = Provenance(
        base=model.name,
        checkpoint_digest=given.digest,
        dataset_digest=given.digest,
        sources={given.path.name: given.digest},
        num_train_pairs=None,
        num_heldout_prompts=given.sets.num_prompts,
        num_label_ties=0,
        overlong={},
    )
    # Not validated again: a policy that is to be used for whole audits needs a hard check among `checks`, this one not.
    own = policy.model_copy(update={"checks": (), "probe_checks": (), "champion_checks": ()})
    return decide(AuditReport(findings=model.findings, provenance=provenance), own, today)


def rows(result: BestOfN) -> tuple[Row, ...]:
    """The lines of the table: for each model the powers of two, then all candidates."""
    return tuple(
        Row(model.name, one.title, (*(one.wins.get(of) for of in picks.PICKERS), one.longest, one.chance, one.length))
        for model in result.models
        for one in picks.offered(model.findings)
    )


def shown(finding: Finding | None) -> str:
    """A number with its interval; a dash where nothing was measured."""
    return f"{finding.estimate:.3f} [{finding.ci_low:.3f}, {finding.ci_high:.3f}]" if finding else "-"


def short(finding: Finding | None) -> str:
    """A number without its interval; a dash where nothing was measured."""
    return f"{finding.estimate:.3f}" if finding else "-"


def about(result: BestOfN) -> str:
    """What was audited, in one line."""
    counts = f"{result.num_prompts:,} prompts, {result.num_candidates:,} candidates in {result.num_sets:,} sets"
    return f"{result.file}: {counts}, {result.num_labelled:,} with a label"


def differences(result: BestOfN) -> Iterator[str]:
    """For each model one line: its picks against random ones and the longest, and the largest drifts of families."""
    for model in result.models:
        over = {name: model.find(f"picks_over_{name}") for name in ("random", "longest")}
        parts = [
            f"over {name} {shown(one)}, n = {one.num_pairs:,}" for name, one in over.items() if one and one.num_pairs
        ]
        largest = best_of_n_labels.largest_by_family(model.findings)
        drifts = ", ".join(f"{one.labels['feature']} {one.estimate:+.2f}" for one in largest)
        parts.append(f"drift most in {drifts or 'nothing'}")
        yield f"{model.name}: its picks {'; '.join(parts)}"


def write(result: BestOfN, folder: Path) -> None:
    """Write the result as strict JSON and as Markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    replace_text(folder / JSON_NAME, result.model_dump_json(indent=2) + "\n")
    replace_text(folder / MARKDOWN_NAME, markdown(result))


def markdown(result: BestOfN) -> str:
    """The table, each model's largest drifts, and the checks, as GitHub-flavoured Markdown."""
    parts = [
        "## Best of N",
        escaped(about(result)),
        *listed("Notes", result.notes),
        table(COLUMNS, ((row.model, row.number, *map(shown, row.numbers)) for row in rows(result))),
        LEGEND,
        *listed("In short", tuple(differences(result))),
    ]
    for model in result.models:
        drifts = ((one.labels["feature"], shown(one)) for one in model.drifts[:_NUM_DRIFTS])
        parts.append(table((f"picks of {escaped(model.name)} drift in", "standard deviations within sets"), drifts))
    if result.decision is not None:
        checks = ((one.name, one.severity, one.status, one.reason) for one in result.decision.checks)
        parts.append(table(("check", "severity", "result", "measured and allowed"), checks))
    return "\n\n".join(parts) + "\n"
