"""Dividing comparisons into optimizer steps, and steps into forward passes.

A step has a fixed number of comparisons. Each response is read once per step, even if it is in several comparisons. A
forward pass holds as many comparisons as fit into a budget of tokens; one that does not fit is spread over several.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rm.data.preferences import Comparison
from rm.errors import TrainingError
from rm.model.batch_layout import BatchLayout
from rm.model.device import to_device
from rm.model.packing import PackedSequences
from rm.model.padding import PaddedSequences
from rm.model.token_ids import TokenGroup
from rm.tokens.items import TokenizedPrompt

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One comparison of the tokenized data, by its indices."""

    prompt: int
    """Index of the prompt."""
    comparison: int
    """Index among the comparisons of the prompt."""


def choose(counts: Counts, max_pairs: int | None, seed: int) -> Counts:
    """Indices of the prompts to train on, in order, shape (Q,).

    Parameters
    ----------
    counts : array of shape (P,)
        Number of comparisons of each prompt.
    max_pairs : int or None
        None: all prompts. Otherwise prompts are drawn until they have that many comparisons.
    seed : int
        Seed of the draw.
    """
    if max_pairs is None:
        return np.arange(len(counts))
    order = np.random.default_rng(seed).permutation(len(counts))
    before = np.cumsum(counts[order]) - counts[order]
    return np.sort(order[before < max_pairs])


def count_pairs(prompts: Iterable[TokenizedPrompt]) -> Counts:
    """Number of comparisons of each prompt, shape (P,), int64."""
    return np.fromiter((len(prompt.comparisons) for prompt in prompts), dtype=np.int64)


def all_pairs(counts: Counts) -> list[Pair]:
    """All comparisons of prompts that have so many comparisons each."""
    return _as_pairs(_places(counts, np.arange(len(counts))))


def _places(counts: Counts, order: Counts) -> Counts:
    """Index of the prompt, and index among its comparisons, of all comparisons, shape (B, 2); prompts in this order."""
    sizes = counts[order]
    starts = np.cumsum(sizes) - sizes
    return np.stack([np.repeat(order, sizes), np.arange(sizes.sum()) - np.repeat(starts, sizes)], axis=1)


def _as_pairs(places: Counts) -> list[Pair]:
    return [Pair(prompt=prompt, comparison=comparison) for prompt, comparison in places.tolist()]


class Steps(Sequence[list[Pair]]):
    """The comparisons of each step of a training; those of one epoch are in memory at a time.

    The order of the prompts depends only on seed and epoch, so that a resumed run takes the same steps. The comparisons
    of a prompt stay together, so that a response in several of them is read once.

    Parameters
    ----------
    counts : array of shape (P,)
        Number of comparisons of each prompt.
    pairs_per_step : int
        The last step of an epoch may have fewer.
    seed : int
    num_epochs : int
    """

    def __init__(self, counts: Counts, pairs_per_step: int, seed: int, num_epochs: int) -> None:
        self._counts, self._pairs_per_step, self._seed = counts, pairs_per_step, seed
        self._per_epoch = -(-int(counts.sum()) // pairs_per_step)
        self._num_epochs = num_epochs
        self._epoch, self._places = -1, np.empty((0, 2), dtype=np.int64)

    def __len__(self) -> int:
        return self._per_epoch * self._num_epochs

    def __getitem__(self, index: int) -> list[Pair]:  # type: ignore[override]  # no slices
        if not 0 <= index < len(self):
            raise IndexError(index)
        epoch, step = divmod(index, self._per_epoch)
        if epoch != self._epoch:
            order = np.random.default_rng((self._seed, epoch)).permutation(len(self._counts))
            self._epoch, self._places = epoch, _places(self._counts, order)
        start = step * self._pairs_per_step
        return _as_pairs(self._places[start : start + self._pairs_per_step])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # arrays of ids cannot be compared by ==
class Block:
    """Some comparisons of one prompt, with their distinct responses."""

    prompt: int
    """Index of the prompt."""
    tokens: TokenGroup
    comparisons: tuple[Comparison, ...]
    """Comparisons of the prompt; ``first`` and ``second`` are indices within the block."""
    responses: tuple[int, ...]
    """For each response of the block its index among the responses of the prompt."""
    attributes: tuple[Mapping[str, float], ...]
    """Attributes of each response; empty if annotations give none, or if another block of the step has them already."""
    controlled: NDArray[np.float32] | None = None
    """Differences of features of the comparisons, shape (len(comparisons), F)."""


def block(whole: TokenizedPrompt, prompt: int, comparisons: Sequence[int]) -> Block:
    """The block of some comparisons of a prompt, given by their indices; ``prompt`` is the prompt's own."""
    pairs = [whole.comparisons[index] for index in comparisons]
    compared = {response for pair in pairs for response in (pair.first, pair.second)}
    used = sorted(compared)
    new_index = {response: index for index, response in enumerate(used)}
    return Block(
        prompt=prompt,
        tokens=TokenGroup(whole.prompt_ids, [whole.response_ids[response] for response in used]),
        comparisons=tuple(replace(pair, first=new_index[pair.first], second=new_index[pair.second]) for pair in pairs),
        responses=tuple(used),
        attributes=tuple(whole.response_attributes[response] for response in used),
        controlled=None if whole.controlled is None else whole.controlled[list(comparisons)],
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spread:
    """Comparisons of one prompt, one of which does not fit into a forward pass: the responses are read in several."""

    whole: Block
    pieces: tuple[Block, ...]
    """The responses of the whole in their order, without comparisons; each piece fits into a forward pass."""


class Division(NamedTuple):
    """What is read in a step."""

    passes: list[list[Block]]
    """The blocks of each forward pass."""
    spread: list[Spread]

    @property
    def blocks(self) -> list[Block]:
        """All blocks with comparisons."""
        return [block for some in self.passes for block in some] + [each.whole for each in self.spread]

    def num_tokens(self, layout: BatchLayout) -> int:
        """Tokens in all forward passes, padding included."""
        pieces = [[piece] for each in self.spread for piece in each.pieces]
        return sum(layout.num_tokens([block.tokens for block in blocks]) for blocks in [*self.passes, *pieces])


def check_budget(prompts: Iterable[TokenizedPrompt], tokens_per_batch: int) -> None:
    """Check that every prompt fits into a forward pass with each response that is compared, alone.

    Raises
    ------
    TrainingError
        If a prompt and one response take more than tokens_per_batch tokens.
    """
    for prompt in prompts:
        _check_fit(prompt, longest(prompt), tokens_per_batch)


def longest(prompt: TokenizedPrompt) -> int:
    """Tokens of a prompt with the longest response that is compared; 0 if there is none."""
    used = {response for pair in prompt.comparisons for response in (pair.first, pair.second)}
    return len(prompt.prompt_ids) + max(len(prompt.response_ids[response]) for response in used) if used else 0


def _check_fit(prompt: TokenizedPrompt, num_tokens: int, tokens_per_batch: int) -> None:
    if num_tokens > tokens_per_batch:
        raise TrainingError(
            f"prompt {prompt.prompt_id}: the prompt and one of its responses take {num_tokens} tokens, but "
            f"compute.tokens_per_batch is {tokens_per_batch}; raise it, or lower tokenize.max_tokens"
        )


def largest(prompts: Iterable[TokenizedPrompt], layout: BatchLayout) -> int:
    """Largest number of tokens that a forward pass over a single comparison needs."""
    return max(
        (
            layout.num_tokens([block(prompt, 0, [comparison]).tokens])
            for prompt in prompts
            for comparison in range(len(prompt.comparisons))
        ),
        default=0,
    )


def divide(
    prompts: Sequence[TokenizedPrompt],
    pairs: Sequence[Pair],
    layout: BatchLayout,
    tokens_per_batch: int,
    num_parts: int = 1,
) -> Division:
    """The forward passes of a step, each of at most tokens_per_batch tokens.

    Parameters
    ----------
    prompts : sequence of TokenizedPrompt
    pairs : sequence of Pair
    layout : BatchLayout
    tokens_per_batch : int
    num_parts : int
        Number of processes; the number of passes is a multiple of it if there are enough prompts.

    Raises
    ------
    TrainingError
        If a prompt and one response take more tokens.
    """
    by_prompt: dict[int, list[int]] = {}
    for pair in pairs:
        by_prompt.setdefault(pair.prompt, []).append(pair.comparison)
    blocks: list[Block] = []
    spread: list[Spread] = []
    for prompt, comparisons in by_prompt.items():
        parts = _fitting(prompts[prompt], prompt, comparisons, layout, tokens_per_batch)
        if parts is None:
            whole = block(prompts[prompt], prompt, comparisons)
            _check_fit(prompts[prompt], whole.tokens.longest, tokens_per_batch)
            spread.append(_spread(whole, layout, tokens_per_batch))
        else:
            blocks += _counted_once(parts)
    return Division(layout.fill(blocks, tokens_per_batch, num_parts) if blocks else [], spread)


def _counted_once(parts: Sequence[Block]) -> Iterator[Block]:
    """A prompt's blocks; a response in two of them has its attributes in the first one alone."""
    seen: set[int] = set()
    for part in parts:
        left = tuple(
            {} if response in seen else found for response, found in zip(part.responses, part.attributes, strict=True)
        )
        seen.update(part.responses)
        yield replace(part, attributes=left)


def _fitting(
    whole: TokenizedPrompt, prompt: int, comparisons: Sequence[int], layout: BatchLayout, tokens_per_batch: int
) -> list[Block] | None:
    """The comparisons of a prompt, halved until each part fits; a response in two parts is read twice.

    None if a single comparison does not fit.
    """
    made = block(whole, prompt, comparisons)
    if layout.num_tokens([made.tokens]) <= tokens_per_batch:
        return [made]
    if len(comparisons) == 1:
        return None
    half = len(comparisons) // 2
    parts: list[Block] = []
    for some in (comparisons[:half], comparisons[half:]):
        fitting = _fitting(whole, prompt, some, layout, tokens_per_batch)
        if fitting is None:
            return None
        parts += fitting
    return parts


def _spread(whole: Block, layout: BatchLayout, tokens_per_batch: int) -> Spread:
    """A block's responses in as few pieces of consecutive ones as fit."""
    prompt_ids, response_ids = whole.tokens
    ends = [0]
    for end in range(1, len(response_ids) + 1):
        if layout.num_tokens([TokenGroup(prompt_ids, response_ids[ends[-1] : end])]) > tokens_per_batch:
            ends.append(end - 1)
    pieces = [
        Block(
            prompt=whole.prompt,
            tokens=TokenGroup(prompt_ids, response_ids[start:end]),
            comparisons=(),
            responses=whole.responses[start:end],
            attributes=whole.attributes[start:end],
        )
        for start, end in pairwise([*ends, len(response_ids)])
    ]
    return Spread(whole=whole, pieces=tuple(pieces))


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """B comparisons among N distinct responses."""

    prompt: Tensor
    """(B,), int64, index of each comparison's prompt; on the CPU."""
    first: Tensor
    """(B,), int64, index of each comparison's first response among the N."""
    second: Tensor
    """(B,), int64, index of each comparison's second response among the N."""
    preference: Tensor
    """(B,), float32, preference for the first response, in [0, 1]."""
    target_margin: Tensor
    """(B,), float32."""
    weight: Tensor
    """(B,), float32."""
    controlled: Tensor
    """(B, F), float32, features of the first response minus those of the second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One forward pass: N distinct responses and the comparisons among them."""

    sequences: PackedSequences | PaddedSequences
    compared: Compared


def lay_out(blocks: Sequence[Block], layout: BatchLayout, device: torch.device) -> Batch:
    """The tensors of one forward pass, on a device."""
    return Batch(sequences=sequences(blocks, layout, device), compared=compared(blocks, device))


def sequences(blocks: Sequence[Block], layout: BatchLayout, device: torch.device) -> PackedSequences | PaddedSequences:
    """The responses of some blocks as the input of one forward pass, on a device."""
    return layout.lay_out([block.tokens for block in blocks]).to(device)


def compared(blocks: Sequence[Block], device: torch.device) -> Compared:
    """The comparisons of some blocks, whose responses follow one another, on a device."""
    prompts, indices, values = [], [], []
    apart: list[NDArray[np.float32]] = []
    offset = 0
    for block in blocks:
        for pair in block.comparisons:
            prompts.append(block.prompt)
            indices.append((offset + pair.first, offset + pair.second))
            values.append((pair.preference, pair.target_margin, pair.weight))
        none = np.empty((len(block.comparisons), 0), dtype=np.float32)
        apart.append(none if block.controlled is None else block.controlled)
        offset += len(block.tokens.response_ids)
    first, second = to_device(torch.tensor(indices), device).unbind(dim=1)
    columns = to_device(torch.tensor(values, dtype=torch.float32), device).unbind(dim=1)
    preference, target_margin, weight = columns
    return Compared(
        prompt=torch.tensor(prompts),
        first=first,
        second=second,
        preference=preference,
        target_margin=target_margin,
        weight=weight,
        controlled=to_device(torch.from_numpy(np.concatenate(apart)), device),
    )


class Agreement(NamedTuple):
    """How far rewards agree with comparisons; tensors of shape (B,)."""

    right: Tensor
    """1 where the preferred response has the higher reward, 0.5 where rewards tie; 0 where no response is preferred."""
    decided: Tensor
    """Whether a response is preferred."""
    margin: Tensor
    """Reward of the preferred response minus reward of the other; 0 where no response is preferred."""


def agreement(rewards: Tensor, compared: Compared) -> Agreement:
    """Compare rewards of shape (N,) with comparisons."""
    direction = torch.sign(compared.preference - 0.5)
    margin = direction * (rewards[compared.first] - rewards[compared.second])
    decided = direction != 0
    right = ((margin > 0).float() + (margin == 0).float() / 2) * decided
    return Agreement(right, decided, margin)
