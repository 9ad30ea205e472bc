"""Whether a new model beats the one in use, on the same held-out pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rm import pairs as scored
from rm import stats
from rm.config import AuditConfig
from rm.manifests import DatasetManifest, ScoresManifest
from rm.packing import TokenGroup
from rm.preferences import Message
from rm.scoring import Scorer
from rm.snapshots import read_groups
from rm.stats import Interval


def accuracy_over(champion: Path, dataset: DatasetManifest, scores: ScoresManifest, config: AuditConfig) -> Interval:
    """Accuracy of the scored model minus the champion's, paired over the held-out pairs that the champion has room for.

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
    scorer = Scorer(champion)
    encoded = scorer.encode(items)
    fits = np.array(
        [one is not None and other is not None for one, other in zip(encoded[::2], encoded[1::2], strict=True)]
    )
    rewards = np.zeros(len(items))
    groups = [
        TokenGroup(ids.prompt_ids, [ids.response_ids])
        for ids, fit in zip(encoded, np.repeat(fits, 2), strict=True)
        if fit and ids is not None
    ]
    rewards[np.repeat(fits, 2)] = scorer.score_groups(groups).rewards
    champion_correct = (np.sign(rewards[::2] - rewards[1::2]) + 1) / 2
    gain = stats.mean(heldout.pairs.correct - champion_correct, heldout.pairs.cluster, heldout.num_clusters, fits)
    return stats.bootstrap({"gain": gain}, heldout.num_clusters, config.num_resamples, config.seed)["gain"]
