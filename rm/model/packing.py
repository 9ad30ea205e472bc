"""Sequences as one packed row: the tokens of a prompt once, then those of each response, without padding.

::

    tokens      | prompt A | A1 | A2 | A3 | prompt B | B1 | B2 |
    positions   0 ...... p  p+1. p+1. p+1. 0 ...... q  q+1. q+1.
    attends to  itself      A+A1 A+A2 A+A3 itself      B+B1 B+B2

A response that begins with the same tokens as the first response shares them, as it shares the prompt: the row holds
only the rest of A2, which attends to the shared tokens within A1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rm.errors import ModelError
from rm.model.device import to_device
from rm.model.packed_attention import Plan, Segment
from rm.model.pooling import Pooling
from rm.model.token_ids import TokenGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedSequences:
    """N sequences packed into T tokens."""

    input_ids: Tensor
    """(1, T), int64."""
    position_ids: Tensor
    """(1, T), int64."""
    plan: Plan
    pooled: Tensor
    """(M,), int64, indices of the tokens that rewards are read from, sequence by sequence, in rising order."""
    pooled_sequence: Tensor
    """(M,), int64, for each of these tokens the index of its sequence, in [0, N)."""
    num_pooled: Tensor
    """(N,), int64, number of tokens that each sequence's reward is read from."""
    kept: Tensor
    """(at most M,), int64, the distinct values of `pooled`, in rising order."""
    num_readers: Tensor
    """(T,), int64, number of sequences that each token belongs to."""

    def to(self, device: torch.device) -> PackedSequences:
        """Copy to another device."""
        return PackedSequences(
            input_ids=to_device(self.input_ids, device),
            position_ids=to_device(self.position_ids, device),
            plan=replace(self.plan, device=device),
            pooled=to_device(self.pooled, device),
            pooled_sequence=to_device(self.pooled_sequence, device),
            num_pooled=to_device(self.num_pooled, device),
            kept=to_device(self.kept, device),
            num_readers=to_device(self.num_readers, device),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Where a model reads its rewards, and whether its attention is causal."""

    pooling: Pooling
    token_id: int | None
    """The token to read when pooling is ``token``."""
    causal: bool
    """True for decoders, whose responses share the prompt. Encoders attend in both directions and read the prompt once
    per response."""


def pack(groups: Sequence[TokenGroup], reading: Reading) -> PackedSequences:
    """Lay out prompts and their responses in one row; the sequences are in the given order.

    Parameters
    ----------
    groups : sequence of TokenGroup
    reading : Reading

    Raises
    ------
    ModelError
        If a response is empty, or a sequence does not hold the token that its reward is read from.
    """
    num_tokens = sum(group.num_tokens(shared=reading.causal) for group in groups)
    input_ids, position_ids = np.empty((2, 1, num_tokens), dtype=np.int64)
    num_readers = np.zeros(num_tokens, dtype=np.int64)
    segments: list[Segment] = []
    pooled: list[NDArray[np.int64]] = []
    for group in groups:
        spans = _spans(group, segments[-1].end if segments else 0, shared=reading.causal)
        for span, response_ids in zip(spans, group.response_ids, strict=True):
            num_shared, num_prompt = span.num_shared, len(group.prompt_ids)
            input_ids[0, span.prompt], input_ids[0, span.own] = group.prompt_ids, response_ids[num_shared:]
            position_ids[0, span.prompt] = np.arange(num_prompt)
            position_ids[0, span.own] = np.arange(num_prompt + num_shared, num_prompt + len(response_ids))
            for part in span:
                num_readers[part] += 1
            pooled.append(_pooled(span, input_ids[0], reading))
        segments += _segments(spans, shared=reading.causal)
    num_pooled = torch.tensor([len(tokens) for tokens in pooled])
    every_pooled = np.concatenate(pooled)
    return PackedSequences(
        input_ids=torch.from_numpy(input_ids),
        position_ids=torch.from_numpy(position_ids),
        plan=Plan(tuple(segments), causal=reading.causal, device=torch.device("cpu")),
        pooled=torch.from_numpy(every_pooled),
        pooled_sequence=torch.repeat_interleave(num_pooled),
        num_pooled=num_pooled,
        kept=torch.from_numpy(np.unique(every_pooled)),
        num_readers=torch.from_numpy(num_readers),
    )


class _Span(NamedTuple):
    """Slices of the row that hold the three parts of a sequence."""

    prompt: slice
    shared: slice
    """The beginning that the response shares with the first one; it follows the prompt."""
    own: slice
    """The rest of the response."""

    @property
    def num_shared(self) -> int:
        """Tokens of the shared beginning."""
        return int(self.shared.stop - self.shared.start)


def _spans(group: TokenGroup, start: int, *, shared: bool) -> list[_Span]:
    spans = []
    num_prompt = len(group.prompt_ids)
    end = start
    nums_shared = group.nums_shared() if shared else [0] * len(group.response_ids)
    for response_ids, num_shared in zip(group.response_ids, nums_shared, strict=True):
        prompt = slice(start, start + num_prompt) if shared else slice(end, end + num_prompt)
        own_start = max(prompt.stop, end)
        end = own_start + len(response_ids) - num_shared
        spans.append(_Span(prompt, slice(prompt.stop, prompt.stop + num_shared), slice(own_start, end)))
    return spans


def _segments(spans: Sequence[_Span], *, shared: bool) -> list[Segment]:
    if not shared:
        return [Segment(span.prompt.start, span.own.stop, span.prompt.start, span.prompt.start) for span in spans]
    prompt = spans[0].prompt
    responses = [Segment(span.own.start, span.own.stop, prompt.start, span.shared.stop) for span in spans]
    return [Segment(prompt.start, prompt.stop, prompt.start, prompt.start), *responses]


def _pooled(span: _Span, input_ids: NDArray[np.int64], reading: Reading) -> NDArray[np.int64]:
    """Indices of the tokens that a sequence's reward is read from, as `rm.model.reward_model.pool` finds by masks."""
    prompt, beginning, own = (np.arange(part.start, part.stop) for part in span)
    response = np.concatenate([beginning, own])
    if not len(response):
        raise ModelError("a response has no tokens, not even an end token")
    if reading.pooling == "last":
        return response[-1:]
    if reading.pooling == "mean_response":
        return response
    whole = np.concatenate([prompt, response])
    if reading.pooling == "mean":
        return whole
    found = whole[input_ids[whole] == reading.token_id]
    if not len(found):
        raise ModelError(f"pooling token {reading.token_id} is missing from a sequence")
    first: NDArray[np.int64] = found[:1]
    return first
