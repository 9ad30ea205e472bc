"""Prompts with weighed and added pairs, read one by one, against the same by hand."""

from dataclasses import replace

import numpy as np
import pytest

from rm.data.prompt_groups import read_groups
from rm.errors import TrainingError
from rm.remedies.config import RemediesConfig
from rm.remedies.prompts import remedied
from rm.remedies.texts import Texts
from rm.tokens.tokenization import read_tokenizer, read_tokens


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
    assert prompts.mean_weight() == pytest.approx(np.mean([weight for *_, weight in expected]))
    none = prompts.subset(np.empty(0, np.int64))
    assert [len(column) for column in none.compared()] == [0, 0, 0, 0]
    assert none.mean_weight() == 1


def test_without_a_remedy_the_prompts_are_those_that_were_given(prompts):
    assert remedied(prompts, RemediesConfig(), 0, no_texts) is prompts


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


def test_a_remedy_that_adds_no_pairs_is_an_error_and_one_that_adds_few_is_told(edit_tokens, dataset, tokenized, caplog):
    """All prompts are as if they were cut: none has room for more than its own longest response."""
    most = int(read_tokens(tokenized, "train").longest().max())

    def cut(before):
        for prompt in before:
            room = most - max(map(len, prompt.response_ids))
            yield replace(prompt, prompt_ids=[*prompt.prompt_ids, *[5] * room][-room:])

    prompts = read_tokens(edit_tokens(lambda before: list(cut(before))), "train")

    def made(some, **remedies):
        texts = Texts(read_groups(dataset, "train"), read_tokenizer(tokenized))
        return remedied(some, RemediesConfig(**remedies), 0, lambda: texts)

    alone = prompts.subset(np.arange(1))  # all replies are its own
    with pytest.raises(TrainingError, match=r"^train\.remedies\.stock_share: 1\.0 of 1 .*, and 0 do: .* no room"):
        made(alone, stock_share=1.0).check_added()
    for name in ("foreign_share", "stock_share"):
        few = made(prompts, controlled=("length",), **{name: 1.0})
        few.check_added()
        count = int((few.num_comparisons() > prompts.num_comparisons()).sum())
        assert 0 < count < len(prompts) / 2
        [told] = [record.getMessage() for record in caplog.records]
        assert told.startswith(f"train.remedies.{name}: 1.0 of {len(prompts)} prompts should get pairs, and {count} do")
        caplog.clear()
    made(prompts, worsened_share=1.0).check_added()
    made(prompts, controlled=("length",)).check_added()
    assert not caplog.records


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


def test_added_pairs_have_no_controlled_features_since_no_annotator_has_seen_them(prompts):
    made = remedied(prompts, RemediesConfig(controlled=("length",), foreign_share=0.5), 0, no_texts)
    every = prompts.compared()
    length = np.log(every.first_tokens / every.second_tokens)
    found, num_added = [], 0
    for before, after in zip(prompts, made, strict=True):
        own = len(before.comparisons)
        assert after.controlled.shape == (len(after.comparisons), 1)
        assert (after.controlled[own:] == 0).all()
        assert list(after.comparisons[:own]) == list(before.comparisons)
        found += after.controlled[:own, 0].tolist()
        num_added += len(after.comparisons) - own
    np.testing.assert_allclose(found, length / np.sqrt((length**2).mean()), rtol=1e-5)
    assert num_added > 10
