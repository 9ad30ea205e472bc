"""Which comparisons make an optimizer step, and how a step is divided into forward passes.

A step is a fixed number of comparisons. Each response in it is read once, however many comparisons it is in. A forward
pass is as many of them as a budget of tokens holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rm.errors import TrainingError
from rm.layout import Layout
from rm.packing import PackedSequences, TokenGroup
from rm.padding import PaddedSequences, moved

Row = dict[str, Any]
"""A prompt as `rm.tokenization.TOKENS_SCHEMA` says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One comparison of the tokenized data: a row, and a place in its list of comparisons."""

    group: int
    place: int


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


def all_pairs(rows: Sequence[Row], groups: Iterable[int]) -> list[Pair]:
    """Every comparison of some rows, in their order."""
    return [Pair(group=group, place=place) for group in groups for place in range(len(rows[group]["comparisons"]))]


def epoch_steps(
    rows: Sequence[dict[str, Any]], groups: Sequence[int], pairs_per_step: int, seed: int, epoch: int
) -> list[list[Pair]]:
    """The comparisons of each step of one epoch.

    Prompts come in an order drawn from seed and epoch alone, so that a resumed run sees the same steps. A prompt's
    comparisons stay together, so that a response that several of them share is read once.
    """
    order = np.random.default_rng((seed, epoch)).permutation(len(groups))
    pairs = all_pairs(rows, [groups[position] for position in order.tolist()])
    return [pairs[start : start + pairs_per_step] for start in range(0, len(pairs), pairs_per_step)]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # arrays of ids cannot be compared by ==
class Block:
    """Some comparisons of one prompt, and the distinct responses that they are about."""

    group: int
    """The prompt's row."""
    tokens: TokenGroup
    comparisons: tuple[dict[str, Any], ...]
    """As in the row, but ``first`` and ``second`` count within the block."""
    responses: tuple[int, ...]
    """The responses' places in the row."""
    attributes: tuple[dict[str, float], ...]
    """Of each response; empty where annotations have none, or where another block of the step has them already."""


def block(rows: Sequence[Row], group: int, places: Sequence[int]) -> Block:
    """The comparisons at some places of a row's list, with the responses that they need."""
    row = rows[group]
    pairs = [row["comparisons"][place] for place in places]
    used = sorted({pair[side] for pair in pairs for side in ("first", "second")})
    at = {response: position for position, response in enumerate(used)}
    return Block(
        group=group,
        tokens=TokenGroup(row["prompt_ids"], [row["response_ids"][response] for response in used]),
        comparisons=tuple({**pair, "first": at[pair["first"]], "second": at[pair["second"]]} for pair in pairs),
        responses=tuple(used),
        attributes=tuple(row["response_attributes"][response] for response in used),
    )


def check_budget(rows: Sequence[Row], groups: Sequence[int], layout: Layout, tokens_per_batch: int) -> None:
    """See that every comparison fits into a forward pass.

    Raises
    ------
    TrainingError
        If one takes more than tokens_per_batch tokens.
    """
    for pair in all_pairs(rows, groups):
        _fitting(rows, pair.group, [pair.place], layout, tokens_per_batch)


def largest(rows: Sequence[Row], layout: Layout) -> int:
    """Tokens that a forward pass over any one comparison of some rows needs at most."""
    blocks = [block(rows, pair.group, [pair.place]) for pair in all_pairs(rows, range(len(rows)))]
    return max((layout.num_tokens([one.tokens]) for one in blocks), default=0)


def divide(
    rows: Sequence[Row], pairs: Sequence[Pair], layout: Layout, tokens_per_batch: int, num_parts: int = 1
) -> list[list[Block]]:
    """The forward passes of a step, none over more than tokens_per_batch tokens.

    Parameters
    ----------
    rows : sequence of Row
    pairs : sequence of Pair
    layout : Layout
    tokens_per_batch : int
    num_parts : int
        Processes among which the passes are dealt out; their number is a multiple of it where there are prompts enough.

    Raises
    ------
    TrainingError
        If one comparison alone takes more tokens.
    """
    by_group: dict[int, list[int]] = {}
    for pair in pairs:
        by_group.setdefault(pair.group, []).append(pair.place)
    blocks = [
        part
        for group, places in by_group.items()
        for part in _attributes_once(_fitting(rows, group, places, layout, tokens_per_batch))
    ]
    return layout.fill(blocks, tokens_per_batch, num_parts)


def _attributes_once(parts: Sequence[Block]) -> Iterator[Block]:
    """A prompt's parts; a response that two of them read has its attributes in the first, or they would count twice."""
    seen: set[int] = set()
    for part in parts:
        left = tuple(
            {} if response in seen else found for response, found in zip(part.responses, part.attributes, strict=True)
        )
        seen.update(part.responses)
        yield replace(part, attributes=left)


def _fitting(
    rows: Sequence[Row], group: int, places: Sequence[int], layout: Layout, tokens_per_batch: int
) -> list[Block]:
    """A prompt's comparisons, halved until each part holds; a response that two parts need is read in both."""
    whole = block(rows, group, places)
    num_tokens = layout.num_tokens([whole.tokens])
    if num_tokens <= tokens_per_batch:
        return [whole]
    if len(places) == 1:
        raise TrainingError(
            f"prompt {rows[group]['prompt_id']}: it and a pair of its responses take {num_tokens} tokens in a forward "
            f"pass, train.tokens_per_batch is {tokens_per_batch}; raise it, or lower tokenize.max_tokens"
        )
    half = len(places) // 2
    return [
        part
        for some in (places[:half], places[half:])
        for part in _fitting(rows, group, some, layout, tokens_per_batch)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One forward pass: N distinct responses and the B comparisons among them."""

    sequences: PackedSequences | PaddedSequences
    group: Tensor
    """(B,), int64, rows of the comparisons; on the CPU."""
    first: Tensor
    """(B,), int64, places of the first responses among the sequences."""
    second: Tensor
    preference: Tensor
    """(B,), float32."""
    target_margin: Tensor
    weight: Tensor


def lay_out(blocks: Sequence[Block], layout: Layout, device: torch.device) -> Batch:
    """Put the blocks of one forward pass on a device."""
    groups = [block.tokens for block in blocks]
    rows, places, values = [], [], []
    offset = 0
    for block in blocks:
        for pair in block.comparisons:
            rows.append(block.group)
            places.append((offset + pair["first"], offset + pair["second"]))
            values.append((pair["preference"], pair["target_margin"], pair["weight"]))
        offset += len(block.tokens.response_ids)
    first, second = moved(torch.tensor(places), device).unbind(dim=1)
    preference, target_margin, weight = moved(torch.tensor(values, dtype=torch.float32), device).unbind(dim=1)
    return Batch(
        sequences=layout.lay_out(groups).to(device),
        group=torch.tensor(rows),
        first=first,
        second=second,
        preference=preference,
        target_margin=target_margin,
        weight=weight,
    )


class Agreement(NamedTuple):
    """How rewards agree with a batch's comparisons, each of shape (B,)."""

    right: Tensor
    """1 where the preferred response has the higher reward, 0.5 at a tie; 0 where annotators were undecided."""
    decided: Tensor
    """Whether annotators preferred one."""
    margin: Tensor
    """Reward of the preferred response minus the other's; 0 where undecided."""


def agreement(rewards: Tensor, batch: Batch) -> Agreement:
    """Compare rewards, (N,), with a batch's comparisons."""
    direction = torch.sign(batch.preference - 0.5)
    margin = direction * (rewards[batch.first] - rewards[batch.second])
    decided = direction != 0
    right = ((margin > 0).float() + (margin == 0).float() / 2) * decided
    return Agreement(right, decided, margin)
