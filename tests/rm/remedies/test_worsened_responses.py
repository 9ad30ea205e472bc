"""Responses that an edit has made worse, and the pairs in which they lose."""

from collections import Counter
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from rm.data.prompt_groups import read_groups
from rm.probes.catalog import PROBES
from rm.probes.context import Corpus, EditContext, Parent
from rm.remedies.catalog import REMEDIES
from rm.remedies.config import RemediesConfig
from rm.remedies.prompts import remedied
from rm.remedies.texts import Texts
from rm.remedies.worsened_responses import WORSE
from rm.tokens.tokenization import read_tokenizer, read_tokens

TEXT = "First do this. Then do that thing. Then stop and look around."


@pytest.fixture(scope="module")
def prompts(tokenized):
    return read_tokens(tokenized, "train")


@pytest.fixture(scope="module")
def texts(dataset, tokenized):
    return lambda: Texts(read_groups(dataset, "train"), read_tokenizer(tokenized))


def test_the_edits_are_those_of_probes_that_expect_a_lower_reward():
    probes = {probe.name: probe for probe in PROBES}
    parent = Parent(prompt_id="a", prompt=(), response=TEXT)
    for name, edit in WORSE.items():
        assert probes[name].expected == "lower"
        dose = {"double": 2, "truncate": 50}.get(name, "")
        context = EditContext(parent=parent, corpus=Corpus([parent]), draw=Random(0))
        assert edit(TEXT, Random(0)) == probes[name].edit(context, dose) != TEXT
    [remedy] = [each for each in REMEDIES if each.name == "worsened responses"]
    assert set(remedy.trains_on) == WORSE.keys()


def test_they_are_longer_shorter_and_of_the_same_length():
    sizes = [len(edit(TEXT, Random(0)).split()) / len(TEXT.split()) for edit in WORSE.values()]
    assert sizes == pytest.approx([2.0, 0.5, 1.0], abs=0.05)


def test_the_response_wins_over_its_worse_self_in_about_the_share_that_was_asked_for(prompts, texts):
    made = remedied(prompts, RemediesConfig(worsened_share=0.5), 0, texts)
    added = 0
    for before, after in zip(prompts, made, strict=True):
        count = len(before.response_ids)
        assert [list(ids) for ids in after.response_ids[:count]] == [list(ids) for ids in before.response_ids]
        assert list(after.comparisons[: len(before.comparisons)]) == list(before.comparisons)
        if len(after.response_ids) == count:
            continue
        added += 1
        [pair] = after.comparisons[len(before.comparisons) :]
        assert (pair.second, pair.preference) == (count, 1.0)
        assert pair.first in {index for own in before.comparisons for index in (own.first, own.second)}
        assert list(after.response_ids[count]) != list(after.response_ids[pair.first])
        assert len(after.prompt_ids) + len(after.response_ids[count]) <= prompts.longest().max()
        assert (after.response_indices[count], after.response_attributes[count]) == (-1, {})
    assert 0.3 < added / len(prompts) < 0.6
    assert made.num_comparisons().tolist() == [len(each.comparisons) for each in made]
    assert remedied(prompts, RemediesConfig(worsened_share=1.0), 0, texts).num_comparisons().sum() > (
        made.num_comparisons().sum()
    )


@pytest.mark.parametrize("cut", [False, True], ids=["as they are", "all cut"])
def test_a_shorter_one_loses_only_where_a_longer_one_could_and_the_other_way_round(prompts, texts, edit_tokens, cut):
    most = int(prompts.longest().max())

    def with_no_room(before):
        """As if each prompt had been cut: with its longest response it has as many tokens as any."""
        for prompt in before:
            room = most - max(map(len, prompt.response_ids))
            yield replace(prompt, prompt_ids=[*prompt.prompt_ids, *[5] * room][-room:])

    some = read_tokens(edit_tokens(lambda before: list(with_no_room(before))), "train") if cut else prompts
    groups, sides = {group.prompt_id: group for group in texts().groups}, Counter()
    for before, after in zip(some, remedied(some, RemediesConfig(worsened_share=1.0), 0, texts), strict=True):
        for pair in after.comparisons[len(before.comparisons) :]:
            own, worse = len(after.response_ids[pair.first]), len(after.response_ids[pair.second])
            side = "longer" if worse > 1.4 * own else "shorter" if worse < 0.8 * own else "alike"
            sides[side] += 1
            text = groups[after.prompt_id].responses[after.response_indices[pair.first]]
            assert side == "alike" or len(text.split()) >= 5  # others cannot be cut off
            assert side == "alike" or 2 * own - 2 <= most - len(after.prompt_ids)  # else said twice it has no room
    assert sides["alike"] > 50 and (cut or min(sides["longer"], sides["shorter"]) > 5)
    assert abs(sides["longer"] - sides["shorter"]) < 3 * np.sqrt(sides["longer"] + sides["shorter"])


def test_beside_foreign_responses_each_keeps_its_pairs(prompts, texts):
    alone = remedied(prompts, RemediesConfig(foreign_share=0.5), 0, texts)
    both = remedied(prompts, RemediesConfig(foreign_share=0.5, worsened_share=1.0), 0, texts)

    def pairs(prompt):
        return [
            (list(prompt.response_ids[pair.first]), list(prompt.response_ids[pair.second]), pair.preference)
            for pair in prompt.comparisons
        ]

    for one, other in zip(alone, both, strict=True):
        assert pairs(other)[: len(one.comparisons)] == pairs(one)
    groups = {group.prompt_id: group for group in texts().groups}
    for one, other in zip(alone, both, strict=True):
        added = len(other.comparisons) - len(one.comparisons)
        # Less than five words can be said twice, but neither be cut off nor scrambled.
        assert added == 1 or min(len(text.split()) for text in groups[one.prompt_id].responses) < 5
