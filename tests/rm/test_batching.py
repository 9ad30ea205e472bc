import itertools
from collections import Counter, defaultdict
from dataclasses import asdict

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rm import batching
from rm.batching import Pair
from rm.errors import TrainingError
from rm.layout import Layout
from rm.packing import Reading

CPU = torch.device("cpu")
LAYOUTS = {
    "padded": Layout(packed=False, reading=Reading(pooling="last", token_id=None, causal=True)),
    "packed decoder": Layout(packed=True, reading=Reading(pooling="last", token_id=None, causal=True)),
    "packed encoder": Layout(packed=True, reading=Reading(pooling="last", token_id=None, causal=False)),
}
each_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
budgets = st.sampled_from([25, 35, 60, 120, 1000])


@st.composite
def token_rows(draw):
    """Rows as `rm.tokenization` makes them; a response's ids are all its own number."""
    rows, tags = [], itertools.count(1000)
    for _ in range(draw(st.integers(1, 8))):
        num_responses = draw(st.integers(2, 5))
        lengths = draw(st.lists(st.integers(1, 9), min_size=num_responses, max_size=num_responses))
        every = [
            (first, second) for first in range(num_responses) for second in range(num_responses) if first != second
        ]
        picked = draw(st.lists(st.sampled_from(every), min_size=1, unique=True))
        number = len(rows)
        rows.append(
            {
                "prompt_id": f"prompt-{number}",
                "prompt_ids": list(range(1, draw(st.integers(2, 9)))),
                "response_ids": [[next(tags)] * length for length in lengths],
                "response_attributes": [{"length": float(length)} for length in lengths],
                "comparisons": [
                    {
                        "first": first,
                        "second": second,
                        "preference": place / 32,
                        "target_margin": place / 4,
                        "weight": number + place / 2,
                    }
                    for place, (first, second) in enumerate(picked)
                ],
            }
        )
    return rows


@st.composite
def steps(draw):
    """Rows, and comparisons of them in no particular order."""
    rows = draw(token_rows())
    return rows, draw(st.lists(st.sampled_from(all_pairs(rows)), min_size=1, unique_by=lambda p: (p.group, p.place)))


def all_pairs(rows):
    return [
        Pair(group=group, place=place) for group, row in enumerate(rows) for place in range(len(row["comparisons"]))
    ]


def tag(row, response):
    return row["response_ids"][response][0]


def told(rows, pairs):
    """What the comparisons say, with the responses' own numbers."""
    for pair in pairs:
        row = rows[pair.group]
        label = row["comparisons"][pair.place]
        sides = tag(row, label["first"]), tag(row, label["second"])
        yield pair.group, *sides, label["preference"], label["target_margin"], label["weight"]


def needed(rows, pairs):
    """The distinct responses of each prompt that comparisons are about."""
    found = defaultdict(set)
    for group, first, second, *_ in told(rows, pairs):
        found[group] |= {first, second}
    return found


def fits_alone(rows, group, tags, layout, budget):
    """Whether a prompt with these responses takes no more tokens than the budget, counted by hand."""
    num_prompt = len(rows[group]["prompt_ids"])
    sizes = [len(ids) for ids in rows[group]["response_ids"] if ids[0] in tags]
    if not layout.packed:
        return len(sizes) * (num_prompt + max(sizes)) <= budget
    return (1 if layout.reading.causal else len(sizes)) * num_prompt + sum(sizes) <= budget


def every_pair_fits(rows, pairs, layout, budget):
    return all(fits_alone(rows, group, set(sides), layout, budget) for group, *sides, _, _, _ in told(rows, pairs))


@given(token_rows(), st.integers(1, 7), st.integers(0, 3), st.integers(0, 3))
def test_an_epoch_holds_every_comparison_once_in_full_steps(rows, pairs_per_step, seed, epoch):
    groups = list(range(0, len(rows), 2))
    steps = batching.epoch_steps(rows, groups, pairs_per_step, seed, epoch)
    seen = Counter((pair.group, pair.place) for step in steps for pair in step)
    assert seen == Counter((pair.group, pair.place) for pair in all_pairs(rows) if pair.group in groups)
    assert [len(step) for step in steps[:-1]] == [pairs_per_step] * (len(steps) - 1)
    assert 1 <= len(steps[-1]) <= pairs_per_step
    order = [pair.group for step in steps for pair in step]
    assert len(list(itertools.groupby(order))) == len(groups)  # a prompt's comparisons stay together


def test_the_order_depends_on_seed_and_epoch_alone():
    rows = [{"comparisons": [{}]} for _ in range(30)]

    def order(seed, epoch):
        return [pair.group for step in batching.epoch_steps(rows, range(30), 4, seed, epoch) for pair in step]

    torch.manual_seed(0)
    one = order(0, 0)
    torch.manual_seed(1)
    assert order(0, 0) == one
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


@given(token_rows(), st.integers(1, 30), st.integers(0, 5))
def test_whole_prompts_are_chosen_until_there_are_enough_pairs(rows, max_pairs, seed):
    def count(groups):
        return sum(len(rows[group]["comparisons"]) for group in groups)

    chosen = batching.choose(rows, max_pairs, seed)
    assert chosen == sorted(set(chosen)) == batching.choose(rows, max_pairs, seed)
    assert count(chosen) >= min(max_pairs, count(range(len(rows))))
    largest = max(len(rows[group]["comparisons"]) for group in chosen)
    assert count(chosen) - largest < max_pairs
    assert batching.choose(rows, None, seed) == list(range(len(rows)))


def test_which_prompts_are_chosen_depends_on_the_seed():
    rows = [{"comparisons": [{}]} for _ in range(30)]
    assert len({tuple(batching.choose(rows, 10, seed)) for seed in range(5)}) == 5


@given(steps())
def test_a_block_holds_the_distinct_responses_of_its_comparisons(step):
    rows, pairs = step
    group = pairs[0].group
    pairs = [pair for pair in pairs if pair.group == group]
    made = batching.block(rows, group, [pair.place for pair in pairs])
    tags = [ids[0] for ids in made.tokens.response_ids]
    assert len(tags) == len(set(tags)) and set(tags) == needed(rows, pairs)[group]
    assert made.tokens.prompt_ids == rows[group]["prompt_ids"]
    assert made.attributes == tuple({"length": float(len(ids))} for ids in made.tokens.response_ids)
    inside = [
        (group, tags[pair["first"]], tags[pair["second"]], pair["preference"], pair["target_margin"], pair["weight"])
        for pair in made.comparisons
    ]
    assert inside == list(told(rows, pairs))


@each_layout
@settings(max_examples=40)
@given(step=steps(), budget=budgets, num_parts=st.integers(1, 4))
def test_a_step_uses_every_comparison_once_within_the_budget(layout, step, budget, num_parts):
    rows, pairs = step
    assume(every_pair_fits(rows, pairs, layout, budget))
    passes = batching.divide(rows, pairs, layout, budget, num_parts)
    compared = []
    for blocks in passes:
        assert 0 < layout.num_tokens([block.tokens for block in blocks]) <= budget
        for block in blocks:
            tags = [ids[0] for ids in block.tokens.response_ids]
            for pair in block.comparisons:
                sides = tags[pair["first"]], tags[pair["second"]]
                compared.append((block.group, *sides, pair["preference"], pair["target_margin"], pair["weight"]))
    assert Counter(compared) == Counter(told(rows, pairs))


@each_layout
@settings(max_examples=40)
@given(step=steps(), budget=budgets, num_parts=st.integers(1, 4))
def test_a_response_is_read_once_unless_its_prompt_is_too_large_for_a_pass(layout, step, budget, num_parts):
    rows, pairs = step
    assume(every_pair_fits(rows, pairs, layout, budget))
    read = defaultdict(Counter)
    num_blocks = Counter()
    for block in itertools.chain.from_iterable(batching.divide(rows, pairs, layout, budget, num_parts)):
        num_blocks[block.group] += 1
        read[block.group].update(ids[0] for ids in block.tokens.response_ids)
    expected = needed(rows, pairs)
    assert read.keys() == expected.keys()
    for group, tags in expected.items():
        assert set(read[group]) == tags
        if fits_alone(rows, group, tags, layout, budget):
            assert set(read[group].values()) == {1} == {num_blocks[group]}
        else:
            assert num_blocks[group] > 1


@each_layout
@settings(max_examples=40)
@given(step=steps(), budget=budgets, num_parts=st.integers(1, 4))
def test_every_process_divides_a_step_alike(layout, step, budget, num_parts):
    rows, pairs = step
    assume(every_pair_fits(rows, pairs, layout, budget))
    once = batching.divide(rows, pairs, layout, budget, num_parts)
    torch.rand(1)
    again = batching.divide(rows, list(pairs), layout, budget, num_parts)
    assert [list(map(asdict, blocks)) for blocks in again] == [list(map(asdict, blocks)) for blocks in once]


@each_layout
@settings(max_examples=40)
@given(step=steps(), budget=budgets, num_parts=st.integers(1, 4))
def test_passes_are_a_multiple_of_the_processes_where_prompts_suffice(layout, step, budget, num_parts):
    rows, pairs = step
    assume(every_pair_fits(rows, pairs, layout, budget))
    passes = batching.divide(rows, pairs, layout, budget, num_parts)
    assert len(passes) % num_parts == 0 or all(len(blocks) == 1 for blocks in passes)


@each_layout
@given(rows=token_rows(), budget=st.integers(1, 60))
def test_the_budget_is_checked_before_training_as_a_step_would(layout, rows, budget):
    groups = range(0, len(rows), 2)
    pairs = [pair for pair in all_pairs(rows) if pair.group in groups]
    if every_pair_fits(rows, pairs, layout, budget):
        batching.check_budget(rows, groups, layout, budget)
        assert batching.divide(rows, pairs, layout, budget)
        return
    with pytest.raises(TrainingError, match=f"tokens_per_batch is {budget}"):
        batching.check_budget(rows, groups, layout, budget)
    with pytest.raises(TrainingError, match=f"tokens_per_batch is {budget}"):
        batching.divide(rows, pairs, layout, budget)


@pytest.mark.parametrize(
    ("name", "need"), [("padded", 2 * (3 + 5)), ("packed decoder", 3 + 5 + 2), ("packed encoder", 3 + 5 + 3 + 2)]
)
def test_a_comparison_over_the_budget_names_its_prompt_its_need_and_the_budget(name, need):
    labels = {"preference": 1.0, "target_margin": 0.0, "weight": 1.0}
    row = {
        "prompt_id": "abc",
        "prompt_ids": [1, 2, 3],
        "response_ids": [[4] * 5, [5] * 2, [6]],
        "response_attributes": [{}, {}, {}],
        "comparisons": [{"first": 1, "second": 2, **labels}, {"first": 0, "second": 1, **labels}],
    }
    told = f"prompt abc: .* take {need} tokens .*train.tokens_per_batch is {need - 1};"
    with pytest.raises(TrainingError, match=told):
        batching.divide([row], all_pairs([row]), LAYOUTS[name], need - 1)
    with pytest.raises(TrainingError, match=told):
        batching.check_budget([row], [0], LAYOUTS[name], need - 1)
    assert len(batching.divide([row], all_pairs([row]), LAYOUTS[name], need)) == 2


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
    rows, pairs = step
    assume(every_pair_fits(rows, pairs, layout, budget))
    compared = []
    for blocks in batching.divide(rows, pairs, layout, budget):
        batch = batching.lay_out(blocks, layout, CPU)
        tags = tags_of_sequences(batch)
        assert tags == [ids[0] for block in blocks for ids in block.tokens.response_ids]
        assert {batch.group.dtype, batch.first.dtype, batch.second.dtype} == {torch.int64}
        assert {batch.preference.dtype, batch.target_margin.dtype, batch.weight.dtype} == {torch.float32}
        places = zip(batch.group.tolist(), batch.first.tolist(), batch.second.tolist(), strict=True)
        values = zip(batch.preference.tolist(), batch.target_margin.tolist(), batch.weight.tolist(), strict=True)
        for (group, first, second), label in zip(places, values, strict=True):
            compared.append((group, tags[first], tags[second], *label))
        num_tokens = layout.num_tokens([block.tokens for block in blocks])
        assert num_tokens == batch.sequences.input_ids.numel() <= budget
    assert Counter(compared) == Counter(told(rows, pairs))


def test_four_responses_in_six_comparisons_are_read_four_times():
    labels = {"preference": 1.0, "target_margin": 0.0, "weight": 1.0}
    comparisons = [{"first": first, "second": second, **labels} for first in range(4) for second in range(first)]
    row = {
        "prompt_ids": [1, 2],
        "response_ids": [[10], [11], [12], [13]],
        "response_attributes": [{}] * 4,
        "comparisons": comparisons,
    }
    [blocks] = batching.divide([row], all_pairs([row]), LAYOUTS["packed decoder"], 6)
    batch = batching.lay_out(blocks, LAYOUTS["packed decoder"], CPU)
    assert batch.sequences.input_ids.tolist() == [[1, 2, 10, 11, 12, 13]]
    assert list(zip(batch.first.tolist(), batch.second.tolist(), strict=True)) == [
        (pair["first"], pair["second"]) for pair in comparisons
    ]
