"""Scoring as a stage: the rewards of held-out responses, on disk."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from transformers import AutoModelForSequenceClassification

from rm import allotment, evidence, pretrained, probes, probing, snapshots
from rm.champion import ChampionRef
from rm.config import ProbeConfig, TrainConfig
from rm.errors import RegistrationError
from rm.files import replace_text, replacing
from rm.findings import Finding
from rm.invariances import INVARIANCES_NAME, invariances
from rm.manifests import (
    ChampionManifest,
    CheckpointManifest,
    DatasetManifest,
    ProbesManifest,
    ScoresManifest,
    TokenizedManifest,
)
from rm.model import RewardModel
from rm.packing import TokenGroup
from rm.padding import pad
from rm.preferences import Message, PromptGroup
from rm.scorer import Scorer
from rm.tokenization import Progress, TokenIds, read_tokens

_NUM_INVARIANCE_PARENTS = 16

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
FLAWED_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("flaw", pa.string()),
        ("num_tokens_chosen", pa.int32()),
        ("num_tokens_rejected", pa.int32()),
        ("reward_chosen", pa.float64()),
        ("reward_rejected", pa.float64()),
    ]
)


def score(
    checkpoint: CheckpointManifest,
    tokenized: TokenizedManifest,
    config: TrainConfig,
    folder: Path,
    on_progress: Progress | None = None,
) -> ScoresManifest:
    """Score the held-out responses.

    Parameters
    ----------
    checkpoint : CheckpointManifest
    tokenized : TokenizedManifest
    config : TrainConfig
        Gives the token budget of a forward pass.
    folder : Path
        Gets ``scores.parquet`` (`SCORES_SCHEMA`) and the manifest.
    on_progress : callable, optional
    """
    started = time.perf_counter()
    scorer = Scorer(checkpoint.path, config.tokens_per_batch)
    rows = read_tokens(tokenized, "heldout")
    rewards = scorer.score_groups([TokenGroup(row["prompt_ids"], row["response_ids"]) for row in rows], on_progress)
    responses = [
        {"prompt_id": row["prompt_id"], "response": place, "num_tokens": len(ids)}
        for row in rows
        for place, ids in zip(row["response_places"], row["response_ids"], strict=True)
    ]
    table = [response | said for response, said in zip(responses, rewards.rows(), strict=True)]
    _write(folder / "scores.parquet", table, SCORES_SCHEMA)
    return ScoresManifest.seal(
        folder,
        parents=(checkpoint, tokenized),
        config=config,
        num_rows=len(table),
        checkpoint_digest=checkpoint.digest,
        duration_s=time.perf_counter() - started,
    )


def probe(
    checkpoint: CheckpointManifest,
    dataset: DatasetManifest,
    config: TrainConfig,
    probe_config: ProbeConfig,
    folder: Path,
    on_progress: Progress | None = None,
) -> ProbesManifest:
    """Score edits of held-out responses, the pairs with a planted flaw, and a few responses in several ways.

    Parameters
    ----------
    checkpoint : CheckpointManifest
    dataset : DatasetManifest
    config : TrainConfig
        Gives the token budget of a forward pass.
    probe_config : ProbeConfig
    folder : Path
        Gets ``probes.parquet`` (`rm.probing.PROBES_SCHEMA`), ``flawed_pairs.parquet`` (`FLAWED_SCHEMA`),
        ``invariances.json`` and the manifest.
    on_progress : callable, optional
    """
    started = time.perf_counter()
    scorer = Scorer(checkpoint.path, config.tokens_per_batch)
    groups = [snapshots.prompt_group(row) for row in snapshots.read_groups(dataset) if row["split"] == "heldout"]
    table, invariant = probed(scorer, groups, probe_config, on_progress)
    with replacing(folder / "probes.parquet") as partial:
        pq.write_table(table, partial, compression="zstd")
    _write(folder / "flawed_pairs.parquet", score_flawed_pairs(scorer), FLAWED_SCHEMA)
    replace_text(folder / INVARIANCES_NAME, json.dumps([found.model_dump(mode="json") for found in invariant]))
    return ProbesManifest.seal(
        folder,
        parents=(checkpoint, dataset),
        config=probe_config,
        num_rows=table.num_rows,
        checkpoint_digest=checkpoint.digest,
        duration_s=time.perf_counter() - started,
    )


def probed(
    scorer: Scorer, groups: Sequence[PromptGroup], config: ProbeConfig, on_progress: Progress | None = None
) -> tuple[pa.Table, tuple[Finding, ...]]:
    """Rewards of edits of the groups' chosen responses, and differences between rewards that should be equal."""
    shared_out = allotment.allot(evidence.parents(groups), probes.PROBES, config)
    score_items = functools.partial(scorer.score_items, on_progress=on_progress)
    few = shared_out.parents[:_NUM_INVARIANCE_PARENTS]
    # A scorer of its own: loaded once more, and with batches of another size.
    again = Scorer(scorer.folder, max(1, scorer.tokens_per_batch // 4))
    return (
        probing.score(shared_out.parents, shared_out.variants, score_items),
        invariances(scorer.score_items, few, {"reload_in_small_batches": again.score_items}),
    )


def score_champion(
    champion: ChampionRef, dataset: DatasetManifest, config: TrainConfig, folder: Path
) -> ChampionManifest:
    """Score the held-out responses of a snapshot with the model in use, which reads them with its own tokenizer.

    Parameters
    ----------
    champion : ChampionRef
    dataset : DatasetManifest
    config : TrainConfig
        Gives the token budget of a forward pass.
    folder : Path
        Gets ``scores.parquet`` (`SCORES_SCHEMA`, without the responses that the champion has no room for) and the
        manifest.
    """
    started = time.perf_counter()
    groups = [group for group in snapshots.read_groups(dataset) if group["split"] == "heldout"]
    items = [([Message(**turn) for turn in group["prompt"]], group["responses"]) for group in groups]
    scored = Scorer(champion.path, config.tokens_per_batch).score_items(items)
    table = [
        {"prompt_id": group["prompt_id"], "response": place, "num_tokens": int(length), "reward": float(reward)}
        for group, said in zip(groups, scored, strict=True)
        for place, (reward, length) in enumerate(zip(said.rewards, said.num_tokens, strict=True))
        if not np.isnan(reward)
    ]
    _write(folder / "scores.parquet", table, SCORES_SCHEMA)
    return ChampionManifest.seal(
        folder,
        parents=(dataset,),
        config=config,
        num_rows=len(table),
        checkpoint_digest=champion.digest,
        name=champion.name,
        duration_s=time.perf_counter() - started,
    )


def check_reload(
    checkpoint: CheckpointManifest,
    tokenized: TokenizedManifest,
    scores: ScoresManifest,
    num_compared: int,
    tolerance: float,
) -> None:
    """Load a checkpoint as transformers does and compare its rewards with the recorded ones.

    Raises
    ------
    RegistrationError
        If any of the first num_compared rewards differs by more than the tolerance.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")  # where the recorded ones were computed
    model = pretrained.load_weights(AutoModelForSequenceClassification, checkpoint.path).to(device).eval()
    recorded = pq.read_table(scores.path / "scores.parquet").slice(0, num_compared).to_pylist()
    ids = {
        (row["prompt_id"], place): TokenIds(row["prompt_ids"], response_ids)
        for row in read_tokens(tokenized, "heldout")
        for place, response_ids in zip(row["response_places"], row["response_ids"], strict=True)
    }
    padded = pad([ids[row["prompt_id"], row["response"]] for row in recorded], model.config.pad_token_id).to(device)
    extra = {"response_mask": padded.response_mask} if isinstance(model, RewardModel) else {}
    with torch.inference_mode():
        logits = model(padded.input_ids, attention_mask=padded.attention_mask, **extra).logits.squeeze(-1)
    rewards = np.array([row["reward"] for row in recorded])
    worst = float(np.abs(logits.double().cpu().numpy() - rewards).max())
    tolerance *= max(1.0, float(np.abs(rewards).max()))  # float32 rounds large rewards by more
    if not worst <= tolerance:
        raise RegistrationError(
            f"{checkpoint.path}: reloaded rewards differ from the audited ones by up to {worst:.2g}, "
            f"expected at most {tolerance:.2g}"
        )


def _write(path: Path, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    with replacing(path) as partial:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), partial, compression="zstd")


def flawed_pairs() -> list[dict[str, str]]:
    """Our own adversarial pairs: ``chosen`` is plain but right, ``rejected`` good but for one obvious flaw."""
    text = resources.files("rm").joinpath("data/flawed_pairs.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def score_flawed_pairs(scorer: Scorer) -> list[dict[str, Any]]:
    """As `FLAWED_SCHEMA` says; a pair that the model has no room for is left out."""
    pairs = flawed_pairs()
    prompts = [[Message("user", pair["prompt"])] for pair in pairs]
    sides = [
        scorer.encode([(prompt, pair[side]) for prompt, pair in zip(prompts, pairs, strict=True)])
        for side in ("chosen", "rejected")
    ]
    fitting = [(pair, one, other) for pair, one, other in zip(pairs, *sides, strict=True) if one and other]
    groups = [TokenGroup(ids.prompt_ids, [ids.response_ids]) for _, one, other in fitting for ids in (one, other)]
    rewards = scorer.score_groups(groups).rewards.reshape(-1, 2)
    return [
        {
            "id": pair["id"],
            "flaw": pair["flaw"],
            "num_tokens_chosen": len(one.response_ids),
            "num_tokens_rejected": len(other.response_ids),
            "reward_chosen": reward_chosen,
            "reward_rejected": reward_rejected,
        }
        for (pair, one, other), (reward_chosen, reward_rejected) in zip(fitting, rewards.tolist(), strict=True)
    ]
