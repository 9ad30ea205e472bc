"""Edited responses, against encoding them one by one."""

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
    "bullets": lambda text, _: rewrites.bulleted(text),
    "double_spaces": lambda text, _: shape.spaces_doubled(text),
    "strip_markdown": lambda text, _: rewrites.markdown_stripped(text),
    "trailing_whitespace": lambda text, _: shape.whitespace_trailing(text),
}
"""Such as not every text and not every tokenizer sees."""


@pytest.fixture(scope="module")
def prompts(tokenized):
    return read_tokens(tokenized, "train")


@pytest.fixture(scope="module")
def groups(dataset):
    return read_groups(dataset, "train")


@pytest.fixture(scope="module")
def edited(prompts, groups, tokenized):
    return EditedResponses(prompts, groups, read_tokenizer(tokenized), 0, EDITS, 1.0)


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
        made = {name: edit(text, Random(0)) for name, edit in EDITS.items()}
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
    some = EditedResponses(prompts.subset(indices), iter(groups), tokenizer, 0, EDITS, 1.0)
    other = EditedResponses(prompts, groups, tokenizer, 1, EDITS, 1.0)

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
        EditedResponses(prompts, [], read_tokenizer(tokenized), 0, EDITS, 1.0)
    none = EditedResponses(prompts.subset(np.empty(0, np.int64)), [], read_tokenizer(tokenized), 0, EDITS, 1.0)
    assert none.are_there().tolist() == []
