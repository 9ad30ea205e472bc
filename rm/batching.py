"""Which comparisons make a step, and how their responses are laid out in padded batches.

A step is a fixed number of comparisons. Each response in it is read once, however many comparisons it is in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rm.tokenization import TokenIds


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One comparison of the tokenized data: a row, and a place in its list of comparisons."""

    group: int
    place: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PaddedSequences:
    """N sequences padded on the right to T tokens."""

    input_ids: Tensor
    """(N, T), int64."""
    attention_mask: Tensor
    """(N, T), int64, 1 at real tokens."""
    response_mask: Tensor
    """(N, T), int64, 1 at the response's tokens."""

    def to(self, device: torch.device) -> PaddedSequences:
        """The same on another device."""
        return PaddedSequences(
            input_ids=self.input_ids.to(device, non_blocking=True),
            attention_mask=self.attention_mask.to(device, non_blocking=True),
            response_mask=self.response_mask.to(device, non_blocking=True),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One forward pass: N distinct responses and the B comparisons among them."""

    sequences: PaddedSequences
    first: Tensor
    """(B,), int64, places of the first responses among the sequences."""
    second: Tensor
    preference: Tensor
    """(B,), float32."""
    target_margin: Tensor
    weight: Tensor
    num_tokens: int
    """Real tokens, without padding."""


def pad(sequences: Sequence[TokenIds], pad_id: int = 0) -> PaddedSequences:
    """Lay sequences out as rows, padded on the right with an id that the mask hides."""
    longest = max(sequence.num_tokens for sequence in sequences)
    shape = (len(sequences), longest)
    input_ids = torch.full(shape, pad_id, dtype=torch.int64)
    attention, response = torch.zeros(shape, dtype=torch.int64), torch.zeros(shape, dtype=torch.int64)
    for row, (prompt_ids, response_ids) in enumerate(sequences):
        start, end = len(prompt_ids), len(prompt_ids) + len(response_ids)
        input_ids[row, :end] = torch.tensor(prompt_ids + response_ids)
        attention[row, :end] = 1
        response[row, start:end] = 1
    return PaddedSequences(input_ids=input_ids, attention_mask=attention, response_mask=response)


def choose(rows: Sequence[dict[str, Any]], max_pairs: int | None, seed: int) -> list[int]:
    """Rows to train on: all, or whole prompts drawn by the seed until there are max_pairs comparisons."""
    if max_pairs is None:
        return list(range(len(rows)))
    chosen: list[int] = []
    num_pairs = 0
    for group in np.random.default_rng(seed).permutation(len(rows)).tolist():
        if num_pairs >= max_pairs:
            break
        chosen.append(group)
        num_pairs += len(rows[group]["comparisons"])
    return sorted(chosen)


def epoch_steps(
    rows: Sequence[dict[str, Any]], groups: Sequence[int], pairs_per_step: int, seed: int, epoch: int
) -> list[list[Pair]]:
    """The comparisons of each step of one epoch.

    Prompts come in an order drawn from seed and epoch alone, so that a resumed run sees the same steps. A prompt's
    comparisons stay together, so that a response that several of them share is read once.
    """
    order = np.random.default_rng((seed, epoch)).permutation(len(groups))
    pairs = [
        Pair(group=groups[position], place=place)
        for position in order.tolist()
        for place in range(len(rows[groups[position]]["comparisons"]))
    ]
    return [pairs[start : start + pairs_per_step] for start in range(0, len(pairs), pairs_per_step)]


def batches(rows: Sequence[dict[str, Any]], pairs: Sequence[Pair], tokens_per_batch: int) -> Iterator[Batch]:
    """Lay the comparisons of a step out in batches of similar length and at most tokens_per_batch padded tokens.

    A prompt whose responses alone exceed it makes a batch by itself.
    """
    by_group: dict[int, list[int]] = {}
    for pair in pairs:
        by_group.setdefault(pair.group, []).append(pair.place)
    blocks = [_Block(rows[group], places) for group, places in by_group.items()]
    blocks.sort(key=lambda block: block.longest)
    waiting: list[_Block] = []
    for block in blocks:
        # Sorted by length, so the newest block is the longest and sets the width.
        num_sequences = sum(len(held.sequences) for held in waiting) + len(block.sequences)
        if waiting and num_sequences * block.longest > tokens_per_batch:
            yield _lay_out(waiting)
            waiting = []
        waiting.append(block)
    if waiting:
        yield _lay_out(waiting)


class _Block:
    """Some comparisons of one prompt and the responses that they are about."""

    def __init__(self, row: dict[str, Any], places: Sequence[int]) -> None:
        self.comparisons = [row["comparisons"][place] for place in places]
        used = sorted({pair[side] for pair in self.comparisons for side in ("first", "second")})
        self.sequences = [TokenIds(row["prompt_ids"], row["response_ids"][response]) for response in used]
        self.position = {response: position for position, response in enumerate(used)}
        self.longest = max(sequence.num_tokens for sequence in self.sequences)


def _lay_out(blocks: Sequence[_Block]) -> Batch:
    sequences = [sequence for block in blocks for sequence in block.sequences]
    first, second, values = [], [], []
    offset = 0
    for block in blocks:
        for pair in block.comparisons:
            first.append(offset + block.position[pair["first"]])
            second.append(offset + block.position[pair["second"]])
            values.append((pair["preference"], pair["target_margin"], pair["weight"]))
        offset += len(block.sequences)
    preference, target_margin, weight = torch.tensor(values, dtype=torch.float32).unbind(dim=1)
    return Batch(
        sequences=pad(sequences),
        first=torch.tensor(first),
        second=torch.tensor(second),
        preference=preference,
        target_margin=target_margin,
        weight=weight,
        num_tokens=sum(sequence.num_tokens for sequence in sequences),
    )
