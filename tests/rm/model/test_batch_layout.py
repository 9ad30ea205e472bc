"""Whatever the layout, rewards and gradients are those of sequences that are read alone."""

import copy
import itertools
import logging

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import AutoConfig, AutoModel

from rm.model import batch_layout, packed_attention
from rm.model.architecture import portable
from rm.model.batch_layout import BatchLayout
from rm.model.packing import PackedSequences, Reading
from rm.model.padding import PaddedSequences
from rm.model.reward_model import RewardModel, RewardModelConfig, without_dropout
from rm.model.token_ids import TokenGroup
from rm.train.batching import Block

POOLINGS = ["last", "mean", "mean_response", "token"]
TOKEN = 7
VOCAB_SIZE = 120
MAX_TOKENS = 320
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": MAX_TOKENS,
}
DECODER = {**SIZES, "num_key_value_heads": 2, "head_dim": 12}  # 4 heads of 12 are wider than the layer
LONG_ROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0] * 4,
    "long_factor": [4.0, 8.0, 16.0, 32.0],
    "original_max_position_embeddings": 50,
}
ARCHITECTURES = {
    "llama": DECODER,
    "qwen2": {**SIZES, "num_key_value_heads": 2},
    "qwen3": DECODER,
    "gemma": {**DECODER, "num_key_value_heads": 1},
    "gemma3_text": {**DECODER, "sliding_window": MAX_TOKENS, "query_pre_attn_scalar": 20},
    "mistral": {**DECODER, "sliding_window": None},
    "mixtral": {**DECODER, "num_local_experts": 3, "sliding_window": None},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": MAX_TOKENS},
    "bert": SIZES,
    "modernbert": {**SIZES, "local_attention": 2 * MAX_TOKENS},
}
FALLBACKS = {
    "gemma2": ({**DECODER, "sliding_window": MAX_TOKENS}, "soft cap"),
    "gemma3_text": (
        {**DECODER, "sliding_window": 64},
        "window of 64 tokens is narrower than the longest text, 320 tokens",
    ),
    "mistral": ({**DECODER, "sliding_window": 64}, "window of 64 tokens is narrower"),
    "modernbert": ({**SIZES, "local_attention": 128}, "window of 64 tokens is narrower"),
    "roberta": ({**SIZES, "max_position_embeddings": MAX_TOKENS + 2}, "differ"),
    "phi3": (
        {**DECODER, "rope_parameters": LONG_ROPE, "original_max_position_embeddings": 50, "head_dim": 8},
        "positions differ between texts of up to and of more than 50 tokens",
    ),
    "lfm2": ({**DECODER, "layer_types": ["conv", "full_attention"]}, "kind conv"),
}


def build(architecture, sizes, pooling="last", num_heads=1):
    """A reward model whose random weights are large enough for every token to matter."""
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 3, "sep_token_id": 4}
    known = AutoConfig.for_model(architecture).to_dict()
    special = {key: value for key, value in special.items() if key in known}
    config = AutoConfig.for_model(architecture, **sizes, **special, vocab_size=VOCAB_SIZE)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = AutoModel.from_config(config)
        embeddings = {id(part.weight) for part in backbone.modules() if isinstance(part, nn.Embedding)}
        for parameter in backbone.parameters():
            if id(parameter) in embeddings:
                nn.init.normal_(parameter)
            elif parameter.ndim > 1:
                nn.init.normal_(parameter, std=1.5 / parameter.shape[-1] ** 0.5)
            else:
                parameter.data += 0.2 * torch.randn_like(parameter)
        model = RewardModel(
            RewardModelConfig(
                backbone=portable(config), pooling=pooling, pooling_token_id=TOKEN, pad_token_id=0, num_heads=num_heads
            ),
            backbone,
        )
        nn.init.normal_(model.score.weight, std=0.2)
    without_dropout(model)
    return model.train()


@pytest.fixture(scope="module")
def groups():
    """1 to 5 responses a prompt, of a single token or longer than what is read at once; some begin alike."""
    generator = np.random.default_rng(1)

    def ids(count, token_at=None):
        drawn = generator.integers(16, VOCAB_SIZE, count).tolist()
        return [TOKEN if place == token_at else value for place, value in enumerate(drawn)]

    assert packed_attention._QUERIES_AT_ONCE < 140
    first = ids(100, 60)
    return [
        TokenGroup(ids(9, 4), [ids(140), ids(1), ids(30, 2)]),
        TokenGroup(ids(1), [ids(1, 0)]),
        TokenGroup(ids(150, 149), [ids(5), ids(12), ids(1), ids(150), ids(8)]),
        TokenGroup(ids(2, 0), [ids(60), ids(2)]),
        TokenGroup(ids(33), [ids(3, 1), ids(20, 0), ids(7, 6), ids(19, 5)]),
        TokenGroup(ids(40), [first, first[:1] + ids(9, 2), first[:90] + ids(2, 1), first + ids(30, 3), first[:70]]),
    ]


def read_alone(model, groups):
    """Rewards of sequences that stand alone, by transformers' own attention, pooled by hand."""
    model._last_layer.only_at(None)
    model.backbone.set_attn_implementation("eager")
    rewards = []
    for group in groups:
        for prompt_ids, response_ids in group.sequences():
            ids = [*prompt_ids, *response_ids]
            hidden = model.backbone(input_ids=torch.tensor([ids])).last_hidden_state[0]
            read = {
                "last": slice(len(ids) - 1, None),
                "mean": slice(None),
                "mean_response": slice(len(prompt_ids), None),
                "token": slice(ids.index(TOKEN), ids.index(TOKEN) + 1) if TOKEN in ids else slice(0),
            }[model.config.pooling]
            rewards.append(model.score(hidden[read].float().mean(dim=0)))
    return torch.stack(rewards)


def gradients(model, rewards):
    """Of a sum in which each reward has a weight of its own."""
    model.zero_grad()
    generator = torch.Generator().manual_seed(5)
    (rewards * torch.randn(rewards.shape, generator=generator)).sum().backward()
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


def assert_same_gradients(found, expected, rel=1e-4):
    assert found.keys() == expected.keys()
    largest = max(gradient.norm() for gradient in expected.values())
    for name, gradient in expected.items():
        # The last term: a key's bias has no say in a softmax, and its gradient is nothing but rounding.
        assert (found[name] - gradient).norm() <= rel * gradient.norm() + 1e-6 * largest, name


def assert_reads_as_alone(model, chosen, groups):
    found = model.outputs(chosen.lay_out(groups))
    found_gradients = gradients(model, found)
    expected = read_alone(model, groups)
    assert expected.std() > 0.05  # or nothing would be compared
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert_same_gradients(found_gradients, gradients(model, expected))


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_packed_rewards_and_gradients_are_those_of_sequences_alone(architecture, pooling, groups, caplog):
    model = build(architecture, ARCHITECTURES[architecture], pooling)
    chosen = batch_layout.choose(model, MAX_TOKENS)
    assert chosen.packed, caplog.text
    assert not caplog.records
    assert_reads_as_alone(model, chosen, groups)


@pytest.mark.parametrize("architecture", FALLBACKS)
def test_what_cannot_be_packed_is_padded_and_said_so(architecture, groups, caplog):
    sizes, reason = FALLBACKS[architecture]
    model = build(architecture, sizes, "mean")
    before = model.backbone.config._attn_implementation
    chosen = batch_layout.choose(model, MAX_TOKENS)
    assert not chosen.packed
    assert model.backbone.config._attn_implementation == before != packed_attention.NAME
    (record,) = [each for each in caplog.records if each.name.startswith("rm.")]
    assert record.levelno == logging.WARNING
    assert "padded rows" in record.getMessage() and reason in record.getMessage()
    if architecture != "lfm2":  # its convolution needs the padding that transformers hides from it
        assert_reads_as_alone(model, chosen, groups)


@pytest.mark.parametrize(
    ("architecture", "sizes"),
    [
        ("gemma3_text", {**DECODER, "sliding_window": 200}),
        ("mistral", {**DECODER, "sliding_window": 200}),
        (
            "qwen2",
            {**ARCHITECTURES["qwen2"], "use_sliding_window": True, "sliding_window": 200, "max_window_layers": 1},
        ),
        ("modernbert", {**SIZES, "local_attention": 400}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_window_matters_only_where_a_text_is_wider(architecture, sizes):
    assert batch_layout.choose(build(architecture, sizes), 200).packed
    assert not batch_layout.choose(build(architecture, sizes), 201).packed


def test_a_window_that_no_layer_has_does_not_matter():
    sizes = {**ARCHITECTURES["qwen2"], "use_sliding_window": True, "sliding_window": 16, "max_window_layers": 2}
    assert batch_layout.choose(build("qwen2", sizes), MAX_TOKENS).packed


@pytest.mark.parametrize("pooling", ["last", "mean"])
@pytest.mark.parametrize("architecture", ["llama", "gemma3_text", "gpt2", "bert", "modernbert"])
def test_gradient_checkpointing_changes_nothing(architecture, pooling, groups):
    model = build(architecture, ARCHITECTURES[architecture], pooling)
    expected = read_alone(model, groups)
    expected_gradients = gradients(model, expected)
    chosen = batch_layout.choose(model, MAX_TOKENS)
    assert chosen.packed
    model.backbone.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    found = model.outputs(chosen.lay_out(groups))
    assert model.backbone.is_gradient_checkpointing
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert_same_gradients(gradients(model, found), expected_gradients)


def test_gradients_add_up_over_passes_under_gradient_checkpointing(groups):
    """A pass computes layers again in its backward pass: with the tokens of its own, not of another pass."""
    model = build("llama", ARCHITECTURES["llama"])
    chosen = batch_layout.choose(model, MAX_TOKENS)
    whole = gradients(model, model.outputs(chosen.lay_out(groups)))
    model.backbone.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.zero_grad()
    num_sequences = [len(group.response_ids) for group in groups]
    weights = torch.randn(sum(num_sequences), 1, generator=torch.Generator().manual_seed(5)).split(num_sequences)
    for group, weight in zip(groups, weights, strict=True):
        (model.outputs(chosen.lay_out([group])) * weight).sum().backward()
    assert_same_gradients({name: parameter.grad for name, parameter in model.named_parameters()}, whole)


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gemma", "bert", "modernbert"])
def test_in_bfloat16_packed_rewards_are_as_near_as_those_of_sequences_alone(architecture, groups):
    model = build(architecture, ARCHITECTURES[architecture], "mean")
    with torch.no_grad():
        exact = read_alone(model, groups)
        with torch.autocast("cpu", torch.bfloat16):
            alone = read_alone(model, groups)
        chosen = batch_layout.choose(model, MAX_TOKENS)
        assert chosen.packed
        with torch.autocast("cpu", torch.bfloat16):
            packed = model.outputs(chosen.lay_out(groups))
    assert packed.dtype == torch.float32
    assert packed.isfinite().all()
    noise = (alone - exact).square().mean().sqrt()
    assert 0 < (packed - exact).square().mean().sqrt() < 1.5 * noise
    assert noise < 0.05 * exact.std()


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gemma3_text", "gpt2", "modernbert"])
def test_bfloat16_autocast_reaches_attention(architecture, groups, monkeypatch):
    """Float32 queries would keep a GPU from the one kernel that reads all segments at once."""
    model = build(architecture, ARCHITECTURES[architecture])
    chosen = batch_layout.choose(model, MAX_TOKENS)
    seen = set()
    read = packed_attention._read_in_pieces

    def spy(query, key, value, *rest):
        seen.update({query.dtype, key.dtype, value.dtype})
        return read(query, key, value, *rest)

    monkeypatch.setattr(packed_attention, "_read_in_pieces", spy)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        model.outputs(chosen.lay_out(groups[:1]))
    assert seen == {torch.bfloat16}


def test_choosing_again_changes_nothing(groups):
    model = build("llama", ARCHITECTURES["llama"])
    once = batch_layout.choose(model, MAX_TOKENS)
    assert batch_layout.choose(model, MAX_TOKENS) == once
    assert_reads_as_alone(model, once, groups)


def test_every_head_reads_the_same_in_both_layouts(groups):
    model = build("llama", ARCHITECTURES["llama"], "mean", num_heads=3)
    chosen = batch_layout.choose(model, MAX_TOKENS)
    assert_reads_as_alone(model, chosen, groups)
    assert model.outputs(chosen.lay_out(groups)).shape == (20, 3)


def test_rewards_do_not_depend_on_what_else_is_in_the_pass(groups):
    model = build("qwen3", ARCHITECTURES["qwen3"])
    chosen = batch_layout.choose(model, MAX_TOKENS)
    with torch.no_grad():
        together = model.outputs(chosen.lay_out(groups))
        apart = [TokenGroup(group.prompt_ids, [ids]) for group in groups for ids in group.response_ids]
        one_by_one = torch.cat([model.outputs(chosen.lay_out([group])) for group in reversed(apart)]).flip(0)
    torch.testing.assert_close(together, one_by_one, rtol=0, atol=1e-5)


class IgnoresThePlan(nn.Module):
    """A backbone that takes whatever it is given, and lets every token of a row see all before it."""

    def __init__(self, backbone):
        super().__init__()
        self.inner = backbone
        self.config = backbone.config
        self._supports_attention_backend = True

    def set_attn_implementation(self, name):
        self.config._attn_implementation = name

    def forward(self, input_ids, attention_mask=None, position_ids=None, plan=None):
        self.inner.set_attn_implementation("sdpa")
        self.inner.config._attn_implementation = "sdpa"
        return self.inner(input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids)


class IgnoresPositions(IgnoresThePlan):
    """A backbone that counts positions itself."""

    def forward(self, input_ids, attention_mask=None, position_ids=None, plan=None):
        name = packed_attention.NAME if plan else "sdpa"
        self.inner.set_attn_implementation(name)
        extra = {"plan": plan} if plan else {}
        return self.inner(input_ids=input_ids, attention_mask=attention_mask, **extra)


class RaisesOddly(IgnoresThePlan):
    """A backbone whose code trips over packed rows in a way that nobody foresaw."""

    def __init__(self, backbone, error):
        super().__init__(backbone)
        self.error = error

    def forward(self, input_ids, attention_mask=None, position_ids=None, plan=None):
        if plan is not None:
            raise self.error
        return super().forward(input_ids, attention_mask)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("wrapper", [IgnoresThePlan, IgnoresPositions])
def test_a_model_that_reads_packed_rows_wrongly_is_found_out(wrapper, pooling, groups, caplog):
    model = build("llama", ARCHITECTURES["llama"], pooling)
    expected = read_alone(copy.deepcopy(model), groups)
    model.backbone = wrapper(model.backbone)
    model.backbone.set_attn_implementation("sdpa")
    chosen = batch_layout.choose(model, MAX_TOKENS)
    assert not chosen.packed
    assert "differ" in caplog.text
    torch.testing.assert_close(model.outputs(chosen.lay_out(groups)), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "wrapper"), [("llama", IgnoresPositions), ("bert", IgnoresThePlan), ("modernbert", IgnoresThePlan)]
)
@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_a_wrong_reading_is_found_out_with_the_small_weights_that_training_starts_from(architecture, wrapper, pooling):
    """Rewards differ by as little as 1e-4 then, where rounding is 1e-7."""
    model = build(architecture, ARCHITECTURES[architecture], pooling)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model.backbone = wrapper(AutoModel.from_config(model.backbone.config))
        nn.init.normal_(model.score.weight, std=0.02)
    without_dropout(model)
    model.backbone.set_attn_implementation("sdpa")
    assert not batch_layout.choose(model, MAX_TOKENS).packed


@pytest.mark.parametrize("error", [TypeError("odd"), AttributeError("odd"), KeyError("odd"), AssertionError("odd")])
def test_code_that_cannot_read_packed_rows_falls_back_whatever_it_raises(error, caplog):
    model = build("llama", ARCHITECTURES["llama"])
    model.backbone = RaisesOddly(model.backbone, error)
    assert not batch_layout.choose(model, MAX_TOKENS).packed
    assert "cannot read packed rows" in caplog.text


def test_layers_whose_mlp_gives_more_than_a_tensor_do_not_break_the_choice(groups):
    sizes = {**DECODER, "head_dim": 16, "num_local_experts": 3, "num_experts_per_tok": 2, "sliding_window": MAX_TOKENS}
    model = build("gpt_oss", sizes)
    assert_reads_as_alone(model, batch_layout.choose(model, MAX_TOKENS), groups)


def test_rewards_that_are_no_numbers_are_not_taken_for_equal(caplog):
    model = build("llama", ARCHITECTURES["llama"])
    model.score.weight.data.fill_(float("nan"))
    assert not batch_layout.choose(model, MAX_TOKENS).packed
    assert "differ by nan" in caplog.text


@st.composite
def blocks(draw):
    """Blocks of one prompt each, told apart by their number."""
    made = []
    for number in range(draw(st.integers(0, 14))):
        sizes = draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
        tokens = TokenGroup([1] * draw(st.integers(1, 9)), [[2] * size for size in sizes])
        made.append(Block(prompt=number, tokens=tokens, comparisons=(), responses=(), attributes=()))
    return made


LAYOUTS = {
    "padded": BatchLayout(packed=False, reading=Reading(pooling="last", token_id=None, causal=True)),
    "packed decoder": BatchLayout(packed=True, reading=Reading(pooling="last", token_id=None, causal=True)),
    "packed encoder": BatchLayout(packed=True, reading=Reading(pooling="mean", token_id=None, causal=False)),
}
each_layout = pytest.mark.parametrize("chosen", LAYOUTS.values(), ids=LAYOUTS)
each_packed = pytest.mark.parametrize("chosen", list(LAYOUTS.values())[1:], ids=list(LAYOUTS)[1:])


def numbers(passes):
    return [[block.prompt for block in some] for some in passes]


def loads(chosen, passes):
    return [chosen.num_tokens([block.tokens for block in some]) for some in passes]


@each_layout
@given(blocks())
def test_tokens_are_counted_as_they_are_laid_out(chosen, made):
    groups = [block.tokens for block in made]
    assert chosen.num_tokens([]) == 0
    for some in [groups[:1], groups] if groups else []:
        sequences = chosen.lay_out(some)
        assert isinstance(sequences, PackedSequences if chosen.packed else PaddedSequences)
        assert sequences.input_ids.numel() == chosen.num_tokens(some)


@each_layout
@given(made=blocks(), budget=st.integers(1, 120), num_parts=st.integers(1, 4))
def test_every_block_is_in_one_pass_and_none_is_empty(chosen, made, budget, num_parts):
    passes = chosen.fill(made, budget, num_parts)
    assert sorted(number for some in numbers(passes) for number in some) == [block.prompt for block in made]
    assert all(passes)
    assert numbers(chosen.fill(made, budget, num_parts)) == numbers(passes)


@each_layout
@given(made=blocks(), budget=st.integers(1, 120), num_parts=st.integers(1, 4))
def test_only_a_block_alone_may_exceed_the_budget(chosen, made, budget, num_parts):
    passes = chosen.fill(made, budget, num_parts)
    for some, load in zip(passes, loads(chosen, passes), strict=True):
        assert load <= budget or len(some) == 1


@each_layout
@given(made=blocks(), budget=st.integers(1, 120), num_parts=st.integers(1, 4))
def test_passes_are_a_multiple_of_the_processes_where_blocks_suffice(chosen, made, budget, num_parts):
    num_passes = len(chosen.fill(made, budget, num_parts))
    assert num_passes % num_parts == 0 or num_passes == len(made)


@each_packed
@given(made=blocks(), budget=st.integers(1, 120), num_parts=st.integers(1, 4))
def test_no_pass_could_give_a_block_away_to_end_before_another(chosen, made, budget, num_parts):
    """Graham's bound: a pass without its smallest block is no larger than the smallest pass."""
    passes = chosen.fill(made, budget, num_parts)
    smallest = min(loads(chosen, passes), default=0)
    for some, load in zip(passes, loads(chosen, passes), strict=True):
        assert load - min(chosen.num_tokens([block.tokens]) for block in some) <= smallest


@each_packed
@given(made=blocks(), num_parts=st.integers(1, 4))
def test_a_large_budget_needs_one_pass_a_process(chosen, made, num_parts):
    assert len(chosen.fill(made, 10_000, num_parts)) == min(num_parts, len(made))


@each_packed
@given(made=blocks(), budget=st.integers(80, 160))
def test_passes_are_more_than_half_full_where_all_blocks_are_smaller(chosen, made, budget):
    """Two passes that fit into one would be a pass too many, on average."""
    passes = chosen.fill(made, budget)
    if len(passes) > 1:
        assert sum(loads(chosen, passes)) > budget * len(passes) / 2


@given(made=blocks(), budget=st.integers(1, 120))
def test_padded_passes_hold_blocks_of_similar_length(made, budget):
    passes = LAYOUTS["padded"].fill(made, budget)
    lengths = [[block.tokens.longest for block in some] for some in passes]
    for shorter, longer in itertools.pairwise(lengths):
        assert max(shorter) <= min(longer)
