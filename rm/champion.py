"""Whether a new model beats the one in use, on the same held-out pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rm import pairs as scored
from rm import stats
from rm.config import AuditConfig
from rm.manifests import DatasetManifest, ScoresManifest
from rm.preferences import Message
from rm.scoring import Scorer
from rm.snapshots import read_groups
from rm.stats import Interval


def accuracy_over(champion: Path, dataset: DatasetManifest, scores: ScoresManifest, config: AuditConfig) -> Interval:
    """Accuracy of the scored model minus the champion's, paired over the same held-out pairs.

    Parameters
    ----------
    champion : Path
        Folder of the champion's checkpoint; it reads the texts with its own tokenizer.
    dataset, scores : manifests
        Of the new model.
    config : AuditConfig
    """
    heldout = scored.join(dataset, scores)
    prompts = {
        group["prompt_id"]: [Message(turn["role"], turn["content"]) for turn in group["prompt"]]
        for group in read_groups(dataset)
        if group["split"] == "heldout"
    }
    items = [
        (prompts[row["prompt_id"]], row[side])
        for row in heldout.table.select(["prompt_id", "chosen", "rejected"]).to_pylist()
        for side in ("chosen", "rejected")
    ]
    rewards = Scorer(champion).score_texts(items).reshape(-1, 2)
    champion_correct = (np.sign(rewards[:, 0] - rewards[:, 1]) + 1) / 2
    gain = stats.mean(heldout.pairs.correct - champion_correct, heldout.pairs.cluster, heldout.num_clusters)
    return stats.bootstrap({"gain": gain}, heldout.num_clusters, config.num_resamples, config.seed)["gain"]
