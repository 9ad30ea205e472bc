"""Attention over packed tokens: many prompts in one row, each prompt's keys and values shared by its responses.

A `Plan` says which tokens attend to which. Transformers passes it on to the attention function that is registered here,
so that its models read packed rows without a change.
"""

from __future__ import annotations

import inspect
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface, AttentionMaskInterface

from rm.model import architecture
from rm.model.device import to_device

NAME = "rmflow-packed"
_TOKENS_AT_ONCE = 128
"""On the CPU, small segments are put together into one attention call of up to this many tokens, with a mask."""
_QUERIES_AT_ONCE = 128
"""On the CPU, a longer causal segment takes one call per this many queries, each without the keys after its queries."""


SHARES_KEYS = "enable_gqa" in inspect.signature(varlen_attn).parameters
"""Whether several query heads may share a head of keys and values in the kernel (torch 2.12 and newer). For torch 2.11
these heads are repeated, which costs memory."""


class Segment(NamedTuple):
    """Tokens [start, end) of a packed row, which attend to the tokens [prefix_start, prefix_end) and to one another."""

    start: int
    end: int
    prefix_start: int
    prefix_end: int


@dataclass(frozen=True)
class Plan:
    """Which tokens attend to which in a packed row of T tokens; the segments are consecutive and cover the row."""

    segments: tuple[Segment, ...]
    causal: bool
    """Whether a token attends only to itself and earlier tokens of its segment."""
    device: torch.device

    @cached_property
    def units(self) -> tuple[_Unit, ...]:
        """The segments, grouped for attention calls on the CPU."""
        return tuple(_units(self.segments, self.causal, self.device))

    @cached_property
    def offsets(self) -> _Offsets:
        """The segments as offsets, for a kernel that takes sequences of varying length."""
        return _offsets(self.segments, self.device)


class _Unit(NamedTuple):
    """Consecutive tokens that are read together: several small segments, or one large segment."""

    num_tokens: int
    prefix: tuple[tuple[int, int], ...]
    """Earlier units that this one attends to: index of the unit, and how many of its first tokens."""
    masks: tuple[tuple[int, Tensor | None], ...]
    """Pieces of the queries: the end of each, and the mask of the keys up to there; None: it attends to all of them."""


def _units(segments: Sequence[Segment], causal: bool, device: torch.device) -> Iterator[_Unit]:
    ends = [0]  # of the units so far
    for groups in _together(segments):
        for run in _runs(groups, _num_tokens):
            start, end = run[0].start, run[-1].end
            low, high = min(each.prefix_start for each in run), max(each.prefix_end for each in run)
            seen = range(min(low, start), min(high, start))  # the rest of the prefix is in the unit itself
            masks = _masks(run[0], causal) if len(run) == 1 else [(end - start, _mask(run, seen, causal))]
            on_device = ((to, None if mask is None else mask.to(device)) for to, mask in masks)
            yield _Unit(end - start, tuple(_covering(ends, seen)), tuple(on_device))
            ends.append(end)


def _covering(ends: Sequence[int], seen: range) -> Iterator[tuple[int, int]]:
    """Indices of the units that hold the tokens ``seen``, and how many of their first tokens are among these.

    A prefix always begins at the beginning of a unit.
    """
    first = bisect_right(ends, seen.start) - 1
    for index, (start, end) in enumerate(pairwise(ends[first:]), start=first):
        if start < seen.stop:
            yield index, min(end, seen.stop) - start


def _together(segments: Sequence[Segment]) -> Iterator[list[Segment]]:
    """Lists of segments that do not attend to other lists: of one prompt each, or of several small prompts."""
    for groups in _runs(list(_groups(segments)), lambda group: sum(map(_num_tokens, group))):
        yield [segment for group in groups for segment in group]


def _groups(segments: Sequence[Segment]) -> Iterator[list[Segment]]:
    group: list[Segment] = []
    for segment in segments:
        if group and segment.prefix_end == segment.prefix_start:
            yield group
            group = []
        group.append(segment)
    if group:
        yield group


def _num_tokens(segment: Segment) -> int:
    return segment.end - segment.start


T = TypeVar("T")


def _runs(parts: Sequence[T], size: Callable[[T], int]) -> Iterator[list[T]]:
    """Consecutive parts, put together up to `_TOKENS_AT_ONCE` tokens; a larger part is alone."""
    run: list[T] = []
    num_tokens = 0
    for part in parts:
        if run and num_tokens + size(part) > _TOKENS_AT_ONCE:
            yield run
            run, num_tokens = [], 0
        run.append(part)
        num_tokens += size(part)
    if run:
        yield run


def _mask(run: Sequence[Segment], seen: range, causal: bool) -> Tensor:
    """Attention mask: the run's tokens (rows) by the tokens ``seen`` before the run and the run's tokens (columns)."""
    segment_index = torch.repeat_interleave(torch.tensor([_num_tokens(segment) for segment in run]))
    start, end, prefix_start, prefix_end = torch.tensor(run)[segment_index].T.unsqueeze(-1)
    query = torch.arange(run[0].start, run[-1].end).unsqueeze(-1)
    key = torch.cat([torch.arange(seen.start, seen.stop), query.squeeze(-1)])
    in_segment = (key >= start) & (key <= query if causal else key < end)
    seen_by: Tensor = in_segment | (key >= prefix_start) & (key < prefix_end)
    return seen_by


def _masks(segment: Segment, causal: bool) -> Iterator[tuple[int, Tensor | None]]:
    num_tokens, num_prefix = _num_tokens(segment), segment.prefix_end - segment.prefix_start
    if not causal:
        yield num_tokens, None
        return
    for start in range(0, num_tokens, _QUERIES_AT_ONCE):
        end = min(start + _QUERIES_AT_ONCE, num_tokens)
        before = num_prefix + start
        yield end, torch.ones(end - start, num_prefix + end, dtype=torch.bool).tril(before)


class _Offsets(NamedTuple):
    """For S segments: where the queries and keys of each begin, and which tokens the keys are."""

    queries: Tensor
    """(S + 1,), int32."""
    keys: Tensor
    """(S + 1,), int32."""
    key_indices: Tensor
    """(number of keys,), int64, indices of tokens."""
    max_queries: int
    max_keys: int


def _offsets(segments: Sequence[Segment], device: torch.device) -> _Offsets:
    num_queries = torch.tensor([0] + [segment.end - segment.start for segment in segments])
    num_prefix = torch.tensor([0] + [segment.prefix_end - segment.prefix_start for segment in segments])
    key_indices = [torch.arange(*ends) for segment in segments for ends in (segment[2:], segment[:2])]
    num_keys = num_queries + num_prefix
    return _Offsets(
        queries=to_device(num_queries.cumsum(0, dtype=torch.int32), device),
        keys=to_device(num_keys.cumsum(0, dtype=torch.int32), device),
        key_indices=to_device(torch.cat(key_indices), device),
        max_queries=int(num_queries.max()),
        max_keys=int(num_keys.max()),
    )


@torch.compiler.disable  # type: ignore[untyped-decorator]  # the plan differs from pass to pass
def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    plan: Plan,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Scaled dot-product attention that follows a plan, with the signature of transformers' attention functions.

    Parameters
    ----------
    module : Module
        The attention layer; not used.
    query : Tensor of shape (1, heads, T, D)
    key, value : Tensor of shape (1, key heads, T, D)
    attention_mask : None
    plan : Plan
    scaling : float, optional
        Factor of the dot products; default: 1 / sqrt(D).

    Returns
    -------
    Tensor of shape (1, T, heads, D), and None for the attention weights

    Notes
    -----
    On CUDA one kernel reads all segments: FlashAttention in half precision, in float32 the memory-efficient one. Both
    align a causal mask with the last key, so that each token of a response attends to the whole prompt. A kernel needs
    the keys and values of a shared prompt once for each response: they are copied, but nothing is computed again.
    Elsewhere segments are read one after another. Attention dropout is not applied:
    `rm.model.reward_model.without_dropout`.

    References
    ----------
    Dao (2023), FlashAttention-2, arXiv:2307.08691; causal alignment as of version 2.1.
    Rabe and Staats (2021), Self-attention does not need O(n^2) memory, arXiv:2112.05682
    """
    if torch.is_autocast_enabled(query.device.type):  # rotary positions have turned them into float32
        dtype = torch.get_autocast_dtype(query.device.type)
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    if read := _kernel(query, value):
        return read(query, key, value, plan, scaling).unsqueeze(0), None
    return _read_in_pieces(query, key, value, plan, scaling), None


_Kernel = Callable[[Tensor, Tensor, Tensor, "Plan", "float | None"], Tensor]


def _kernel(query: Tensor, value: Tensor) -> _Kernel | None:
    """What reads sequences of varying length at once on this device, in this dtype and with these head sizes.

    References
    ----------
    FlashAttention-2: half precision; head size at most 256, a multiple of 8, the same for keys and values.
    The memory-efficient kernel: in float32, head sizes that are multiples of 4
    """
    size, value_size = query.shape[-1], value.shape[-1]
    if not query.is_cuda:
        return None
    if query.dtype in (torch.float16, torch.bfloat16) and size == value_size <= 256 and size % 8 == 0:
        return _flash
    if query.dtype == torch.float32 and size % 4 == value_size % 4 == 0:
        return _memory_efficient
    return None


def _with_prefixes(query: Tensor, key: Tensor, value: Tensor, plan: Plan, shares_keys: bool) -> list[Tensor]:
    """Queries, keys and values, each (tokens, heads, D); a segment's keys and values follow those of its prefix."""
    queries = query[0].transpose(0, 1)
    keys, values = (tensor[0].transpose(0, 1)[plan.offsets.key_indices] for tensor in (key, value))
    if not shares_keys:
        num_sharing = query.shape[1] // key.shape[1]
        keys, values = (tensor.repeat_interleave(num_sharing, dim=1) for tensor in (keys, values))
    return [queries, keys, values]


def _memory_efficient(query: Tensor, key: Tensor, value: Tensor, plan: Plan, scaling: float | None) -> Tensor:
    offsets = plan.offsets
    tensors = _with_prefixes(query, key, value, plan, shares_keys=False)
    output: Tensor = _efficient_attention(
        *(tensor.unsqueeze(0) for tensor in tensors),
        None,
        offsets.queries,
        offsets.keys,
        offsets.max_queries,
        offsets.max_keys,
        0.0,
        _CAUSAL_FROM_THE_LAST_KEY if plan.causal else _NO_MASK,
        torch.is_grad_enabled(),
        scale=scaling,
    )[0]
    return output[0]


_efficient_attention = torch.ops.aten._efficient_attention_forward
"""torch offers this kernel with sequences of varying length only under this name, which its nested tensors call."""
_NO_MASK, _CAUSAL_FROM_THE_LAST_KEY = 0, 2
"""Numbers of the kernel's masks."""


def _flash(query: Tensor, key: Tensor, value: Tensor, plan: Plan, scaling: float | None) -> Tensor:
    offsets = plan.offsets
    query, keys, values = _with_prefixes(query, key, value, plan, SHARES_KEYS)
    shared: dict[str, Any] = {"enable_gqa": True} if SHARES_KEYS else {}
    output = varlen_attn(
        query,
        keys,
        values,
        offsets.queries,
        offsets.keys,
        offsets.max_queries,
        offsets.max_keys,
        scale=scaling,
        window_size=(-1, 0) if plan.causal else (-1, -1),
        **shared,
    )
    assert isinstance(output, Tensor)  # a tuple comes only on request
    return output


def _read_in_pieces(query: Tensor, key: Tensor, value: Tensor, plan: Plan, scaling: float | None) -> Tensor:
    # Split once: the gradient of a slice is as long as the whole row, so one slice per segment would take T^2.
    sizes = [unit.num_tokens for unit in plan.units]
    queries, keys, values = (torch.split(tensor, sizes, dim=2) for tensor in (query, key, value))
    shares_keys = key.shape[1] != query.shape[1]
    outputs = []
    for index, unit in enumerate(plan.units):
        seen_keys, seen_values = keys[index], values[index]
        if unit.prefix:
            seen_keys = torch.cat([*_first(keys, unit.prefix), seen_keys], dim=2)
            seen_values = torch.cat([*_first(values, unit.prefix), seen_values], dim=2)
        start, num_before = 0, seen_keys.shape[2] - unit.num_tokens
        for end, mask in unit.masks:
            outputs.append(
                F.scaled_dot_product_attention(
                    queries[index][:, :, start:end],
                    seen_keys[:, :, : num_before + end],
                    seen_values[:, :, : num_before + end],
                    attn_mask=mask,
                    scale=scaling,
                    enable_gqa=shares_keys,
                )
            )
            start = end
    return torch.cat(outputs, dim=2).transpose(1, 2)


def _first(units: Sequence[Tensor], prefix: Sequence[tuple[int, int]]) -> Iterator[Tensor]:
    """The first tokens of some units."""
    return (units[index][:, :, :count] for index, count in prefix)


def _no_mask(*_: Any, **__: Any) -> None:
    """No mask: transformers would create one of T x T for packed rows."""


AttentionInterface.register(NAME, packed_attention)
AttentionMaskInterface.register(NAME, _no_mask)


def why_not_packed(backbone: Any, max_tokens: int) -> str | None:
    """Why a backbone's configuration rules out packed rows, or None.

    Parameters
    ----------
    backbone : PreTrainedModel
    max_tokens : int
        Most tokens of a prompt with one response; an attention window of at least this width has no effect.
    """
    return next(_reasons(backbone, max_tokens), None)


def _reasons(backbone: Any, max_tokens: int) -> Iterator[str]:
    config = backbone.config
    if not getattr(backbone, "_supports_attention_backend", False):
        yield f"{type(backbone).__name__} does not support custom attention functions"
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if other := sorted(kinds - {"full_attention", "sliding_attention"}):
        yield f"it has layers of kind {other[0]}"
    window = getattr(config, "sliding_window", None)
    if window is not None and window < max_tokens and (kinds != {"full_attention"} or not _has_layer_types(config)):
        yield f"its attention window of {window} tokens is narrower than the longest text, {max_tokens} tokens"
    turning = architecture.turning_length(config)
    if turning is not None and turning < max_tokens:
        yield f"its positions differ between texts of up to and of more than {turning} tokens"
    if getattr(config, "attn_logit_softcapping", None) is not None:
        yield "its attention scores have a soft cap"
    if getattr(config, "alibi", False):
        yield "it encodes positions as attention biases (ALiBi)"


def _has_layer_types(config: Any) -> bool:
    return getattr(config, "layer_types", None) is not None
