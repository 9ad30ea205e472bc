"""Which layout a model can read, and how prompts are divided into forward passes of that layout."""

from __future__ import annotations

import heapq
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch

from rm.model import packed_attention
from rm.model.packing import PackedSequences, Reading, pack
from rm.model.padding import PaddedSequences, pad
from rm.model.token_ids import TokenGroup

LOGGER = logging.getLogger(__name__)
_SAME = 2e-4
"""Largest difference of rewards that rounding explains, beside rewards of size 1 in float32."""


class HasTokens(Protocol):
    """Anything that a forward pass reads."""

    @property
    def tokens(self) -> TokenGroup:
        """A prompt and responses."""
        ...


T = TypeVar("T", bound=HasTokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLayout:
    """Packed rows as `rm.model.packing` makes them, or padded ones."""

    packed: bool
    reading: Reading

    def num_tokens(self, groups: Sequence[TokenGroup]) -> int:
        """Tokens that a forward pass reads for some prompts and responses, padding included."""
        if self.packed:
            return sum(group.num_tokens(shared=self.reading.causal) for group in groups)
        return max((group.longest for group in groups), default=0) * sum(len(group.response_ids) for group in groups)

    def lay_out(self, groups: Sequence[TokenGroup]) -> PackedSequences | PaddedSequences:
        """The input of one forward pass; its sequences are numbered in the order given."""
        if self.packed:
            return pack(groups, self.reading)
        return pad([sequence for group in groups for sequence in group.sequences()])

    def fill(self, blocks: Sequence[T], tokens_per_batch: int, num_parts: int = 1) -> list[list[T]]:
        """Divide blocks into forward passes of at most tokens_per_batch tokens; a larger block makes one by itself.

        The number of passes is a multiple of num_parts where there are blocks enough.
        """
        if self.packed:
            return _balanced(blocks, [self.num_tokens([block.tokens]) for block in blocks], tokens_per_batch, num_parts)
        return self._by_length(blocks, tokens_per_batch, num_parts)

    def _by_length(self, blocks: Sequence[T], tokens_per_batch: int, num_parts: int) -> list[list[T]]:
        """Blocks of similar length together, so that little is padded."""
        passes: list[list[T]] = []
        for block in sorted(blocks, key=lambda block: block.tokens.longest):
            if passes and self.num_tokens([held.tokens for held in [*passes[-1], block]]) <= tokens_per_batch:
                passes[-1].append(block)
            else:
                passes.append([block])
        while len(passes) % num_parts and len(passes) < len(blocks):
            sizes = [(len(some) > 1, self.num_tokens([block.tokens for block in some])) for some in passes]
            at = sizes.index(max(sizes))
            half = len(passes[at]) // 2
            passes[at : at + 1] = [passes[at][:half], passes[at][half:]]
        return passes


def _balanced(blocks: Sequence[T], costs: Sequence[int], budget: int, num_parts: int) -> list[list[T]]:
    """As few passes as hold the blocks, about equally large, their number a multiple of num_parts.

    The largest block goes first, each into the pass that is emptiest [1]_.

    References
    ----------
    .. [1] Graham (1969), Bounds on multiprocessing timing anomalies, doi:10.1137/0117039
    """
    order = sorted(range(len(blocks)), key=lambda place: -costs[place])
    num_passes = max(1, -(-sum(costs) // budget))
    while True:
        num_passes = min(-(-num_passes // num_parts) * num_parts, len(blocks))
        members: list[list[int]] = [[] for _ in range(num_passes)]
        emptiest = [(0, number) for number in range(num_passes)]
        for place in order:
            filled, number = heapq.heappop(emptiest)
            members[number].append(place)
            heapq.heappush(emptiest, (filled + costs[place], number))
        over = any(filled > budget and len(members[number]) > 1 for filled, number in emptiest)
        if not over or num_passes == len(blocks):
            return [[blocks[place] for place in sorted(some)] for some in members]
        num_passes += 1


def choose(model: Any, max_tokens: int) -> BatchLayout:
    """The layout for a reward model: packed where the backbone takes it and gives the same rewards, else padded.

    Parameters
    ----------
    model : RewardModel
    max_tokens : int
        Most tokens of a prompt with a response.

    Notes
    -----
    The configuration says what cannot work, and a small reading of both layouts shows what does not: position ids that
    do not count from 0, or attention that ignores the plan.
    """
    reading = model.config.reading()
    reason = packed_attention.why_not_packed(model.backbone, max_tokens) or _why_different(model, reading)
    if reason:
        LOGGER.warning("training and scoring on padded rows, which is slower: %s", reason)
    return BatchLayout(packed=reason is None, reading=reading)


@torch.no_grad()
def _why_different(model: Any, reading: Reading) -> str | None:
    """Read two made-up prompts in both layouts."""
    device = model.score.weight.device
    groups = _made_up(model.config.backbone_config().get_text_config().vocab_size, reading.token_id)
    padded = BatchLayout(packed=False, reading=reading).lay_out(groups).to(device)
    packed = BatchLayout(packed=True, reading=reading).lay_out(groups).to(device)
    try:
        found = model.outputs(packed)
    except Exception as error:  # whatever unknown code does with a plan
        return f"its code cannot read packed rows: {error!r}"
    expected = model.outputs(padded)
    worst = (found - expected).abs().max().item()
    if not worst <= _SAME * expected.abs().max().item():
        return f"its rewards of packed rows differ by {worst:.2g}"
    return None


def _made_up(vocab_size: int, token_id: int | None) -> list[TokenGroup]:
    generator = np.random.default_rng(0)

    def ids(count: int) -> list[int]:
        # Ids below 16 are often special; models treat some of them in ways of their own.
        return [int(value) for value in generator.integers(min(16, vocab_size - 1), vocab_size, count)]

    end = [] if token_id is None else [token_id]  # at the end, where it has seen all
    groups = [(ids(count), ids(count + 2)) for count in (5, 9)]
    return [TokenGroup(prompt, [one + end, ids(3) + end, one[:4] + ids(2) + end]) for prompt, one in groups]
