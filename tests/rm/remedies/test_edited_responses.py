"""Edited responses, against encoding them one by one."""

from collections import Counter
from random import Random

import numpy as np
import pytest

from rm.data.prompt_groups import read_groups
from rm.edits import rewrites, shape
from rm.errors import TrainingError
from rm.remedies.edited_responses import EditedResponses
from rm.tokens import encoder
from rm.tokens.encoder import Encoder
from rm.tokens.tokenization import read_tokenizer, read_tokens

EDITS = {
    "bold": lambda text, _: rewrites.bolded(text),
    "double": lambda text, _: shape.repeated(text, 2),
    "truncate": lambda text, _: shape.truncated(text, 50),
}
"""One that needs room, and one that needs words."""
ALONE = "bold"


@pytest.fixture(scope="module")
def prompts(tokenized):
    return read_tokens(tokenized, "train")


@pytest.fixture(scope="module")
def groups(dataset):
    return read_groups(dataset, "train")


@pytest.fixture(scope="module")
def edited(prompts, groups, tokenized):
    return EditedResponses(prompts, groups, read_tokenizer(tokenized), 0, EDITS, ALONE, 1.0)


def usable(prompt, group, response, encodes, most):
    """The ids after each edit that can be used, by name."""
    text = group.responses[prompt.response_indices[response]]
    made = {name: edit(text, Random(0)) for name, edit in EDITS.items()}
    made = {name: changed for name, changed in made.items() if changed is not None and changed != text}
    [(_, ids)] = encoder.encode(encodes, [(group.prompt, list(made.values()))])
    room = most - len(prompt.prompt_ids)
    own = list(prompt.response_ids[response])
    return {name: each for name, each in zip(made, ids, strict=True) if each != own and len(each) <= room}


def test_each_is_one_of_all_edits_or_where_not_all_can_be_used_the_one_that_keeps_the_length(
    prompts, groups, edited, tokenized
):
    encodes, kinds = Encoder(read_tokenizer(tokenized)), Counter()
    by_id, most = {group.prompt_id: group for group in groups}, prompts.longest().max()
    for index, prompt in enumerate(prompts):
        one = edited[index]
        if one is None:
            responses = {at for pair in prompt.comparisons for at in (pair.first, pair.second)}
            every = [usable(prompt, by_id[prompt.prompt_id], at, encodes, most) for at in responses]
            assert any(ALONE not in each for each in every)
            continue
        found = usable(prompt, by_id[prompt.prompt_id], one.response, encodes, most)
        [name] = [name for name, ids in found.items() if ids == one.ids.tolist()]
        kinds[name, len(found) == len(EDITS)] += 1
        assert name == ALONE or len(found) == len(EDITS)
        assert any(one.response in (pair.first, pair.second) for pair in prompt.comparisons)
    assert min(kinds[name, True] for name in EDITS) > 3
    assert kinds[ALONE, False] > 10


def test_the_draw_depends_on_seed_and_prompt_alone(prompts, groups, edited, tokenized):
    tokenizer = read_tokenizer(tokenized)
    indices = np.arange(0, len(prompts), 3)
    some = EditedResponses(prompts.subset(indices), iter(groups), tokenizer, 0, EDITS, ALONE, 1.0)
    other = EditedResponses(prompts, groups, tokenizer, 1, EDITS, ALONE, 1.0)

    def shown(one):
        return one and (one.response, one.ids.tolist())

    assert prompts.subset(indices).longest().max() == prompts.longest().max()
    for place, index in enumerate(indices.tolist()):
        if edited[index] is not None:
            assert shown(some[place]) == shown(edited[index])
    assert [shown(other[index]) for index in range(len(prompts))] != [
        shown(edited[index]) for index in range(len(prompts))
    ]


def test_prompts_without_texts_are_named(prompts, groups, tokenized):
    with pytest.raises(TrainingError, match=f"prompt {prompts[0].prompt_id}: expected its texts"):
        EditedResponses(prompts, [], read_tokenizer(tokenized), 0, EDITS, ALONE, 1.0)
    none = EditedResponses(prompts.subset(np.empty(0, np.int64)), [], read_tokenizer(tokenized), 0, EDITS, ALONE, 1.0)
    assert none.are_there().tolist() == []
