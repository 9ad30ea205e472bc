import itertools
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rm import batching
from rm import model as reward_model
from rm.batching import Pair
from rm.tokenization import TokenIds, read_tokens


@st.composite
def token_rows(draw):
    """Rows as `rm.tokenization` makes them; a response's first id is its own and tells it from the others."""
    rows, next_id = [], 1000
    for _ in range(draw(st.integers(1, 8))):
        num_responses = draw(st.integers(2, 4))
        lengths = draw(st.lists(st.integers(1, 9), min_size=num_responses, max_size=num_responses))
        every = [(first, second) for first in range(num_responses) for second in range(first)]
        picked = draw(st.lists(st.sampled_from(every), min_size=1, unique=True))
        comparisons = [
            {"first": first, "second": second, "preference": place / 8, "target_margin": place / 4, "weight": 1 + place}
            for place, (first, second) in enumerate(picked)
        ]
        responses = [[next_id + place, *range(1, length)] for place, length in enumerate(lengths)]
        rows.append(
            {
                "prompt": len(rows),
                "prompt_ids": list(range(1, draw(st.integers(2, 9)))),
                "response_ids": responses,
                "comparisons": comparisons,
            }
        )
        next_id += num_responses
    return rows


def all_pairs(rows):
    return [
        Pair(group=group, place=place) for group, row in enumerate(rows) for place in range(len(row["comparisons"]))
    ]


def sequence(row, response):
    return tuple(row["prompt_ids"] + row["response_ids"][response])


def laid_out(batch):
    """The batch's sequences without padding."""
    inputs = batch.sequences
    return [tuple(ids[mask > 0].tolist()) for ids, mask in zip(inputs.input_ids, inputs.attention_mask, strict=True)]


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


@given(token_rows(), st.sampled_from([1, 30, 60, 1000]))
def test_a_step_reads_every_response_once_and_compares_the_right_ones(rows, tokens_per_batch):
    pairs = all_pairs(rows)
    sequences, compared = [], []
    for batch in batching.batches(rows, pairs, tokens_per_batch):
        inside = laid_out(batch)
        sequences += inside
        values = zip(batch.first, batch.second, batch.preference, batch.target_margin, batch.weight, strict=True)
        compared += [(inside[first], inside[second], *map(float, label)) for first, second, *label in values]
        assert batch.num_tokens == sum(map(len, inside))
    used, expected = set(), []
    for pair in pairs:
        row = rows[pair.group]
        label = row["comparisons"][pair.place]
        sides = (sequence(row, label["first"]), sequence(row, label["second"]))
        expected.append((*sides, label["preference"], label["target_margin"], float(label["weight"])))
        used |= set(sides)
    assert Counter(sequences) == Counter(used)
    assert Counter(compared) == Counter(expected)


def test_four_responses_in_six_comparisons_are_read_four_times():
    labels = {"preference": 1.0, "target_margin": 0.0, "weight": 1.0}
    comparisons = [{"first": first, "second": second, **labels} for first in range(4) for second in range(first)]
    row = {"prompt_ids": [1, 2], "response_ids": [[10], [11], [12], [13]], "comparisons": comparisons}
    [batch] = batching.batches([row], all_pairs([row]), 8)
    assert batch.sequences.input_ids.tolist() == [[1, 2, 10], [1, 2, 11], [1, 2, 12], [1, 2, 13]]
    assert len(batch.first) == len(batch.second) == 6


@given(token_rows(), st.integers(1, 60))
def test_the_token_budget_holds_unless_one_prompt_alone_exceeds_it(rows, tokens_per_batch):
    prompt_of = {sequence(row, place): row["prompt"] for row in rows for place in range(len(row["response_ids"]))}
    for batch in batching.batches(rows, all_pairs(rows), tokens_per_batch):
        prompts = {prompt_of[ids] for ids in laid_out(batch)}
        assert batch.sequences.input_ids.numel() <= tokens_per_batch or len(prompts) == 1


@given(token_rows())
def test_a_large_budget_needs_one_batch(rows):
    assert len(list(batching.batches(rows, all_pairs(rows), 10_000))) == 1


def test_padding_is_on_the_right_and_masked():
    padded = batching.pad([TokenIds([5, 6], [7]), TokenIds([5], [8, 9, 10])], pad_id=3)
    assert padded.input_ids.tolist() == [[5, 6, 7, 3], [5, 8, 9, 10]]
    assert padded.attention_mask.tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert padded.response_mask.tolist() == [[0, 0, 1, 0], [0, 1, 1, 1]]


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


@pytest.mark.parametrize("name", ["llama", "bert"])
def test_rewards_do_not_depend_on_what_else_is_in_the_batch(scratch_base, tokenizer, tokenized, name):
    model = reward_model.build(scratch_base(name), tokenizer, 0, torch.device("cpu")).eval()
    rows = read_tokens(tokenized, "heldout")

    def rewards(tokens_per_batch):
        found = {}
        for batch in batching.batches(rows, all_pairs(rows), tokens_per_batch):
            inputs = batch.sequences
            with torch.inference_mode():
                logits = model(inputs.input_ids, inputs.attention_mask, inputs.response_mask).logits
            found |= dict(zip(laid_out(batch), logits[:, 0].tolist(), strict=True))
        return found

    alone, together = rewards(1), rewards(5000)
    assert alone == pytest.approx(together, rel=1e-4, abs=1e-6)
    assert max(alone.values()) - min(alone.values()) > 1e-3
