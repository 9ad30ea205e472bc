"""Packed or padded: which layout a model can read, and how prompts are divided into forward passes."""

from __future__ import annotations

import heapq
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from rm.errors import ModelError
from rm.model import packed_attention
from rm.model.packing import PackedSequences, Reading, pack
from rm.model.padding import PaddedSequences, pad
from rm.model.token_ids import TokenGroup

LOGGER = logging.getLogger(__name__)
_LENGTH = re.compile("window|position|chunk|local|block|length")
_LONGEST = 2048
"""Most tokens of a made-up text: a large model reads it on the CPU."""
_SAME = 2e-4
"""Largest relative difference of rewards that rounding in float32 explains."""


class HasTokens(Protocol):
    """An object with token ids that a forward pass reads."""

    @property
    def tokens(self) -> TokenGroup:
        """Token ids of a prompt and of responses to it."""
        ...


T = TypeVar("T", bound=HasTokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLayout:
    """How token ids are laid out as tensors: packed (`rm.model.packing`) or padded (`rm.model.padding`)."""

    packed: bool
    reading: Reading
    """Where the model reads its rewards."""

    def num_tokens(self, groups: Sequence[TokenGroup]) -> int:
        """Tokens in a forward pass over these prompts and responses, padding included."""
        if self.packed:
            return sum(group.num_tokens(shared=self.reading.causal) for group in groups)
        return max((group.longest for group in groups), default=0) * sum(len(group.response_ids) for group in groups)

    def lay_out(self, groups: Sequence[TokenGroup]) -> PackedSequences | PaddedSequences:
        """The input of one forward pass; its sequences are in the given order."""
        if self.packed:
            return pack(groups, self.reading)
        return pad([sequence for group in groups for sequence in group.sequences()])

    def fill(self, blocks: Sequence[T], tokens_per_batch: int, num_parts: int = 1) -> list[list[T]]:
        """Divide blocks into forward passes.

        Parameters
        ----------
        blocks : sequence
            Objects with token ids. A block is never divided.
        tokens_per_batch : int
            Most tokens in one forward pass. A larger block gets a pass of its own.
        num_parts : int
            The number of passes is a multiple of it if there are enough blocks.

        Returns
        -------
        list of list
            The blocks of each pass.
        """
        if self.packed:
            return _balanced(blocks, [self.num_tokens([block.tokens]) for block in blocks], tokens_per_batch, num_parts)
        return self._by_length(blocks, tokens_per_batch, num_parts)

    def _by_length(self, blocks: Sequence[T], tokens_per_batch: int, num_parts: int) -> list[list[T]]:
        """Put blocks of similar length into one pass, which needs little padding."""
        passes: list[list[T]] = []
        for block in sorted(blocks, key=lambda block: block.tokens.longest):
            if passes and self.num_tokens([held.tokens for held in [*passes[-1], block]]) <= tokens_per_batch:
                passes[-1].append(block)
            else:
                passes.append([block])
        while len(passes) % num_parts and len(passes) < len(blocks):
            sizes = [(len(some) > 1, self.num_tokens([block.tokens for block in some])) for some in passes]
            index = sizes.index(max(sizes))
            half = len(passes[index]) // 2
            passes[index : index + 1] = [passes[index][:half], passes[index][half:]]
        return passes


def _balanced(blocks: Sequence[T], costs: Sequence[int], budget: int, num_parts: int) -> list[list[T]]:
    """Divide blocks into passes of about equal size; as few as possible, their number a multiple of num_parts.

    Blocks are assigned from the largest to the smallest, each to the emptiest pass.

    References
    ----------
    Graham (1969), Bounds on multiprocessing timing anomalies, doi:10.1137/0117039
    """
    order = sorted(range(len(blocks)), key=lambda block: -costs[block])
    num_passes = max(1, -(-sum(costs) // budget))
    while True:
        num_passes = min(-(-num_passes // num_parts) * num_parts, len(blocks))
        members: list[list[int]] = [[] for _ in range(num_passes)]
        emptiest = [(0, index) for index in range(num_passes)]
        for block in order:
            filled, index = heapq.heappop(emptiest)
            members[index].append(block)
            heapq.heappush(emptiest, (filled + costs[block], index))
        over = any(filled > budget and len(members[index]) > 1 for filled, index in emptiest)
        if not over or num_passes == len(blocks):
            return [[blocks[block] for block in sorted(some)] for some in members]
        num_passes += 1


def choose(model: Any, max_tokens: int) -> BatchLayout:
    """Choose the layout for a reward model: packed if the model gives the same rewards for it, else padded.

    Parameters
    ----------
    model : RewardModel
    max_tokens : int
        Most tokens of a prompt with one response.

    Raises
    ------
    ModelError
        If the model gives a text another reward beside other texts than alone, in padded rows too.

    Notes
    -----
    Some models are ruled out by their configuration. For the others, the rewards of some made-up texts in both layouts
    are compared with those of the same texts alone: this finds position ids that do not count from 0, and attention
    that ignores the plan. One text is longer than what the configuration names as a window, a chunk or the like, since
    models may read longer texts in another way.
    """
    reading = model.config.reading()
    reason = packed_attention.why_not_packed(model.backbone, max_tokens) or _why_different(model, reading, max_tokens)
    if reason:
        LOGGER.warning("training and scoring on padded rows, which is slower: %s", reason)
    return BatchLayout(packed=reason is None, reading=reading)


@torch.no_grad()
def _why_different(model: Any, reading: Reading, max_tokens: int) -> str | None:
    """Why packed rewards of made-up texts differ from those of the texts alone; None if they do not."""
    device = model.score.weight.device
    groups = _made_up(model.config.backbone_config().get_text_config(), reading.token_id, max_tokens)
    sequences = [each for group in groups for each in group.sequences()]
    found, reason = None, None
    try:
        found = model.outputs(pack(groups, reading).to(device))
    except Exception as error:  # unknown code may fail in any way
        reason = f"the model's code cannot read packed rows: {error!r}"
    expected = torch.cat([model.outputs(pad([each]).to(device)) for each in sequences])
    order = sorted(range(len(sequences)), key=lambda place: sequences[place].num_tokens)
    ends = [order[0], order[-1]]
    beside = model.outputs(pad([sequences[place] for place in ends]).to(device))
    if (worst := _worst(beside, expected[ends])) > _SAME:
        raise ModelError(
            f"{type(model.backbone).__name__}: a text has another reward beside other texts, by {worst:.2g} of its size"
        )
    if found is not None and not (worst := _worst(found, expected)) <= _SAME:
        reason = f"its rewards in packed rows differ by {worst:.2g} of their size"
    return reason


def _worst(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


def _made_up(config: Any, token_id: int | None, max_tokens: int) -> list[TokenGroup]:
    generator = np.random.default_rng(0)
    vocab_size = config.vocab_size

    def ids(count: int) -> list[int]:
        # Ids below 16 are often special tokens, which some models treat differently.
        return [int(value) for value in generator.integers(min(16, vocab_size - 1), vocab_size, count)]

    end = [] if token_id is None else [token_id]  # at the end, where a causal model has seen all tokens
    prompts = [(ids(count), ids(count + 2)) for count in (5, 9)]
    groups = [TokenGroup(prompt, [one + end, ids(3) + end, one[:4] + ids(2) + end]) for prompt, one in prompts]
    most = min(max_tokens, _LONGEST) - 16
    if longest := max((each for each in _lengths(config.to_dict()) if each <= most), default=0):
        groups.append(TokenGroup(ids(longest), [ids(6) + end]))
    return groups


def _lengths(values: dict[str, Any]) -> Iterator[int]:
    """Numbers in a configuration that may be a number of tokens after which a text is read in another way."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _lengths(value)
        elif isinstance(value, int) and not isinstance(value, bool) and _LENGTH.search(name):
            yield value
