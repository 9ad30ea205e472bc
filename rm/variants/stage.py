"""Fitting variants as a stage."""

from __future__ import annotations

from pathlib import Path

from rm.audit import heldout
from rm.audit.config import AuditConfig
from rm.data.manifests import DatasetManifest
from rm.errors import AuditError
from rm.files import replace_text
from rm.score.manifests import ScoresManifest
from rm.variants import fitting
from rm.variants.manifests import VariantsManifest
from rm.variants.records import NAMES, Variants


def write(dataset: DatasetManifest, scores: ScoresManifest, config: AuditConfig, folder: Path) -> VariantsManifest:
    """Fit the variants of a checkpoint's reward by the third of the held-out prompts that remedies are chosen on.

    Parameters
    ----------
    dataset, scores : manifests
        The held-out pairs, and the checkpoint's rewards of them.
    config : AuditConfig
        Number of resamples, and their seed.
    folder : Path
        Gets ``variants.json`` (`rm.variants.records.Variants`) and the manifest.
    """
    found = _fitted(dataset, scores, config)
    replace_text(folder / VariantsManifest.VARIANTS_NAME, found.model_dump_json(indent=2) + "\n")
    return VariantsManifest.seal(
        folder,
        inputs=(dataset, scores),
        config=config,
        num_rows=len(found.variants),
        checkpoint_digest=scores.checkpoint_digest,
    )


def _fitted(dataset: DatasetManifest, scores: ScoresManifest, config: AuditConfig) -> Variants:
    try:
        choosing, judging = (heldout.join_scores(dataset, scores, part) for part in ("choosing", "judging"))
    except AuditError as problem:  # no pair in one of the parts, which is no fault of the model
        missing = dict.fromkeys(NAMES, str(problem))
        return Variants(checkpoint_digest=scores.checkpoint_digest, variants={}, missing=missing)
    return fitting.fit(choosing, judging, scores.checkpoint_digest, config)
