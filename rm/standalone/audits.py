"""Audits without the pipeline: of a file of scores, or of any reward model on a labelled file."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rm.audit.config import AuditConfig
from rm.audit.evidence import Evidence
from rm.audit.heldout import Heldout
from rm.audit.records import AuditReport, Provenance
from rm.audit.run import examine
from rm.benchmarks import judgebench
from rm.errors import AuditError
from rm.gate.decision import GateDecision, decide
from rm.gate.policy import GatePolicy
from rm.report.manifests import ReportManifest
from rm.report.stage import write_files
from rm.selftest.run import run_self_test
from rm.standalone import labelled_files, score_files
from rm.standalone.score_files import ScoreFile
from rm.stats.finding import Finding

if TYPE_CHECKING:
    from rm.progress import OnProgress


def audit_scores(
    scores: Path, policy: GatePolicy, config: AuditConfig, today: date, folder: Path
) -> tuple[AuditReport, GateDecision]:
    """Audit the rewards in a file, without the model that gave them.

    Parameters
    ----------
    scores : Path
        A file in a format of `rm.standalone.score_formats`.
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
        If the file cannot be read; names row and key.
    AuditError
        If no pair is decided, or the folder holds files but no report.
    """
    _check_folder(folder)
    found = score_files.read(scores)
    notes = {
        f"format: {found.format}, {found.num_rows} rows": True,
        f"{found.num_duplicates} rows repeat an earlier row and are not counted again": found.num_duplicates,
        f"{found.num_rescored} responses have several rewards that differ by noise; their mean is used": (
            found.num_rescored
        ),
    }
    provenance = _provenance(scores.name, found.digest, scores.name, found.digest, found.heldout, notes)
    evidence = Evidence(heldout=found.heldout, formulas=_formulas(scores, found, config))
    return _finish(evidence, provenance, policy, config, today, folder)


def _formulas(scores: Path, found: ScoreFile, config: AuditConfig) -> tuple[Finding, ...]:
    """The benchmark's scores, if the file of scores is in a format that a benchmark publishes."""
    if found.format != judgebench.NAME:
        return ()
    responses = found.heldout.responses
    ids = [found.heldout.prompt_ids[prompt] for prompt in responses.prompt]
    reward = dict(zip(zip(ids, responses.texts, strict=True), responses.reward.tolist(), strict=True))
    given = labelled_files.read(scores)
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
    from rm.probes.flawed_pairs import score_flawed_pairs
    from rm.probes.stage import probed
    from rm.score.scorer import Scorer

    _check_folder(folder)
    given = labelled_files.read(data)
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
    }
    provenance = _provenance(name, sha256_folder(model), data.name, given.digest, evidence.heldout, notes)
    return _finish(evidence, provenance, policy, config, today, folder)


def _check_folder(folder: Path) -> None:
    """Refuse a folder with other files, so that none of them is overwritten."""
    if folder.exists() and not folder.is_dir():
        raise AuditError(f"{folder}: expected a folder for the report, got a file")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / ReportManifest.JSON_NAME).is_file():
        raise AuditError(f"{folder}: expected an empty folder or one with an earlier report, got one with other files")


def _provenance(
    name: str, digest: str, source: str, source_digest: str, heldout: Heldout, notes: Mapping[str, object]
) -> Provenance:
    return Provenance(
        base=name,
        checkpoint_digest=digest,
        dataset_digest=source_digest,
        sources={source: source_digest},
        num_train_pairs=None,
        num_heldout_prompts=len(heldout.prompt_ids),
        num_label_ties=heldout.num_label_ties,
        overlong={},
        notes=tuple(note for note, holds in notes.items() if holds),
    )


def _finish(
    evidence: Evidence, provenance: Provenance, policy: GatePolicy, config: AuditConfig, today: date, folder: Path
) -> tuple[AuditReport, GateDecision]:
    measured = examine(evidence, provenance, config)
    decision = decide(measured, policy, today)
    pairs = evidence.heldout.pairs
    certificate = run_self_test(len(pairs.margin), len(set(pairs.cluster.tolist())), policy, config.probes)
    write_files(measured, decision, evidence.heldout, certificate, folder)
    return measured, decision
