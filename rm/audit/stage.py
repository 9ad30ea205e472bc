"""The audit as a stage: measures a checkpoint and writes the findings to disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rm.audit import champion as comparison
from rm.audit import heldout as scored
from rm.audit import parts, selection
from rm.audit.config import AuditConfig
from rm.audit.evidence import Evidence, TrainTexts
from rm.audit.manifests import AuditManifest
from rm.audit.parts import Part
from rm.audit.records import Provenance, training
from rm.audit.run import examine
from rm.data.manifests import DatasetManifest
from rm.data.prompt_groups import each_group
from rm.errors import AuditError, NothingToAudit
from rm.files import replace_text
from rm.model.manifests import CheckpointManifest
from rm.parquet import write_table
from rm.probes import invariances
from rm.probes.manifests import ProbesManifest
from rm.score.manifests import ChampionManifest, ScoresManifest
from rm.stats.finding import Finding
from rm.tokens.manifests import TokenizedManifest


def audit(
    scores: ScoresManifest,
    probed: ProbesManifest,
    dataset: DatasetManifest,
    tokenized: TokenizedManifest,
    checkpoint: CheckpointManifest,
    champion_scores: ChampionManifest | None,
    config: AuditConfig,
    part: Part,
    folder: Path,
) -> AuditManifest:
    """Measure a checkpoint's biases on the held-out pairs.

    Parameters
    ----------
    scores, probed : manifests
        The checkpoint's rewards for held-out responses and for edited ones.
    dataset, tokenized : manifests
        The held-out pairs, and counts of those that were too long.
    checkpoint : CheckpointManifest
    champion_scores : ChampionManifest or None
        Rewards of the model in use for the same responses; None if there is none.
    config : AuditConfig
    part : str
        The part of the held-out prompts to look at.
    folder : Path
        Gets ``findings.json`` (`AuditReport`), ``scores.parquet`` (`rm.audit.heldout.PAIRS_SCHEMA`) and the manifest.

    Raises
    ------
    AuditError
        If the scores are of another checkpoint or not finite, or no pair with a majority has two of them.
    """
    for given in (scores, probed):
        if given.checkpoint_digest != checkpoint.digest:
            raise AuditError(
                f"{given.path}: scores of checkpoint {given.checkpoint_digest[:12]}, not {checkpoint.digest[:12]}"
            )
    evidence = _gathered(scores, probed, dataset, champion_scores, part)
    heldout = evidence.heldout
    provenance = Provenance(
        base=checkpoint.base,
        checkpoint_digest=checkpoint.digest,
        dataset_digest=dataset.digest,
        sources=dataset.sources,
        num_train_pairs=checkpoint.num_train_pairs,
        num_heldout_prompts=len(heldout.prompt_ids),
        num_label_ties=heldout.num_label_ties,
        overlong=tokenized.overlong,
        notes=(*parts.NOTES[part], *selection.notes(heldout.pairs)),
        champion=champion_scores and champion_scores.name,
        champion_digest=champion_scores and champion_scores.checkpoint_digest,
        **training(checkpoint),
    )
    measured = examine(evidence, provenance, config)
    replace_text(folder / AuditManifest.FINDINGS_NAME, measured.model_dump_json(indent=2) + "\n")
    write_table(folder / AuditManifest.PAIRS_NAME, heldout.table)
    return AuditManifest.seal(
        folder,
        inputs=(scores, probed, dataset, *([champion_scores] if champion_scores else [])),
        config=config,
        num_rows=heldout.table.num_rows,
        num_clusters=len(np.unique(heldout.pairs.cluster)),
        checkpoint_digest=checkpoint.digest,
        part=part,
    )


_MAX_TRAIN_PAIRS = 100_000
"""Training pairs that the baselines are fitted on, at most: texts of more would not fit into memory. Prompts are in the
order of a hash, so the first ones are a random sample."""


def _gathered(
    scores: ScoresManifest,
    probed: ProbesManifest,
    dataset: DatasetManifest,
    champion_scores: ChampionManifest | None,
    part: Part,
) -> Evidence:
    heldout = scored.join_scores(dataset, scores, part)
    champion, incomparable = _compared(heldout, dataset, champion_scores, part)
    chosen, rejected = scored.decided_texts(each_group(dataset, "train"), _MAX_TRAIN_PAIRS)
    return Evidence(
        heldout=heldout,
        train=TrainTexts(chosen=chosen, rejected=rejected),
        champion=champion,
        incomparable=incomparable,
        probes=_edits(probed, heldout),
        invariances=invariances.read(probed),
        flawed_pairs=pq.read_table(probed.path / ProbesManifest.FLAWED_PAIRS_NAME).to_pylist(),
    )


def _compared(
    heldout: scored.Heldout, dataset: DatasetManifest, champion_scores: ChampionManifest | None, part: Part
) -> tuple[scored.Heldout | None, tuple[Finding, ...]]:
    """The champion's rewards, or what stands in their place if a comparison would say little."""
    if champion_scores is None:
        return None, ()
    num_pairs = len(heldout.pairs.margin)
    try:
        champion = scored.join_scores(dataset, champion_scores, part)
    except NothingToAudit:  # it has no room for any of them
        return None, comparison.incomparable(0, num_pairs)
    num_common = comparison.num_common(heldout, champion)
    if num_common < num_pairs / 2:
        return None, comparison.incomparable(num_common, num_pairs)
    return champion, ()


def _edits(probed: ProbesManifest, heldout: scored.Heldout) -> pa.Table:
    """The edits of responses to these prompts."""
    edits = pq.read_table(probed.path / ProbesManifest.EDITS_NAME)
    return edits.filter(pc.is_in(edits["prompt_id"], pa.array(heldout.prompt_ids)))
