"""Edited responses against their probes, and against encoding them one by one."""

from random import Random

import numpy as np
import pytest
import torch

from rm.data.prompt_groups import read_groups
from rm.errors import TrainingError
from rm.model.token_ids import TokenGroup
from rm.probes.catalog import PROBES
from rm.probes.context import Corpus, EditContext, Parent
from rm.remedies.config import RemediesConfig
from rm.remedies.consistency import consistency
from rm.remedies.edited_responses import HARMLESS, EditedResponses, with_edited
from rm.remedies.prompts import remedied
from rm.remedies.texts import Texts
from rm.tokens import encoder
from rm.tokens.encoder import Encoder
from rm.tokens.tokenization import read_tokenizer, read_tokens
from rm.train import batching

MIXED = "Use **bold** words. Then   stop!\n- one\n- two"
PLAIN = "First do this. Then do that thing. Then stop."


@pytest.fixture(scope="module")
def prompts(tokenized):
    return read_tokens(tokenized, "train")


@pytest.fixture(scope="module")
def groups(dataset):
    return read_groups(dataset, "train")


@pytest.fixture(scope="module")
def edited(prompts, groups, tokenized):
    return EditedResponses(prompts, groups, read_tokenizer(tokenized), 0, HARMLESS)


def test_the_edits_are_those_of_the_probes_that_expect_the_same_reward():
    same = {probe.name: probe for probe in PROBES if probe.expected == "same" and probe.edit is not None}
    assert same.keys() == HARMLESS.keys()
    for text in (MIXED, PLAIN):
        parent = Parent(prompt_id="a", prompt=(), response=text)
        context = EditContext(parent=parent, corpus=Corpus([parent]), draw=Random(0))
        for name, edit in HARMLESS.items():
            assert edit(text, Random(0)) == same[name].edit(context, "")


def test_each_is_the_first_edit_that_changes_the_tokens_of_a_compared_response(prompts, groups, edited, tokenized):
    encodes, found, kinds = Encoder(read_tokenizer(tokenized)), 0, set()
    by_id = {group.prompt_id: group for group in groups}
    for index, prompt in enumerate(prompts):
        one = edited[index]
        if one is None:
            continue
        found += 1
        group = by_id[prompt.prompt_id]
        text = group.responses[prompt.response_indices[one.response]]
        made = {name: edit(text, Random(0)) for name, edit in HARMLESS.items()}
        made = {name: changed for name, changed in made.items() if changed is not None and changed != text}
        [(_, ids)] = encoder.encode(encodes, [(group.prompt, list(made.values()))])
        [name, *_] = [name for name, each in zip(made, ids, strict=True) if each == one.ids.tolist()]
        kinds.add(name)
        assert one.ids.tolist() != list(prompt.response_ids[one.response])
        assert len(prompt.prompt_ids) + len(one.ids) <= prompts.longest().max()
        assert any(one.response in (pair.first, pair.second) for pair in prompt.comparisons)
    assert found > 0.9 * len(prompts)
    assert len(kinds) > 1


def test_the_draw_depends_on_seed_and_prompt_alone(prompts, groups, edited, tokenized):
    tokenizer = read_tokenizer(tokenized)
    indices = np.arange(0, len(prompts), 3)
    some = EditedResponses(prompts.subset(indices), iter(groups), tokenizer, 0, HARMLESS)
    other = EditedResponses(prompts, groups, tokenizer, 1, HARMLESS)

    def shown(one):
        return one and (one.response, one.ids.tolist())

    longest = prompts.subset(indices).longest().max()
    for place, index in enumerate(indices.tolist()):
        if edited[index] is not None and len(prompts[index].prompt_ids) + len(edited[index].ids) <= longest:
            assert shown(some[place]) == shown(edited[index])
    assert [shown(other[index]) for index in range(len(prompts))] != [
        shown(edited[index]) for index in range(len(prompts))
    ]


def test_prompts_without_texts_are_named(prompts, groups, tokenized):
    with pytest.raises(TrainingError, match=f"prompt {prompts[0].prompt_id}: expected its texts"):
        EditedResponses(prompts, [], read_tokenizer(tokenized), 0, HARMLESS)
    none = EditedResponses(prompts.subset(np.empty(0, np.int64)), [], read_tokenizer(tokenized), 0, HARMLESS)
    assert none.are_there().tolist() == []


def test_a_prompt_with_an_edit_has_the_same_comparisons_and_reads_only_what_follows_the_change(
    prompts, groups, tokenized
):
    made = remedied(
        prompts, RemediesConfig(consistency=1.0, foreign_share=0.5), 0, lambda: Texts(groups, read_tokenizer(tokenized))
    )
    plain = remedied(prompts, RemediesConfig(foreign_share=0.5), 0, lambda: None)
    num_added = 0
    for before, after in zip(plain, made, strict=True):

        def pairs(prompt):
            return [
                (list(prompt.response_ids[pair.first]), list(prompt.response_ids[pair.second]), pair.preference)
                for pair in prompt.comparisons
            ]

        assert pairs(after) == pairs(before)
        if not after.edits:
            continue
        num_added += 1
        [(original, edited)] = after.edits
        assert (original, edited) == (0, len(after.response_ids) - 1)
        assert after.response_indices[edited] == -1 and after.response_attributes[edited] == {}
        block = batching.block(after, 0, range(len(after.comparisons)))
        assert block.edits == ((0, len(block.responses) - 1),)
        both = TokenGroup(after.prompt_ids, [after.response_ids[original], after.response_ids[edited]])
        own, other = map(list, both.response_ids)
        shared = next((at for at, (a, b) in enumerate(zip(own, other, strict=False)) if a != b), len(own))
        shared = min(shared, len(other) - 1)
        without = batching.block(before, 0, range(len(before.comparisons)))
        assert both.num_tokens(shared=True) == len(after.prompt_ids) + len(own) + len(other) - shared
        assert block.tokens.num_tokens(shared=False) == without.tokens.num_tokens(shared=False) + len(
            after.prompt_ids
        ) + len(other)
    assert num_added > 0.9 * len(prompts)
    assert made.num_comparisons().tolist() == plain.num_comparisons().tolist()


def test_a_response_in_two_blocks_has_its_edit_in_one(prompts, edited):
    index = next(at for at, prompt in enumerate(prompts) if len(prompt.comparisons) > 1 and edited[at] is not None)
    prompt = with_edited(prompts[index], edited[index])
    with_original = [at for at, pair in enumerate(prompt.comparisons) if 0 in (pair.first, pair.second)]
    parts = [batching.block(prompt, 0, [at]) for at in [*with_original, *with_original]]
    assert all(part.edits for part in parts)
    assert [len(part.edits) for part in batching._counted_once(parts)] == [1, *[0] * (len(parts) - 1)]
    others = [at for at in range(len(prompt.comparisons)) if at not in with_original]
    assert all(not batching.block(prompt, 0, [at]).edits for at in others)


def test_the_term_is_the_mean_square_over_heads():
    one, other = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[0.0, 4.0], [0.0, 1.0]])
    assert consistency(one, other).tolist() == [2.5, 0.5]
    assert consistency(other, one).tolist() == [2.5, 0.5]
