"""Rewards of responses from a trained model."""

from __future__ import annotations

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
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification

from rm import batching
from rm import model as reward_model
from rm.config import TrainConfig
from rm.errors import DataError, ModelError, RegistrationError
from rm.files import replacing
from rm.manifests import CheckpointManifest, ScoresManifest, TokenizedManifest
from rm.preferences import Message
from rm.tokenization import Progress, TokenIds, cut_prompt, encode, has_room, read_tokens

SCORES_SCHEMA = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("response", pa.int32()),
        ("num_tokens", pa.int32()),
        ("reward", pa.float64()),
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


class Scorer:
    """A loaded reward model and its tokenizer.

    Parameters
    ----------
    folder : Path
        A checkpoint, or any single-logit sequence classification model with a chat template.
    tokens_per_batch : int
        Most tokens, padding included, in one forward pass.
    """

    def __init__(self, folder: Path, tokens_per_batch: int = 8192) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.tokens_per_batch = tokens_per_batch
        self.model, self.tokenizer = reward_model.load(folder, self.device)
        if self.tokenizer.chat_template is None:
            raise ModelError(f"{folder}: the tokenizer has no chat template, so prompts cannot be rendered as trained")

    def score_texts(self, items: Sequence[tuple[Sequence[Message], str]]) -> NDArray[np.float64]:
        """Rewards of (prompt, response) texts, shape (N,); a prompt that is too long is cut at its beginning.

        Raises
        ------
        DataError
            If a response is too long to leave room for a prompt.
        """
        sequences: list[TokenIds] = []
        for row, sequence in enumerate(self.encode(items), start=1):
            if sequence is None:
                limit = self.tokenizer.model_max_length
                raise DataError(f"row {row}: the response leaves no room for a prompt, the model takes {limit} tokens")
            sequences.append(sequence)
        return self.score_ids(sequences)

    def encode(self, items: Sequence[tuple[Sequence[Message], str]]) -> list[TokenIds | None]:
        """Token ids of (prompt, response) texts, prompts cut as in training; None where no room is left for one."""
        limit, special_ids = self.tokenizer.model_max_length, self.tokenizer.all_special_ids
        encoded = encode(self.tokenizer, [(prompt, [response]) for prompt, response in items])
        return [
            TokenIds(cut_prompt(prompt_ids, len(ids), limit, special_ids), ids)
            if has_room(prompt_ids, len(ids), limit)
            else None
            for prompt_ids, (ids,) in encoded
        ]

    @torch.inference_mode()
    def score_ids(self, sequences: Sequence[TokenIds], on_progress: Progress | None = None) -> NDArray[np.float64]:
        """Rewards of token ids, shape (N,), in the order given; read in batches of similar length."""
        rewards = np.empty(len(sequences), dtype=np.float64)
        order = sorted(range(len(sequences)), key=lambda place: sequences[place].num_tokens)
        done = 0
        while done < len(order):
            places = self._fitting(sequences, order[done:])
            padded = batching.pad([sequences[place] for place in places]).to(self.device)
            logits = self.model(padded.input_ids, padded.attention_mask, padded.response_mask).logits
            rewards[places] = logits.squeeze(-1).double().cpu().numpy()
            done += len(places)
            if on_progress:
                on_progress(done, len(order))
        return rewards

    def _fitting(self, sequences: Sequence[TokenIds], order: Sequence[int]) -> list[int]:
        """As many of the next sequences, shortest first, as the token budget holds; at least one."""
        for count, place in enumerate(order, start=1):
            if count > 1 and count * sequences[place].num_tokens > self.tokens_per_batch:
                return list(order[: count - 1])
        return list(order)


def score(
    checkpoint: CheckpointManifest,
    tokenized: TokenizedManifest,
    config: TrainConfig,
    folder: Path,
    on_progress: Progress | None = None,
) -> ScoresManifest:
    """Score the held-out responses and the pairs with a planted flaw.

    Parameters
    ----------
    checkpoint : CheckpointManifest
    tokenized : TokenizedManifest
    config : TrainConfig
        Gives the token budget of a forward pass.
    folder : Path
        Gets ``scores.parquet`` (`SCORES_SCHEMA`), ``flawed_pairs.parquet`` (`FLAWED_SCHEMA`) and the manifest.
    on_progress : callable, optional
    """
    started = time.perf_counter()
    scorer = Scorer(checkpoint.path, config.tokens_per_batch)
    rows = read_tokens(tokenized, "heldout")
    places = [(row, position) for row in rows for position in range(len(row["response_ids"]))]
    sequences = [TokenIds(row["prompt_ids"], row["response_ids"][position]) for row, position in places]
    rewards = scorer.score_ids(sequences, on_progress)
    table = [
        {
            "prompt_id": row["prompt_id"],
            "response": row["response_places"][position],
            "num_tokens": len(row["response_ids"][position]),
            "reward": reward,
        }
        for (row, position), reward in zip(places, rewards.tolist(), strict=True)
    ]
    _write(folder / "scores.parquet", table, SCORES_SCHEMA)
    _write(folder / "flawed_pairs.parquet", _score_flawed_pairs(scorer), FLAWED_SCHEMA)
    return ScoresManifest.seal(
        folder,
        parents=(checkpoint, tokenized),
        config=config,
        num_rows=len(table),
        checkpoint_digest=checkpoint.digest,
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
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint.path, dtype=torch.float32).to(device).eval()
    recorded = pq.read_table(scores.path / "scores.parquet").slice(0, num_compared).to_pylist()
    ids = {
        (row["prompt_id"], place): TokenIds(row["prompt_ids"], response_ids)
        for row in read_tokens(tokenized, "heldout")
        for place, response_ids in zip(row["response_places"], row["response_ids"], strict=True)
    }
    padded = batching.pad([ids[row["prompt_id"], row["response"]] for row in recorded], model.config.pad_token_id).to(
        device
    )
    extra = {"response_mask": padded.response_mask} if isinstance(model, reward_model.RewardModel) else {}
    with torch.inference_mode():
        logits = model(padded.input_ids, attention_mask=padded.attention_mask, **extra).logits.squeeze(-1)
    worst = float(np.abs(logits.double().cpu().numpy() - [row["reward"] for row in recorded]).max())
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


def _score_flawed_pairs(scorer: Scorer) -> list[dict[str, Any]]:
    """As `FLAWED_SCHEMA` says; a pair that the model has no room for is left out."""
    pairs = flawed_pairs()
    prompts = [[Message("user", pair["prompt"])] for pair in pairs]
    sides = [
        scorer.encode([(prompt, pair[side]) for prompt, pair in zip(prompts, pairs, strict=True)])
        for side in ("chosen", "rejected")
    ]
    fitting = [(pair, one, other) for pair, one, other in zip(pairs, *sides, strict=True) if one and other]
    rewards = scorer.score_ids([ids for _, one, other in fitting for ids in (one, other)]).reshape(-1, 2)
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
