import itertools
from collections import Counter, defaultdict
from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rm.data.preferences import Comparison
from rm.errors import TrainingError
from rm.model.batch_layout import BatchLayout
from rm.model.packing import Reading
from rm.tokens.items import TokenizedPrompt
from rm.train import batching
from rm.train.batching import Pair

CPU = torch.device("cpu")
LAYOUTS = {
    "padded": BatchLayout(packed=False, reading=Reading(pooling="last", token_id=None, causal=True)),
    "packed decoder": BatchLayout(packed=True, reading=Reading(pooling="last", token_id=None, causal=True)),
    "packed encoder": BatchLayout(packed=True, reading=Reading(pooling="last", token_id=None, causal=False)),
}
each_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
budgets = st.sampled_from([25, 35, 60, 120, 1000])


def make_comparison(first, second, preference=1.0, target_margin=0.0, weight=1.0):
    return Comparison(
        first=first,
        second=second,
        preference=preference,
        target_margin=target_margin,
        weight=weight,
        num_judgements=1,
    )


def make_prompt(comparisons, prompt_id="abc", prompt_ids=(), response_ids=(), response_attributes=None):
    return TokenizedPrompt(
        prompt_id=prompt_id,
        prompt_ids=prompt_ids,
        response_ids=response_ids,
        comparisons=comparisons,
        response_attributes=[{} for _ in response_ids] if response_attributes is None else response_attributes,
        response_indices=range(len(response_ids)),
    )


@st.composite
def tokenized_prompts(draw):
    """Prompts as `rm.tokens.tokenization` makes them; a response's ids are all its own number."""
    prompts, tags = [], itertools.count(1000)
    for _ in range(draw(st.integers(1, 8))):
        num_responses = draw(st.integers(2, 5))
        lengths = draw(st.lists(st.integers(1, 9), min_size=num_responses, max_size=num_responses))
        every = [
            (first, second) for first in range(num_responses) for second in range(num_responses) if first != second
        ]
        picked = draw(st.lists(st.sampled_from(every), min_size=1, unique=True))
        number = len(prompts)
        prompts.append(
            make_prompt(
                prompt_id=f"prompt-{number}",
                prompt_ids=list(range(1, draw(st.integers(2, 9)))),
                response_ids=[[next(tags)] * length for length in lengths],
                response_attributes=[{"length": float(length)} for length in lengths],
                comparisons=[
                    make_comparison(first, second, index / 32, index / 4, number + index / 2)
                    for index, (first, second) in enumerate(picked)
                ],
            )
        )
    return prompts


@st.composite
def steps(draw):
    """Prompts, and comparisons of them in no particular order."""
    prompts = draw(tokenized_prompts())
    pairs = st.sampled_from(all_pairs(prompts))
    return prompts, draw(st.lists(pairs, min_size=1, unique_by=lambda pair: (pair.prompt, pair.comparison)))


def all_pairs(prompts):
    return [
        Pair(prompt=number, comparison=index)
        for number, prompt in enumerate(prompts)
        for index in range(len(prompt.comparisons))
    ]


def tag(prompt, response):
    return prompt.response_ids[response][0]


def told(prompts, pairs):
    """What the comparisons say, with the responses' own numbers."""
    for pair in pairs:
        prompt = prompts[pair.prompt]
        label = prompt.comparisons[pair.comparison]
        sides = tag(prompt, label.first), tag(prompt, label.second)
        yield pair.prompt, *sides, label.preference, label.target_margin, label.weight


def needed(prompts, pairs):
    """The distinct responses of each prompt that comparisons are about."""
    found = defaultdict(set)
    for prompt, first, second, *_ in told(prompts, pairs):
        found[prompt] |= {first, second}
    return found


def fits_alone(prompt, tags, layout, budget):
    """Whether a prompt with these responses takes no more tokens than the budget, counted by hand."""
    num_prompt = len(prompt.prompt_ids)
    sizes = [len(ids) for ids in prompt.response_ids if ids[0] in tags]
    if not layout.packed:
        return len(sizes) * (num_prompt + max(sizes)) <= budget
    return (1 if layout.reading.causal else len(sizes)) * num_prompt + sum(sizes) <= budget


def every_pair_fits(prompts, pairs, layout, budget):
    return all(
        fits_alone(prompts[prompt], set(sides), layout, budget) for prompt, *sides, _, _, _ in told(prompts, pairs)
    )


@given(tokenized_prompts(), st.integers(1, 7), st.integers(0, 3), st.integers(0, 3))
def test_an_epoch_holds_every_comparison_once_in_full_steps(prompts, pairs_per_step, seed, epoch):
    counts = batching.count_pairs(prompts)
    per_epoch = len(batching.Steps(counts, pairs_per_step, seed, 1))
    every_step = list(batching.Steps(counts, pairs_per_step, seed, epoch + 1))
    assert len(every_step) == (epoch + 1) * per_epoch
    steps = every_step[-per_epoch:]
    seen = Counter((pair.prompt, pair.comparison) for step in steps for pair in step)
    assert seen == Counter((pair.prompt, pair.comparison) for pair in all_pairs(prompts))
    assert [len(step) for step in steps[:-1]] == [pairs_per_step] * (len(steps) - 1)
    assert 1 <= len(steps[-1]) <= pairs_per_step
    order = [pair.prompt for step in steps for pair in step]
    assert len(list(itertools.groupby(order))) == len(prompts)  # a prompt's comparisons stay together


def test_the_order_depends_on_seed_and_epoch_alone():
    prompts = [make_prompt([make_comparison(0, 1)]) for _ in range(30)]

    def order(seed, epoch):
        steps = batching.Steps(batching.count_pairs(prompts), 4, seed, 3)
        return [pair.prompt for step in range(8 * epoch, 8 * epoch + 8) for pair in steps[step]]

    torch.manual_seed(0)
    one = order(0, 0)
    torch.manual_seed(1)
    assert order(0, 0) == one
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


@given(tokenized_prompts(), st.integers(1, 30), st.integers(0, 5))
def test_whole_prompts_are_chosen_until_there_are_enough_pairs(prompts, max_pairs, seed):
    counts = batching.count_pairs(prompts)
    assert counts.tolist() == [len(prompt.comparisons) for prompt in prompts]
    chosen = batching.choose(counts, max_pairs, seed).tolist()
    assert chosen == sorted(set(chosen))
    assert chosen == batching.choose(counts, max_pairs, seed).tolist()
    assert counts[chosen].sum() >= min(max_pairs, counts.sum())
    assert counts[chosen].sum() - counts[chosen].max() < max_pairs
    assert batching.choose(counts, None, seed).tolist() == list(range(len(prompts)))


def test_which_prompts_are_chosen_depends_on_the_seed():
    counts = np.ones(30, dtype=np.int64)
    chosen = {tuple(batching.choose(counts, 10, seed)) for seed in range(5)}
    assert len(chosen) == 5


@given(steps())
def test_a_block_holds_the_distinct_responses_of_its_comparisons(step):
    prompts, pairs = step
    prompt = pairs[0].prompt
    pairs = [pair for pair in pairs if pair.prompt == prompt]
    made = batching.block(prompts[prompt], prompt, [pair.comparison for pair in pairs])
    tags = [ids[0] for ids in made.tokens.response_ids]
    assert len(tags) == len(set(tags)) and set(tags) == needed(prompts, pairs)[prompt]
    assert made.tokens.prompt_ids == prompts[prompt].prompt_ids
    assert made.attributes == tuple({"length": float(len(ids))} for ids in made.tokens.response_ids)
    inside = [
        (prompt, tags[pair.first], tags[pair.second], pair.preference, pair.target_margin, pair.weight)
        for pair in made.comparisons
    ]
    assert inside == list(told(prompts, pairs))


@each_layout
@settings(max_examples=40)
@given(step=steps(), budget=budgets, num_parts=st.integers(1, 4))
def test_a_step_uses_every_comparison_once_within_the_budget(layout, step, budget, num_parts):
    prompts, pairs = step
    assume(every_pair_fits(prompts, pairs, layout, budget))
    division = batching.divide(prompts, pairs, layout, budget, num_parts)
    assert not division.spread
    compared = []
    for blocks in division.passes:
        assert 0 < layout.num_tokens([block.tokens for block in blocks]) <= budget
        for block in blocks:
            tags = [ids[0] for ids in block.tokens.response_ids]
            for pair in block.comparisons:
                sides = tags[pair.first], tags[pair.second]
                compared.append((block.prompt, *sides, pair.preference, pair.target_margin, pair.weight))
    assert Counter(compared) == Counter(told(prompts, pairs))


@each_layout
@settings(max_examples=40)
@given(step=steps(), budget=budgets, num_parts=st.integers(1, 4))
def test_a_response_is_read_once_unless_its_prompt_is_too_large_for_a_pass(layout, step, budget, num_parts):
    prompts, pairs = step
    assume(every_pair_fits(prompts, pairs, layout, budget))
    read = defaultdict(Counter)
    num_blocks = Counter()
    for block in batching.divide(prompts, pairs, layout, budget, num_parts).blocks:
        num_blocks[block.prompt] += 1
        read[block.prompt].update(ids[0] for ids in block.tokens.response_ids)
    expected = needed(prompts, pairs)
    assert read.keys() == expected.keys()
    for prompt, tags in expected.items():
        assert set(read[prompt]) == tags
        if fits_alone(prompts[prompt], tags, layout, budget):
            assert set(read[prompt].values()) == {1} == {num_blocks[prompt]}
        else:
            assert num_blocks[prompt] > 1


@each_layout
@settings(max_examples=40)
@given(step=steps(), budget=budgets, num_parts=st.integers(1, 4))
def test_every_process_divides_a_step_alike(layout, step, budget, num_parts):
    prompts, pairs = step
    assume(every_pair_fits(prompts, pairs, layout, budget))
    once = batching.divide(prompts, pairs, layout, budget, num_parts).passes
    torch.rand(1)
    again = batching.divide(prompts, list(pairs), layout, budget, num_parts).passes
    assert [list(map(asdict, blocks)) for blocks in again] == [list(map(asdict, blocks)) for blocks in once]


@each_layout
@settings(max_examples=40)
@given(step=steps(), budget=budgets, num_parts=st.integers(1, 4))
def test_passes_are_a_multiple_of_the_processes_where_prompts_suffice(layout, step, budget, num_parts):
    prompts, pairs = step
    assume(every_pair_fits(prompts, pairs, layout, budget))
    passes = batching.divide(prompts, pairs, layout, budget, num_parts).passes
    assert len(passes) % num_parts == 0 or all(len(blocks) == 1 for blocks in passes)


@each_layout
@given(step=steps(), budget=st.integers(20, 60), num_parts=st.integers(1, 4))
def test_a_prompt_with_a_pair_too_large_for_a_pass_is_read_in_pieces(layout, step, budget, num_parts):
    prompts, pairs = step  # the longest prompt with its longest response has 17 tokens
    division = batching.divide(prompts, pairs, layout, budget, num_parts)
    too_large = {pair.prompt for pair in pairs if not every_pair_fits(prompts, [pair], layout, budget)}
    assert Counter(each.whole.prompt for each in division.spread) == Counter(too_large)
    assert {block.prompt for blocks in division.passes for block in blocks}.isdisjoint(too_large)
    for each in division.spread:
        mine = [pair for pair in pairs if pair.prompt == each.whole.prompt]
        responses = [ids for piece in each.pieces for ids in piece.tokens.response_ids]
        assert responses == list(each.whole.tokens.response_ids)
        assert {ids[0] for ids in responses} == needed(prompts, mine)[each.whole.prompt]
        assert [found for piece in each.pieces for found in piece.attributes] == list(each.whole.attributes)
        assert len(each.whole.comparisons) == len(mine) and len(each.pieces) > 1
        for piece in each.pieces:
            assert piece.tokens.prompt_ids == prompts[piece.prompt].prompt_ids
            assert not piece.comparisons and len(piece.responses) == len(piece.tokens.response_ids) > 0
            assert layout.num_tokens([piece.tokens]) <= budget
    num_read = sum(layout.num_tokens([block.tokens for block in blocks]) for blocks in division.passes)
    num_spread = sum(layout.num_tokens([piece.tokens]) for each in division.spread for piece in each.pieces)
    assert division.num_tokens(layout) == num_read + num_spread


def test_a_response_over_the_budget_names_its_prompt_its_need_and_the_budget():
    prompt = make_prompt(
        prompt_id="abc",
        prompt_ids=[1, 2, 3],
        response_ids=[[4] * 5, [5] * 2, [6]],
        comparisons=[make_comparison(1, 2), make_comparison(0, 1)],
    )
    batching.check_budget([prompt], 8)
    told = r"prompt abc: .* one of its responses take 8 tokens, but compute.tokens_per_batch is 7;"
    with pytest.raises(TrainingError, match=told):
        batching.check_budget([prompt], 7)
    for layout in LAYOUTS.values():
        with pytest.raises(TrainingError, match=told):
            batching.divide([prompt], all_pairs([prompt]), layout, 7)


def test_a_response_that_is_not_compared_needs_no_room():
    prompt = make_prompt([make_comparison(1, 2)], prompt_ids=[1, 2, 3], response_ids=[[4] * 50, [5] * 2, [6]])
    batching.check_budget([prompt], 5)
    assert batching.longest(prompt) == 5
    assert batching.longest(make_prompt([], prompt_ids=[1, 2, 3], response_ids=[[4]])) == 0


def tags_of_sequences(batch):
    """The number of each response of a batch, in the order of the sequences."""
    sequences = batch.sequences
    if hasattr(sequences, "pooled"):
        return sequences.input_ids[0, sequences.pooled].tolist()
    rows = zip(sequences.input_ids, sequences.response_mask, strict=True)
    return [int(ids[mask > 0].unique()) for ids, mask in rows]


@each_layout
@settings(max_examples=40)
@given(step=steps(), budget=budgets)
def test_rewards_are_compared_where_the_annotations_say(layout, step, budget):
    prompts, pairs = step
    assume(every_pair_fits(prompts, pairs, layout, budget))
    compared = []
    for blocks in batching.divide(prompts, pairs, layout, budget).passes:
        laid_out = batching.lay_out(blocks, layout, CPU)
        batch = laid_out.compared
        tags = tags_of_sequences(laid_out)
        assert tags == [ids[0] for block in blocks for ids in block.tokens.response_ids]
        assert {batch.prompt.dtype, batch.first.dtype, batch.second.dtype} == {torch.int64}
        assert {batch.preference.dtype, batch.target_margin.dtype, batch.weight.dtype} == {torch.float32}
        indices = zip(batch.prompt.tolist(), batch.first.tolist(), batch.second.tolist(), strict=True)
        values = zip(batch.preference.tolist(), batch.target_margin.tolist(), batch.weight.tolist(), strict=True)
        for (prompt, first, second), label in zip(indices, values, strict=True):
            compared.append((prompt, tags[first], tags[second], *label))
        num_tokens = layout.num_tokens([block.tokens for block in blocks])
        assert num_tokens == laid_out.sequences.input_ids.numel() <= budget
    assert Counter(compared) == Counter(told(prompts, pairs))


def test_four_responses_in_six_comparisons_are_read_four_times():
    comparisons = [make_comparison(first, second) for first in range(4) for second in range(first)]
    prompt = make_prompt(comparisons, prompt_ids=[1, 2], response_ids=[[10], [11], [12], [13]])
    [blocks] = batching.divide([prompt], all_pairs([prompt]), LAYOUTS["packed decoder"], 6).passes
    batch = batching.lay_out(blocks, LAYOUTS["packed decoder"], CPU)
    assert batch.sequences.input_ids.tolist() == [[1, 2, 10, 11, 12, 13]]
    assert list(zip(batch.compared.first.tolist(), batch.compared.second.tolist(), strict=True)) == [
        (pair.first, pair.second) for pair in comparisons
    ]
