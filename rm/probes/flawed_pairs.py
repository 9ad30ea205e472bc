"""The project's pairs of a plain correct response and a polished response with an obvious flaw."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import pyarrow as pa

from rm.data.preferences import Message
from rm.model.token_ids import TokenGroup
from rm.score.scorer import Scorer

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


def flawed_pairs() -> list[dict[str, str]]:
    """The adversarial pairs: ``chosen`` is plain but right, ``rejected`` is good except for an obvious flaw."""
    text = resources.files("rm.probes").joinpath("flawed_pairs.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def score_flawed_pairs(scorer: Scorer) -> list[dict[str, Any]]:
    """Rewards of the pairs, as rows of `FLAWED_SCHEMA`; pairs that are too long for the model are left out."""
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
