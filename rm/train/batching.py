"""Which comparisons make an optimizer step, and how a step is divided into forward passes.

A step is a fixed number of comparisons. Each response in it is read once, however many comparisons it is in. A forward
pass is as many of them as a budget of tokens holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from rm.data.preferences import Comparison
from rm.errors import TrainingError
from rm.model.batch_layout import BatchLayout
from rm.model.device import to_device
from rm.model.packing import PackedSequences
from rm.model.padding import PaddedSequences
from rm.model.token_ids import TokenGroup
from rm.tokens.items import TokenizedPrompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One comparison of the tokenized data, by its index among those of its prompt."""

    prompt: int
    """Index of the prompt."""
    comparison: int


def choose(prompts: Sequence[TokenizedPrompt], max_pairs: int | None, seed: int) -> list[TokenizedPrompt]:
    """Prompts to train on: all, or prompts drawn by the seed until they have max_pairs comparisons, in their order."""
    if max_pairs is None:
        return list(prompts)
    chosen: list[int] = []
    num_pairs = 0
    for index in np.random.default_rng(seed).permutation(len(prompts)).tolist():
        if num_pairs >= max_pairs:
            break
        chosen.append(index)
        num_pairs += len(prompts[index].comparisons)
    return [prompts[index] for index in sorted(chosen)]


def all_pairs(prompts: Sequence[TokenizedPrompt], indices: Iterable[int] | None = None) -> list[Pair]:
    """Every comparison of the prompts at these indices, in this order; left out: of all prompts."""
    order = range(len(prompts)) if indices is None else indices
    return [Pair(prompt=index, comparison=each) for index in order for each in range(len(prompts[index].comparisons))]


def epoch_steps(prompts: Sequence[TokenizedPrompt], pairs_per_step: int, seed: int, epoch: int) -> list[list[Pair]]:
    """The comparisons of each step of one epoch.

    Prompts come in an order drawn from seed and epoch alone, so that a resumed run sees the same steps. A prompt's
    comparisons stay together, so that a response that several of them share is read once.
    """
    order = np.random.default_rng((seed, epoch)).permutation(len(prompts))
    pairs = all_pairs(prompts, order.tolist())
    return [pairs[start : start + pairs_per_step] for start in range(0, len(pairs), pairs_per_step)]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # arrays of ids cannot be compared by ==
class Block:
    """Some comparisons of one prompt, and the distinct responses that they are about."""

    prompt: int
    """Index of the prompt."""
    tokens: TokenGroup
    comparisons: tuple[Comparison, ...]
    """As of the prompt, but ``first`` and ``second`` are indices within the block."""
    responses: tuple[int, ...]
    """Indices of the block's responses among those of the prompt."""
    attributes: tuple[Mapping[str, float], ...]
    """Of each response; empty where annotations have none, or where another block of the step has them already."""


def block(prompts: Sequence[TokenizedPrompt], prompt: int, comparisons: Sequence[int]) -> Block:
    """The comparisons of a prompt at some indices, with the responses that they need."""
    whole = prompts[prompt]
    pairs = [whole.comparisons[index] for index in comparisons]
    used = sorted({response for pair in pairs for response in (pair.first, pair.second)})
    within = {response: index for index, response in enumerate(used)}
    return Block(
        prompt=prompt,
        tokens=TokenGroup(whole.prompt_ids, [whole.response_ids[response] for response in used]),
        comparisons=tuple(replace(pair, first=within[pair.first], second=within[pair.second]) for pair in pairs),
        responses=tuple(used),
        attributes=tuple(whole.response_attributes[response] for response in used),
    )


def check_budget(prompts: Sequence[TokenizedPrompt], layout: BatchLayout, tokens_per_batch: int) -> None:
    """See that every comparison fits into a forward pass.

    Raises
    ------
    TrainingError
        If one takes more than tokens_per_batch tokens.
    """
    for pair in all_pairs(prompts):
        _fitting(prompts, pair.prompt, [pair.comparison], layout, tokens_per_batch)


def largest(prompts: Sequence[TokenizedPrompt], layout: BatchLayout) -> int:
    """Tokens that a forward pass over any one comparison needs at most."""
    blocks = [block(prompts, pair.prompt, [pair.comparison]) for pair in all_pairs(prompts)]
    return max((layout.num_tokens([one.tokens]) for one in blocks), default=0)


def divide(
    prompts: Sequence[TokenizedPrompt],
    pairs: Sequence[Pair],
    layout: BatchLayout,
    tokens_per_batch: int,
    num_parts: int = 1,
) -> list[list[Block]]:
    """The forward passes of a step, none over more than tokens_per_batch tokens.

    Parameters
    ----------
    prompts : sequence of TokenizedPrompt
    pairs : sequence of Pair
    layout : BatchLayout
    tokens_per_batch : int
    num_parts : int
        Processes among which the passes are dealt out; their number is a multiple of it where there are prompts enough.

    Raises
    ------
    TrainingError
        If one comparison alone takes more tokens.
    """
    by_prompt: dict[int, list[int]] = {}
    for pair in pairs:
        by_prompt.setdefault(pair.prompt, []).append(pair.comparison)
    blocks = [
        part
        for prompt, comparisons in by_prompt.items()
        for part in _attributes_once(_fitting(prompts, prompt, comparisons, layout, tokens_per_batch))
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
    prompts: Sequence[TokenizedPrompt],
    prompt: int,
    comparisons: Sequence[int],
    layout: BatchLayout,
    tokens_per_batch: int,
) -> list[Block]:
    """A prompt's comparisons, halved until each part fits; a response that two parts need is read in both."""
    whole = block(prompts, prompt, comparisons)
    num_tokens = layout.num_tokens([whole.tokens])
    if num_tokens <= tokens_per_batch:
        return [whole]
    if len(comparisons) == 1:
        raise TrainingError(
            f"prompt {prompts[prompt].prompt_id}: it and a pair of its responses take {num_tokens} tokens in a forward "
            f"pass, compute.tokens_per_batch is {tokens_per_batch}; raise it, or lower tokenize.max_tokens"
        )
    half = len(comparisons) // 2
    return [
        part
        for some in (comparisons[:half], comparisons[half:])
        for part in _fitting(prompts, prompt, some, layout, tokens_per_batch)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One forward pass: N distinct responses and the B comparisons among them."""

    sequences: PackedSequences | PaddedSequences
    prompt: Tensor
    """(B,), int64, index of each comparison's prompt; on the CPU."""
    first: Tensor
    """(B,), int64, index of each comparison's first response among the sequences."""
    second: Tensor
    """(B,), int64, of the second response."""
    preference: Tensor
    """(B,), float32."""
    target_margin: Tensor
    weight: Tensor


def lay_out(blocks: Sequence[Block], layout: BatchLayout, device: torch.device) -> Batch:
    """Put the blocks of one forward pass on a device."""
    groups = [block.tokens for block in blocks]
    prompts, indices, values = [], [], []
    offset = 0
    for block in blocks:
        for pair in block.comparisons:
            prompts.append(block.prompt)
            indices.append((offset + pair.first, offset + pair.second))
            values.append((pair.preference, pair.target_margin, pair.weight))
        offset += len(block.tokens.response_ids)
    first, second = to_device(torch.tensor(indices), device).unbind(dim=1)
    preference, target_margin, weight = to_device(torch.tensor(values, dtype=torch.float32), device).unbind(dim=1)
    return Batch(
        sequences=layout.lay_out(groups).to(device),
        prompt=torch.tensor(prompts),
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
