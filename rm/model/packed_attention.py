"""Attention over packed tokens: many prompts in one row, each prompt's keys and values shared by its responses.

A `Plan` says who sees what. Transformers hands it through to the attention function that is registered here, so that
its own models run packed without a change.
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

from rm.model.device import to_device

NAME = "rmflow-packed"
_TOKENS_AT_ONCE = 128
"""On the CPU prompts and responses up to this many tokens are read at once, whether they see one another or not."""
_QUERIES_AT_ONCE = 128
"""On the CPU a longer causal segment is read in pieces of this many queries: keys after a piece cost nothing then."""


SHARES_KEYS = "enable_gqa" in inspect.signature(varlen_attn).parameters
"""Whether the kernel lets several query heads share heads of keys and values: torch 2.12 and newer. On torch 2.11 these
are repeated for it, which costs memory."""


class Segment(NamedTuple):
    """Tokens [start, end) of a packed row, which see the tokens [prefix_start, prefix_end) and one another."""

    start: int
    end: int
    prefix_start: int
    prefix_end: int


@dataclass(frozen=True)
class Plan:
    """Who sees what in a packed row of T tokens; the segments follow one another and cover it."""

    segments: tuple[Segment, ...]
    causal: bool
    """Whether a token sees only those of its segment that stand before it."""
    device: torch.device

    @cached_property
    def units(self) -> tuple[_Unit, ...]:
        """The segments as the CPU reads them."""
        return tuple(_units(self.segments, self.causal, self.device))

    @cached_property
    def offsets(self) -> _Offsets:
        """The segments as a kernel for sequences of varying length takes them."""
        return _offsets(self.segments, self.device)


class _Unit(NamedTuple):
    """Tokens that are read together: small segments, or one large one."""

    num_tokens: int
    prefix: tuple[tuple[int, int], ...]
    """Units before this one that are seen, and how many of their first tokens."""
    masks: tuple[tuple[int, Tensor | None], ...]
    """Pieces of the queries: where each ends, and which keys up to there it sees; None: all of them."""


def _units(segments: Sequence[Segment], causal: bool, device: torch.device) -> Iterator[_Unit]:
    ends = [0]  # of the units so far
    for groups in _together(segments):
        for run in _runs(groups, _num_tokens):
            start, end = run[0].start, run[-1].end
            low, high = min(each.prefix_start for each in run), max(each.prefix_end for each in run)
            seen = range(min(low, start), min(high, start))  # the rest of a prefix stands in the unit itself
            masks = _masks(run[0], causal) if len(run) == 1 else [(end - start, _mask(run, seen, causal))]
            on_device = ((to, None if mask is None else mask.to(device)) for to, mask in masks)
            yield _Unit(end - start, tuple(_covering(ends, seen)), tuple(on_device))
            ends.append(end)


def _covering(ends: Sequence[int], seen: range) -> Iterator[tuple[int, int]]:
    """The units that hold the seen tokens, and how many of each one's first; a prefix begins where a unit does."""
    first = bisect_right(ends, seen.start) - 1
    for number, (start, end) in enumerate(pairwise(ends[first:]), start=first):
        if start < seen.stop:
            yield number, min(end, seen.stop) - start


def _together(segments: Sequence[Segment]) -> Iterator[list[Segment]]:
    """Segments in lists that see nothing of each other: one prompt's each, or several small ones'."""
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
    """Parts that follow one another, as many together as are read at once; a larger one by itself."""
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
    """Which of the run's tokens (rows) sees which of the tokens before the run and in it (columns)."""
    number = torch.repeat_interleave(torch.tensor([_num_tokens(segment) for segment in run]))
    start, end, prefix_start, prefix_end = torch.tensor(run)[number].T.unsqueeze(-1)
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
    """Where each segment's queries and keys begin, and which tokens the keys are."""

    queries: Tensor
    keys: Tensor
    key_places: Tensor
    max_queries: int
    max_keys: int


def _offsets(segments: Sequence[Segment], device: torch.device) -> _Offsets:
    num_queries = torch.tensor([0] + [segment.end - segment.start for segment in segments])
    num_prefix = torch.tensor([0] + [segment.prefix_end - segment.prefix_start for segment in segments])
    places = [torch.arange(*ends) for segment in segments for ends in (segment[2:], segment[:2])]
    num_keys = num_queries + num_prefix
    return _Offsets(
        queries=to_device(num_queries.cumsum(0, dtype=torch.int32), device),
        keys=to_device(num_keys.cumsum(0, dtype=torch.int32), device),
        key_places=to_device(torch.cat(places), device),
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
    """Scaled dot-product attention as a plan says, in the form in which transformers calls attention functions.

    Parameters
    ----------
    module : Module
        The attention layer; not used.
    query : Tensor of shape (1, heads, T, D)
    key, value : Tensor of shape (1, key heads, T, D)
    attention_mask : None
    plan : Plan
    scaling : float, optional
        Of the dot products; left out: 1 / sqrt(D).

    Returns
    -------
    Tensor of shape (1, T, heads, D), and None for the attention weights

    Notes
    -----
    On CUDA in half precision one kernel reads all segments; it aligns a causal mask with the last key [1]_, so that
    each token of a response sees the whole prompt. It needs keys and values of a shared prompt once for each response;
    only these are copied, none of the work of the layers is repeated. Elsewhere segments are read one by one.
    Attention dropout is not applied: `rm.model.reward_model.without_dropout`.

    References
    ----------
    .. [1] Dao (2023), FlashAttention-2, arXiv:2307.08691; causal alignment as of version 2.1
    """
    if torch.is_autocast_enabled(query.device.type):  # rotary positions have made them float32 again
        dtype = torch.get_autocast_dtype(query.device.type)
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    if query.is_cuda and _suits_kernel(query, value):
        return _read_at_once(query, key, value, plan, scaling), None
    return _read_in_pieces(query, key, value, plan, scaling), None


def _suits_kernel(query: Tensor, value: Tensor) -> bool:
    """Whether the kernel for segments of varying length takes heads of this type and size [1]_.

    References
    ----------
    .. [1] FlashAttention-2: half precision, heads of at most 256 and a multiple of 8, keys and values alike
    """
    size = query.shape[-1]
    is_half = query.dtype in (torch.float16, torch.bfloat16)
    return is_half and size == value.shape[-1] and size <= 256 and size % 8 == 0


def _read_at_once(query: Tensor, key: Tensor, value: Tensor, plan: Plan, scaling: float | None) -> Tensor:
    offsets = plan.offsets
    keys, values = (tensor[0].transpose(0, 1)[offsets.key_places] for tensor in (key, value))
    if not SHARES_KEYS:
        num_sharing = query.shape[1] // key.shape[1]
        keys, values = (tensor.repeat_interleave(num_sharing, dim=1) for tensor in (keys, values))
    shared: dict[str, Any] = {"enable_gqa": True} if SHARES_KEYS else {}
    output = varlen_attn(
        query[0].transpose(0, 1),
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
    assert isinstance(output, Tensor)  # it gives more only where asked
    return output.unsqueeze(0)


def _read_in_pieces(query: Tensor, key: Tensor, value: Tensor, plan: Plan, scaling: float | None) -> Tensor:
    # Split once: the gradient of a slice is as long as the whole row, so one slice a segment would be quadratic.
    sizes = [unit.num_tokens for unit in plan.units]
    queries, keys, values = (torch.split(tensor, sizes, dim=2) for tensor in (query, key, value))
    shares_keys = key.shape[1] != query.shape[1]
    outputs = []
    for number, unit in enumerate(plan.units):
        seen_keys, seen_values = keys[number], values[number]
        if unit.prefix:
            seen_keys = torch.cat([*_first(keys, unit.prefix), seen_keys], dim=2)
            seen_values = torch.cat([*_first(values, unit.prefix), seen_values], dim=2)
        start, num_before = 0, seen_keys.shape[2] - unit.num_tokens
        for end, mask in unit.masks:
            outputs.append(
                F.scaled_dot_product_attention(
                    queries[number][:, :, start:end],
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
    return (units[number][:, :, :count] for number, count in prefix)


def _no_mask(*_: Any, **__: Any) -> None:
    """Transformers would otherwise make a mask of T x T for packed rows."""


AttentionInterface.register(NAME, packed_attention)
AttentionMaskInterface.register(NAME, _no_mask)


def why_not_packed(backbone: Any, max_tokens: int) -> str | None:
    """What in a backbone's configuration keeps it from reading packed rows, or None.

    Parameters
    ----------
    backbone : PreTrainedModel
    max_tokens : int
        Most tokens of a prompt with a response; a window at least as wide changes nothing.
    """
    config = backbone.config
    if not getattr(backbone, "_supports_attention_backend", False):
        return f"{type(backbone).__name__} takes no attention function from outside"
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if other := sorted(kinds - {"full_attention", "sliding_attention"}):
        return f"it has layers of kind {other[0]}"
    window = getattr(config, "sliding_window", None)
    if window is not None and window < max_tokens and (kinds != {"full_attention"} or not _has_layer_types(config)):
        return f"its attention window of {window} tokens is narrower than a text of {max_tokens}"
    if getattr(config, "attn_logit_softcapping", None) is not None:
        return "its attention scores have a soft cap"
    if getattr(config, "alibi", False):
        return "its positions are attention biases"
    return None


def _has_layer_types(config: Any) -> bool:
    return getattr(config, "layer_types", None) is not None
