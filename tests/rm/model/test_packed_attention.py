import inspect
import math

import pytest
import torch
from torch.nn.attention import varlen

from rm.model import packed_attention
from rm.model.packed_attention import Plan, Segment

CPU = torch.device("cpu")
LONG = packed_attention._QUERIES_AT_ONCE

SHARED = [
    Segment(0, 4, 0, 0),  # a prompt and three responses
    Segment(4, 5, 0, 4),
    Segment(5, 5 + LONG + 3, 0, 4),
    Segment(LONG + 8, LONG + 10, 0, 4),
    Segment(LONG + 10, 3 * LONG + 11, LONG + 10, LONG + 10),  # a prompt in three pieces, the last of one token
    Segment(3 * LONG + 11, 4 * LONG + 11, LONG + 10, 3 * LONG + 11),  # a response that fills a piece exactly
    Segment(4 * LONG + 11, 4 * LONG + 12, 4 * LONG + 12 - 1, 4 * LONG + 12 - 1),
    Segment(4 * LONG + 12, 4 * LONG + 13, 4 * LONG + 11, 4 * LONG + 12),
]
END = SHARED[-1].end
BEGINNINGS = [
    *SHARED,
    Segment(END, END + 5, END, END),  # a prompt and responses that see beginnings of the first one
    Segment(END + 5, END + LONG + 7, END, END + 5),
    Segment(END + LONG + 7, END + LONG + 9, END, END + 5 + LONG),
    Segment(END + LONG + 9, END + LONG + 10, END, END + 6),
    Segment(END + LONG + 10, END + 2 * LONG + 20, END, END + 17),
    Segment(END + 2 * LONG + 20, END + 2 * LONG + 21, END, END + LONG + 7),
    Segment(END + 2 * LONG + 21, END + 2 * LONG + 25, END + 2 * LONG + 21, END + 2 * LONG + 21),  # a small one again
    Segment(END + 2 * LONG + 25, END + 2 * LONG + 30, END + 2 * LONG + 21, END + 2 * LONG + 25),
    Segment(END + 2 * LONG + 30, END + 2 * LONG + 31, END + 2 * LONG + 21, END + 2 * LONG + 28),
]
APART = [Segment(segment.start, segment.end, segment.start, segment.start) for segment in SHARED]
PLANS = {
    "decoder": Plan(tuple(SHARED), causal=True, device=CPU),
    "decoder, beginnings shared": Plan(tuple(BEGINNINGS), causal=True, device=CPU),
    "decoder, nothing shared": Plan(tuple(APART), causal=True, device=CPU),
    "encoder": Plan(tuple(APART), causal=False, device=CPU),
}
HEADS = {"one key head a query head": (3, 3), "grouped": (6, 2), "one key head": (4, 1)}


def random_inputs(heads, key_heads, plan=None, dtype=torch.float64, dim=5):
    generator = torch.Generator().manual_seed(3)
    num_tokens = (plan or PLANS["decoder"]).segments[-1].end
    return [
        torch.randn(1, count, num_tokens, dim, generator=generator, dtype=dtype).requires_grad_()
        for count in (heads, key_heads, key_heads)
    ]


def dense_mask(plan):
    """(T, T), whether a token sees another, told token by token."""
    num_tokens = plan.segments[-1].end
    mask = torch.zeros(num_tokens, num_tokens, dtype=torch.bool)
    for start, end, prefix_start, prefix_end in plan.segments:
        for token in range(start, end):
            mask[token, prefix_start:prefix_end] = True
            mask[token, start : token + 1 if plan.causal else end] = True
    return mask


def dense_attention(query, key, value, mask, scaling):
    group = query.shape[1] // key.shape[1]
    key, value = (tensor.repeat_interleave(group, dim=1) for tensor in (key, value))
    scores = (query @ key.transpose(2, 3)) * (1 / math.sqrt(query.shape[3]) if scaling is None else scaling)
    return (scores.masked_fill(~mask, -math.inf).softmax(dim=-1) @ value).transpose(1, 2)


def varlen_by_hand(
    query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, scale=None, window_size=(-1, -1), enable_gqa=False
):
    """What `varlen_attn` computes, sequence by sequence; a causal mask is aligned with the last key."""
    assert {cu_seq_q.dtype, cu_seq_k.dtype} == {torch.int32}
    assert enable_gqa or query.shape[1] == key.shape[1]
    num_queries, num_keys = cu_seq_q.diff(), cu_seq_k.diff()
    assert (max_q, max_k) == (num_queries.max(), num_keys.max())
    assert (cu_seq_q[-1], cu_seq_k[-1]) == (len(query), len(key)) and len(key) == len(value)
    outputs = []
    parts = (
        tensor.split(sizes.tolist()) for tensor, sizes in [(query, num_queries), (key, num_keys), (value, num_keys)]
    )
    for queries, keys, values in zip(*parts, strict=True):
        mask = torch.ones(len(queries), len(keys), dtype=torch.bool)
        if window_size == (-1, 0):
            mask = mask.tril(len(keys) - len(queries))
        else:
            assert window_size == (-1, -1)
        rows = [tensor.transpose(0, 1).unsqueeze(0) for tensor in (queries, keys, values)]
        outputs.append(dense_attention(*rows, mask, scale)[0])
    return torch.cat(outputs)


@pytest.mark.parametrize("scaling", [None, 0.7])
@pytest.mark.parametrize("heads", HEADS.values(), ids=HEADS)
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_packed_attention_equals_attention_under_a_dense_mask(plan, heads, scaling):
    query, key, value = random_inputs(*heads, plan)
    output, weights = packed_attention.packed_attention(
        torch.nn.Module(), query, key, value, None, plan=plan, scaling=scaling
    )
    assert weights is None
    expected = dense_attention(query, key, value, dense_mask(plan), scaling)
    torch.testing.assert_close(output, expected, rtol=1e-10, atol=1e-12)
    direction = torch.randn(output.shape, generator=torch.Generator().manual_seed(4), dtype=output.dtype)
    found, wanted = (torch.autograd.grad((out * direction).sum(), [query, key, value]) for out in (output, expected))
    for gradient, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-9, atol=1e-11)


def efficient_by_hand(query, key, value, *others, **named):
    """What the memory-efficient kernel computes, by its declared arguments."""
    declared = torch.ops.aten._efficient_attention_forward.default._schema.arguments
    given = dict(zip([argument.name for argument in declared], [query, key, value, *others], strict=False)) | named
    assert set(given) <= {argument.name for argument in declared}
    assert (given["bias"], given["dropout_p"], given["compute_log_sumexp"]) == (None, 0.0, True)
    assert len(query) == len(key) == len(value) == 1
    output = varlen_by_hand(
        *(tensor[0] for tensor in (query, key, value)),
        *(given[name] for name in ("cu_seqlens_q", "cu_seqlens_k", "max_seqlen_q", "max_seqlen_k")),
        scale=given["scale"],
        window_size={0: (-1, -1), 2: (-1, 0)}[given["custom_mask_type"]],
    )
    return (output.unsqueeze(0),)


@pytest.mark.parametrize("read", [packed_attention._flash, packed_attention._memory_efficient])
@pytest.mark.parametrize("heads", HEADS.values(), ids=HEADS)
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_the_offsets_for_one_kernel_say_the_same_as_the_pieces(plan, heads, read, monkeypatch):
    query, key, value = random_inputs(*heads, plan)
    real = inspect.signature(varlen.varlen_attn)

    def checked(*args, **kwargs):
        real.bind(*args, **kwargs)  # the arguments are those of the kernel, which needs a GPU
        return varlen_by_hand(*args, **kwargs)

    monkeypatch.setattr(packed_attention, "varlen_attn", checked)
    monkeypatch.setattr(packed_attention, "_efficient_attention", efficient_by_hand)
    at_once = read(query, key, value, plan, 0.7).unsqueeze(0)
    in_pieces = packed_attention._read_in_pieces(query, key, value, plan, 0.7)
    torch.testing.assert_close(at_once, in_pieces, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("dtype", "size", "value_size", "expected"),
    [
        (torch.bfloat16, 64, 64, "_flash"),
        (torch.float32, 64, 64, "_memory_efficient"),
        (torch.float32, 12, 20, "_memory_efficient"),
        (torch.bfloat16, 512, 512, None),  # too large a head
        (torch.bfloat16, 192, 128, None),  # values of another size
        (torch.float32, 6, 6, None),
        (torch.float64, 64, 64, None),
    ],
)
def test_a_kernel_is_chosen_by_dtype_and_head_size(dtype, size, value_size, expected):
    class OnCuda(torch.Tensor):
        is_cuda = True

    query, value = (torch.zeros(1, 1, 1, each, dtype=dtype).as_subclass(OnCuda) for each in (size, value_size))
    found = packed_attention._kernel(query, value)
    assert found is (None if expected is None else getattr(packed_attention, expected))
    assert packed_attention._kernel(query.as_subclass(torch.Tensor), value) is None


def test_units_cover_the_row_small_groups_together_and_long_segments_in_pieces():
    for name, plan in PLANS.items():
        assert sum(unit.num_tokens for unit in plan.units) == plan.segments[-1].end
        for unit in plan.units:
            ends = [end for end, _ in unit.masks]
            assert ends[-1] == unit.num_tokens
            if plan.causal and unit.num_tokens > packed_attention._TOKENS_AT_ONCE:
                assert ends == [*range(LONG, unit.num_tokens, LONG), unit.num_tokens]
        prefixes = [unit.prefix for unit in plan.units]
        if name == "decoder":  # the last group is small enough to be read at once
            assert prefixes == [(), ((0, 4),), ((0, 4),), (), ((3, 2 * LONG + 1),), ()]
        elif name == "decoder, beginnings shared":
            prompt_and_first = ((6, 5), (7, LONG))
            assert prefixes[5:] == [(), (), ((6, 5),), prompt_and_first, ((6, 5), (7, 12)), ((6, 5), (7, LONG + 2)), ()]
        else:
            assert not any(prefixes)


def test_an_empty_prompt_is_no_trouble():
    plan = Plan((Segment(0, 0, 0, 0), Segment(0, 3, 0, 0), Segment(3, 5, 0, 0)), causal=True, device=CPU)
    query, key, value = (tensor[:, :, :5] for tensor in random_inputs(2, 2))
    output, _ = packed_attention.packed_attention(torch.nn.Module(), query, key, value, None, plan=plan)
    torch.testing.assert_close(output, dense_attention(query, key, value, dense_mask(plan), None))


def test_without_a_plan_packed_attention_refuses():
    query, key, value = random_inputs(2, 2)
    with pytest.raises(TypeError, match="plan"):
        packed_attention.packed_attention(torch.nn.Module(), query, key, value, None)
