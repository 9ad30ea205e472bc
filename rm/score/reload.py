"""Checking that a saved or served model gives the recorded rewards."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
import torch
from transformers import AutoModelForSequenceClassification

from rm.data.manifests import DatasetManifest
from rm.data.preferences import Message
from rm.data.snapshots import read_groups
from rm.errors import RegistrationError
from rm.model import pretrained
from rm.model.manifests import CheckpointManifest
from rm.model.padding import pad
from rm.model.reward_model import RewardModel
from rm.model.token_ids import TokenIds
from rm.score.manifests import ScoresManifest
from rm.stats.clustered import Floats
from rm.tokens.manifests import TokenizedManifest
from rm.tokens.tokenization import read_tokens


def check_reload(
    checkpoint: CheckpointManifest,
    tokenized: TokenizedManifest,
    scores: ScoresManifest,
    num_compared: int,
    tolerance: float,
) -> None:
    """Load a checkpoint with transformers and compare its rewards with the recorded ones.

    Parameters
    ----------
    checkpoint : CheckpointManifest
    tokenized : TokenizedManifest
    scores : ScoresManifest
        The recorded rewards.
    num_compared : int
        Number of rewards to compare, from the first one on.
    tolerance : float
        As for `check_rewards`.

    Raises
    ------
    RegistrationError
        If any of them differs by more than the tolerance.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")  # where the recorded ones were computed
    model = pretrained.load_weights(AutoModelForSequenceClassification, checkpoint.path).to(device).eval()
    recorded = pq.read_table(scores.path / ScoresManifest.SCORES_NAME).slice(0, num_compared).to_pylist()
    ids = {
        (prompt.prompt_id, index): TokenIds(prompt.prompt_ids, response_ids)
        for prompt in read_tokens(tokenized, "heldout")
        for index, response_ids in zip(prompt.response_indices, prompt.response_ids, strict=True)
    }
    padded = pad([ids[row["prompt_id"], row["response"]] for row in recorded], model.config.pad_token_id).to(device)
    extra = {"response_mask": padded.response_mask} if isinstance(model, RewardModel) else {}
    with torch.inference_mode():
        logits = model(padded.input_ids, attention_mask=padded.attention_mask, **extra).logits.squeeze(-1)
    rewards = np.array([row["reward"] for row in recorded])
    check_rewards(str(checkpoint.path), logits.double().cpu().numpy(), rewards, tolerance)


class ServedExample(NamedTuple):
    """Texts of a prompt and a response for a served model, and the recorded reward."""

    prompt: tuple[Message, ...]
    response: str
    reward: float


def served_examples(
    dataset: DatasetManifest, tokenized: TokenizedManifest, scores: ScoresManifest, num_examples: int
) -> list[ServedExample]:
    """The first recorded rewards whose prompts were not cut, with their texts.

    A prompt is cut for its longest response. A shorter response that is served alone would get more of the prompt, and
    another reward.

    Raises
    ------
    RegistrationError
        If every held-out prompt was cut.
    """
    whole = {prompt.prompt_id for prompt in read_tokens(tokenized, "heldout") if not prompt.prompt_cut}
    groups = {group.prompt_id: group for group in read_groups(dataset, "heldout")}
    recorded = pq.read_table(scores.path / ScoresManifest.SCORES_NAME).to_pylist()
    rows = [row for row in recorded if row["prompt_id"] in whole][:num_examples]
    if not rows:
        raise RegistrationError(f"{tokenized.path}: every held-out prompt was cut, so no served reward can be compared")
    return [
        ServedExample(
            groups[row["prompt_id"]].prompt, groups[row["prompt_id"]].responses[row["response"]], row["reward"]
        )
        for row in rows
    ]


def check_rewards(name: str, found: Floats, recorded: Floats, tolerance: float) -> None:
    """Compare rewards with the recorded ones.

    Parameters
    ----------
    name : str
        Name of the model for the error message.
    found, recorded : array of shape (N,)
    tolerance : float
        Largest allowed difference. If the largest reward is above 1, it is multiplied by that reward, since float32
        rounds larger numbers more.

    Raises
    ------
    RegistrationError
        If any reward differs by more, or is NaN.
    """
    worst = float(np.abs(found - recorded).max())  # NaN stays NaN
    allowed = tolerance * max(1.0, float(np.abs(recorded).max()))
    if not worst <= allowed:
        raise RegistrationError(
            f"{name}: reloaded rewards differ from the audited ones by up to {worst:.2g}, expected at most "
            f"{allowed:.2g}"
        )
