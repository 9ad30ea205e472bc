"""Prompts with weighed and added pairs, read one by one, against the same by hand."""

from dataclasses import replace

import numpy as np
import pytest

from rm.remedies.balanced import balanced
from rm.remedies.config import RemediesConfig
from rm.remedies.prompts import Remedied, remedied
from rm.tokens.tokenization import read_tokens


@pytest.fixture(scope="module")
def prompts(tokenized):
    """Some of the training prompts, in another order than in the file."""
    every = read_tokens(tokenized, "train")
    return every.subset(np.random.default_rng(0).permutation(len(every))[:50])


def no_texts():
    raise AssertionError("texts are read only for edits")


def test_the_arrays_are_what_the_prompts_say(prompts):
    every = prompts.compared()
    assert prompts.prompt_tokens().tolist() == [len(prompt.prompt_ids) for prompt in prompts]
    expected = [
        (len(prompt.response_ids[pair.first]), len(prompt.response_ids[pair.second]), pair.preference, pair.weight)
        for prompt in prompts
        for pair in prompt.comparisons
    ]
    assert list(zip(*(column.tolist() for column in every), strict=True)) == expected
    assert [len(column) for column in prompts.subset(np.empty(0, np.int64)).compared()] == [0, 0, 0, 0]


def test_without_a_remedy_the_prompts_are_those_that_were_given(prompts):
    assert remedied(prompts, RemediesConfig(projected_length=True), 0, no_texts) is prompts


def test_foreign_responses_lose_against_own_ones_and_tie_with_one_another(prompts):
    made = remedied(prompts, RemediesConfig(foreign_share=0.5), 0, no_texts)
    assert len(made) == len(prompts)
    places = {prompt.prompt_id: at for at, prompt in enumerate(prompts)}
    num_added = 0
    for before, after in zip(prompts, made, strict=True):
        count = len(before.response_ids)
        own = len(before.comparisons)
        assert after.comparisons[:own] == before.comparisons
        assert [list(ids) for ids in after.response_ids[:count]] == [list(ids) for ids in before.response_ids]
        if len(after.comparisons) == own:
            assert len(after.response_ids) == count
            continue
        num_added += 1
        added = after.comparisons[own:]
        pair = before.comparisons[0]
        preferred, other = (pair.first, pair.second) if pair.preference > 0.5 else (pair.second, pair.first)
        told = [(each.first, each.second, each.preference, each.weight) for each in added]
        weight = pair.weight
        assert told == [
            (preferred, count, 1.0, weight),
            (other, count + 1, 1.0, weight),
            (count, count + 1, 0.5, weight),
        ]
        foreign = [list(ids) for ids in after.response_ids[count:]]
        [partner] = [
            at
            for at, prompt in enumerate(prompts)
            if all(ids in list(map(list, prompt.response_ids)) for ids in foreign)
        ][:1]
        assert partner != places[before.prompt_id]
        assert after.response_attributes[count:] == [{}, {}] and list(after.response_indices[count:]) == [-1, -1]
    assert 0.1 < num_added / len(prompts) < 0.7  # prompts without room have none
    assert made.num_comparisons().tolist() == [len(prompt.comparisons) for prompt in made]
    assert made.longest().tolist() == [len(prompt.prompt_ids) + max(map(len, prompt.response_ids)) for prompt in made]
    assert made.longest().max() <= prompts.longest().max()
    assert [prompt.prompt_id for prompt in made.subset(np.array([7, 3]))] == [made[7].prompt_id, made[3].prompt_id]


@pytest.mark.parametrize("share", [1.0, 0.6])
def test_with_balanced_labels_pairs_with_foreign_responses_do_not_teach_length(share, edit_tokens):
    """Labels choose the longer response, so that balanced ones weigh a shorter winner more, and may rank it first."""
    random = np.random.default_rng(0)

    def edited(prompts):
        for number in range(1500):
            lengths = np.exp(random.normal(5, 0.7, 2)).astype(int) + 1
            first = random.random() < 1 / (1 + np.exp(-2 * np.log(lengths[0] / lengths[1])))
            yield replace(
                prompts[0],
                prompt_id=f"{number:032d}",
                response_ids=[random.integers(5, 300, length) for length in lengths],
                response_attributes=[{}, {}],
                response_indices=[0, 1],
                comparisons=[
                    replace(prompts[0].comparisons[0], first=0, second=1, preference=share if first else 1 - share)
                ],
            )

    prompts = read_tokens(edit_tokens(lambda before: list(edited(before))), "train")
    made = remedied(prompts, RemediesConfig(balanced=("length",), foreign_share=1.0), 0, no_texts)
    wins: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
    for prompt in made:
        lengths = [len(ids) for ids in prompt.response_ids]
        for rank, pair in enumerate(prompt.comparisons[:3]):
            if rank and lengths[pair.first] != lengths[pair.second]:
                wins[rank].append((float(lengths[pair.first] > lengths[pair.second]), pair.weight))
    assert len(wins[1]) > 1000
    for found in wins.values():
        longer, weight = np.array(found).T
        assert np.average(longer, weights=weight) == pytest.approx(0.5, abs=0.04)
    assert len({pair.weight for prompt in made for pair in prompt.comparisons[:1]}) > 5


def test_prompts_with_a_reply_in_common_are_no_partners(edit_tokens):
    def edited(prompts):
        stock, other = prompts[0].response_ids[0], prompts[1].response_ids[0]
        for number in range(2):
            pair = replace(prompts[0].comparisons[0], first=0, second=1, preference=1.0)
            both = [stock, other] if number else [other, stock]
            yield replace(
                prompts[number],
                response_ids=both,
                response_attributes=[{}, {}],
                response_indices=[0, 1],
                comparisons=[pair],
            )

    prompts = read_tokens(edit_tokens(lambda before: list(edited(before))), "train")
    made = remedied(prompts, RemediesConfig(foreign_share=1.0), 0, no_texts)
    assert made.num_comparisons().tolist() == [1, 1]


def test_labels_are_balanced_as_over_all_pairs(prompts):
    made = Remedied(prompts, RemediesConfig(balanced=("length",), foreign_share=0.0), 0, no_texts)
    every = prompts.compared()
    share, weight = balanced(np.log(every.first_tokens / every.second_tokens), every.preference, every.weight)
    after = [pair for prompt in made for pair in prompt.comparisons]
    own = [pair for prompt in prompts for pair in prompt.comparisons]
    assert after == [
        replace(pair, preference=p, weight=w) for pair, p, w in zip(own, share.tolist(), weight.tolist(), strict=True)
    ]
    assert sum(pair.weight for pair in after) == pytest.approx(every.weight.sum())
    assert any(pair.weight != 1.0 for pair in after)
