"""Audits without the pipeline: of a file of scores, or of any reward model on a labelled file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rm.audit import selection
from rm.audit.config import AuditConfig
from rm.audit.evidence import Evidence
from rm.audit.heldout import Heldout
from rm.audit.records import AuditReport, Provenance, training
from rm.audit.run import examine
from rm.benchmarks import judgebench
from rm.data.config import IngestConfig
from rm.errors import AuditError
from rm.files import replace_text, sha256_file
from rm.gate.decision import GateDecision, decide
from rm.gate.policy import GatePolicy
from rm.report.manifests import ReportManifest
from rm.report.stage import write_files
from rm.standalone import best_of_n, joined_files, labelled_files, score_files, side_by_side
from rm.standalone import twins as twin_files
from rm.standalone.score_files import ScoreFile
from rm.standalone.side_by_side import SideBySide
from rm.stats.finding import Finding

if TYPE_CHECKING:
    from rm.progress import OnProgress

COMPARED_NAME = "side_by_side"
"""The files of `audit_several` that compare the sets, without their endings ``.md`` and ``.json``."""


class ScoreSet(NamedTuple):
    """A file of scores, and what belongs to it."""

    scores: Path
    """In a format of `rm.standalone.score_formats`, or of `rm.standalone.joined_files` beside ``pairs``."""
    pairs: Path | None = None
    """The pairs, if they lie in a file of their own."""
    twins: Path | None = None
    """A file for `rm.standalone.twins.read`, of rewards of the same model. What is measured on it is in the report, so
    that the policy can name it, and in two more files of the folder."""
    candidates: Path | None = None
    """What the same model picks among candidates (`rm.standalone.candidates`); its findings join the report."""
    reading: IngestConfig = labelled_files.AS_IT_IS
    """How the pairs are read, as in `rm.standalone.labelled_files.read`."""

    @property
    def name(self) -> str:
        """The name of the file of scores without its endings."""
        return Path(self.scores.name.removesuffix(".gz").removesuffix(".zst")).stem


def audit_scores(
    scores: ScoreSet, policy: GatePolicy, config: AuditConfig, today: date, folder: Path
) -> tuple[AuditReport, GateDecision]:
    """Audit the rewards in a file, without the model that gave them.

    Parameters
    ----------
    scores : ScoreSet
    policy : GatePolicy
    config : AuditConfig
    today : date
        In UTC; decides which waivers are still valid.
    folder : Path
        Gets the files of `rm.report.stage.write_files`.

    Returns
    -------
    AuditReport and GateDecision

    Raises
    ------
    DataError
        If a file cannot be read, or files do not fit together; names row and key.
    AuditError
        If no pair is decided, the candidates have picks of several models, or the folder holds files but no report.
    """
    _check_folder(folder, ReportManifest.JSON_NAME)
    return _audit_read(scores, read_scores(scores), policy, config, today, folder)


def audit_several(
    sets: Sequence[ScoreSet], policy: GatePolicy, config: AuditConfig, today: date, folder: Path
) -> SideBySide:
    """Audit several sets of scores, each as `audit_scores` does, and compare them.

    All files are read before the first audit, so that a mistake in one of them is told at once.

    Parameters
    ----------
    sets : sequence of ScoreSet
        With different names.
    policy, config, today
        As for `audit_scores`.
    folder : Path
        Gets a folder for each set, with its name, and ``side_by_side.md`` and ``side_by_side.json``.

    Raises
    ------
    DataError
        As for `audit_scores`.
    AuditError
        As for `audit_scores`; if two sets have one name; if the folder holds other files than an earlier comparison, or
        a part of one.
    """
    for place, one in enumerate(sets):
        if same := next((other for other in sets[:place] if other.name == one.name), None):
            raise AuditError(
                f"{one.scores}: expected another name than {same.scores}, since each report is in a folder {one.name}"
            )
    _check_folder(folder, f"{COMPARED_NAME}.json", {one.name for one in sets})
    for one in sets:
        _check_folder(folder / one.name, ReportManifest.JSON_NAME)
    found = [read_scores(one) for one in sets]
    audited = [
        (one.name, *_audit_read(one, each, policy, config, today, folder / one.name))
        for one, each in zip(sets, found, strict=True)
    ]
    compared = side_by_side.compare([(name, report, decision.verdict) for name, report, decision in audited])
    replace_text(folder / f"{COMPARED_NAME}.json", compared.model_dump_json(indent=2) + "\n")
    replace_text(folder / f"{COMPARED_NAME}.md", side_by_side.markdown(compared))
    return compared


def read_scores(given: ScoreSet) -> ScoreFile:
    """Read a set of scores.

    Raises
    ------
    DataError, AuditError
        As for `audit_scores`.
    """
    if given.pairs is None:
        return score_files.read(given.scores)
    return joined_files.read(given.scores, given.pairs, given.reading)


def _audit_read(
    given: ScoreSet, found: ScoreFile, policy: GatePolicy, config: AuditConfig, today: date, folder: Path
) -> tuple[AuditReport, GateDecision]:
    problems = found.pairs.problems if found.pairs else ()
    twin_file = twin_files.read(given.twins) if given.twins is not None else None
    results = twin_file.measure(config) if twin_file is not None else ()
    notes = {
        f"format: {found.format}, {found.num_rows} rows": True,
        f"{found.num_duplicates} rows repeat an earlier row and are not counted again": found.num_duplicates,
        f"{found.num_rescored} responses have several rewards that differ by noise; their mean is used": (
            found.num_rescored
        ),
        f"{found.num_respelled} rewards are of texts that equal an earlier one but for white space or their Unicode "
        "form; the first one's is used": found.num_respelled,
        f"{len(problems)} pairs cannot be used; the first: {problems[:1]}": problems,
        _reading_note(given.reading): given.reading.model_fields_set,
        _mixed_note(found.mixed): found.mixed,
    }
    if twin_file is not None:
        notes[f"twins: {twin_file.path.name}, {twin_file.num_rows} rows, SHA-256 {twin_file.digest}"] = True
    name = found.path.name
    files = {found.path: found.digest}
    picked: tuple[Finding, ...] = ()
    if given.candidates is not None:
        picked = best_of_n.findings(given.candidates, config)
        files[given.candidates] = sha256_file(given.candidates)
        notes |= dict.fromkeys(best_of_n.undecided(given.candidates.name, picked), True)
    if found.pairs:
        files[found.pairs.path] = found.pairs.digest
    labels = found.pairs.digest if found.pairs else found.digest
    provenance = _provenance(name, found.digest, _by_name(files), labels, found.heldout, notes)
    evidence = Evidence(
        heldout=found.heldout,
        formulas=_formulas(found, config),
        twins=results,
        best_of_n=picked,
    )
    audited = _finish(evidence, provenance, policy, config, today, folder)
    if twin_file is not None:
        twin_files.write_files(results, twin_file, folder)
    return audited


def _reading_note(reading: IngestConfig) -> str:
    """A note on how the rows were read."""
    given = reading.model_dump(include=reading.model_fields_set, mode="json")
    return f"rows are read with {', '.join(f'ingest.{key}={value}' for key, value in given.items())}"


def _mixed_note(prompts: Sequence[str]) -> str:
    """A note on prompts of several domains; empty if there are none."""
    if not prompts:
        return ""
    return (
        f"{len(prompts)} prompts have rows of different domains or subsets; all pairs of a prompt count in one of "
        f"them; the first: {prompts[0]!r:.60}"
    )


def _by_name(files: Mapping[Path, str]) -> dict[str, str]:
    """Digests by name; files of one name have the name of their folder too. Whole paths may be private."""
    names = [path.name for path in files]
    return {
        path.name if names.count(path.name) == 1 else f"{path.resolve().parent.name}/{path.name}": digest
        for path, digest in files.items()
    }


def _formulas(found: ScoreFile, config: AuditConfig) -> tuple[Finding, ...]:
    """The benchmark's scores, if the pairs are in a format that a benchmark publishes."""
    if found.format != judgebench.NAME and (found.pairs is None or found.pairs.benchmark is None):
        return ()
    responses = found.heldout.responses
    ids = [found.heldout.prompt_ids[prompt] for prompt in responses.prompt]
    reward = dict(zip(zip(ids, responses.texts, strict=True), responses.reward.tolist(), strict=True))
    given = found.pairs or labelled_files.read(found.path)
    rewards = [np.array([reward[group.prompt_id, text] for text in group.responses]) for group in given.groups]
    return given.formulas(rewards, config)


def audit_model(
    model: Path,
    name: str,
    data: Path,
    policy: GatePolicy,
    config: AuditConfig,
    today: date,
    folder: Path,
    on_progress: OnProgress | None = None,
    reading: IngestConfig = labelled_files.AS_IT_IS,
) -> tuple[AuditReport, GateDecision]:
    """Audit a reward model on a labelled file: its rewards for the responses and for edits of them.

    Parameters
    ----------
    model : Path
        Folder of a model that `rm.score.scorer.Scorer` loads.
    name : str
        Name of the model in the report.
    data : Path
        Annotations in any format of `rm.data.formats`, or a benchmark's file (`rm.standalone.labelled_files`).
    policy, config, today, folder
        As for `audit_scores`.
    on_progress : callable, optional
        Called while the responses of the file are scored.
    reading : IngestConfig
        How the file is read, as in `rm.standalone.labelled_files.read`.

    Returns
    -------
    AuditReport and GateDecision

    Raises
    ------
    DataError, ModelError
        If the file or the model cannot be read.
    AuditError
        If no pair is decided, or the folder holds files but no report.
    """
    from rm.files import sha256_folder
    from rm.model import base_files
    from rm.probes.flawed_pairs import score_flawed_pairs
    from rm.probes.stage import probed
    from rm.score.scorer import Scorer

    _check_folder(folder, ReportManifest.JSON_NAME)
    given = labelled_files.read(data, reading)
    scorer = Scorer(model)
    scored = scorer.score_items(given.items, on_progress)
    rewards, num_tokens = [item.rewards for item in scored], [item.num_tokens for item in scored]
    table, invariant = probed(scorer, given.groups, config.probes)
    evidence = Evidence(
        heldout=given.heldout(rewards, num_tokens),
        probes=table,
        invariances=invariant,
        flawed_pairs=score_flawed_pairs(scorer),
        formulas=given.formulas(rewards, config),
    )
    notes = {
        f"{given.num_rows} rows": True,
        "the tokenizer has no chat template: the model read prompt and response as a pair of texts": scorer.reads_pairs,
        f"{given.num_duplicates} repeat an earlier one": given.num_duplicates,
        f"{len(given.problems)} rows cannot be used; the first: {given.problems[:1]}": given.problems,
        _reading_note(reading): reading.model_fields_set,
        _mixed_note(given.mixed): given.mixed,
    }
    provenance = _provenance(
        name, sha256_folder(model), {data.name: given.digest}, given.digest, evidence.heldout, notes
    )
    if (trained := base_files.own_manifest(model)) is not None:
        provenance = provenance.model_copy(update=training(trained))
    return _finish(evidence, provenance, policy, config, today, folder)


def _check_folder(folder: Path, earlier: str, own: Set[str] = frozenset()) -> None:
    """Refuse a folder with other files, so that none of them is overwritten.

    Parameters
    ----------
    folder : Path
    earlier : str
        The first file that is written in a folder of ours; a killed process may have left a part of it.
    own : set of str, optional
        Names of folders within that may be there without it; each is checked itself.
    """
    if folder.exists() and not folder.is_dir():
        raise AuditError(f"{folder}: expected a folder for the report, got a file")
    found = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if found - {*own, f"{earlier}.partial"} and not (folder / earlier).is_file():
        raise AuditError(f"{folder}: expected an empty folder or one with an earlier report, got one with other files")


def _provenance(
    name: str,
    digest: str,
    sources: Mapping[str, str],
    dataset_digest: str,
    heldout: Heldout,
    notes: Mapping[str, object],
) -> Provenance:
    return Provenance(
        base=name,
        checkpoint_digest=digest,
        dataset_digest=dataset_digest,
        sources=dict(sources),
        num_train_pairs=None,
        num_heldout_prompts=len(heldout.prompt_ids),
        num_label_ties=heldout.num_label_ties,
        overlong={},
        notes=(*(note for note, holds in notes.items() if holds), *selection.notes(heldout.pairs)),
    )


def _finish(
    evidence: Evidence, provenance: Provenance, policy: GatePolicy, config: AuditConfig, today: date, folder: Path
) -> tuple[AuditReport, GateDecision]:
    measured = examine(evidence, provenance, config)
    decision = decide(measured, policy, today)
    twin_files.remove_files(folder)
    write_files(measured, decision, evidence.heldout, folder)
    return measured, decision
