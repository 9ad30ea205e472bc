"""The stages that score held-out responses and write their rewards to files."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from rm.data import prompt_groups
from rm.data.manifests import DatasetManifest
from rm.engine import choice
from rm.model.config import ComputeConfig
from rm.model.manifests import CheckpointManifest
from rm.model.token_ids import TokenGroup
from rm.parquet import write_rows
from rm.progress import OnProgress
from rm.score.manifests import ChampionManifest, ChampionRef, ScoresManifest
from rm.score.scorer import Scorer
from rm.tokens.manifests import TokenizedManifest
from rm.tokens.tokenization import read_tokens

SCORES_SCHEMA = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("response", pa.int32()),
        ("num_tokens", pa.int32()),
        ("reward", pa.float64()),
        ("disagreement", pa.float64()),
        ("attributes", pa.map_(pa.string(), pa.float64())),
    ]
)


def score(
    checkpoint: CheckpointManifest,
    tokenized: TokenizedManifest,
    compute: ComputeConfig,
    folder: Path,
    on_progress: OnProgress | None = None,
) -> ScoresManifest:
    """Score the held-out responses with a checkpoint.

    Parameters
    ----------
    checkpoint : CheckpointManifest
    tokenized : TokenizedManifest
    compute : ComputeConfig
    folder : Path
        Gets ``scores.parquet`` (`SCORES_SCHEMA`) and the manifest.
    on_progress : callable, optional
    """
    started = time.perf_counter()
    scorer = Scorer(checkpoint.path, compute.tokens_per_batch, choice.chosen(compute.engine, compute.num_workers))
    prompts = read_tokens(tokenized, "heldout")
    rewards = scorer.score_groups([TokenGroup(one.prompt_ids, one.response_ids) for one in prompts], on_progress)
    responses = [
        {"prompt_id": prompt.prompt_id, "response": index, "num_tokens": len(ids)}
        for prompt in prompts
        for index, ids in zip(prompt.response_indices, prompt.response_ids, strict=True)
    ]
    table = [response | outputs for response, outputs in zip(responses, rewards.rows(), strict=True)]
    write_rows(folder / ScoresManifest.SCORES_NAME, table, SCORES_SCHEMA)
    return ScoresManifest.seal(
        folder,
        inputs=(checkpoint, tokenized),
        config=compute,
        num_rows=len(table),
        checkpoint_digest=checkpoint.digest,
        duration_s=time.perf_counter() - started,
    )


def score_champion(
    champion: ChampionRef, dataset: DatasetManifest, compute: ComputeConfig, folder: Path
) -> ChampionManifest:
    """Score the held-out responses of a snapshot with the champion and its tokenizer.

    Parameters
    ----------
    champion : ChampionRef
    dataset : DatasetManifest
    compute : ComputeConfig
    folder : Path
        Gets ``scores.parquet`` (`SCORES_SCHEMA`, without the responses that are too long for the champion) and the
        manifest.

    Raises
    ------
    ManifestError
        If the champion's files are not those of its digest.
    """
    champion.check()
    started = time.perf_counter()
    groups = prompt_groups.read_groups(dataset, "heldout")
    scorer = Scorer(champion.path, compute.tokens_per_batch, choice.chosen(compute.engine, compute.num_workers))
    scored = scorer.score_items([(group.prompt, group.responses) for group in groups])
    table = [
        {"prompt_id": group.prompt_id, "response": index, "num_tokens": int(length), "reward": float(reward)}
        for group, item in zip(groups, scored, strict=True)
        for index, (reward, length) in enumerate(zip(item.rewards, item.num_tokens, strict=True))
        if not np.isnan(reward)
    ]
    write_rows(folder / ChampionManifest.SCORES_NAME, table, SCORES_SCHEMA)
    return ChampionManifest.seal(
        folder,
        inputs=(dataset,),
        config=compute,
        num_rows=len(table),
        checkpoint_digest=champion.digest,
        name=champion.name,
        duration_s=time.perf_counter() - started,
    )
