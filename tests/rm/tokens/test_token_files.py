import dataclasses
import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rm.data.preferences import Comparison
from rm.tokens.items import TokenizedPrompt
from rm.tokens.token_files import TokenizedSplit, TokenWriter, token_batch

ids = st.lists(st.integers(0, 2**31 - 1), max_size=6)


@st.composite
def tokenized_prompts(draw):
    number = draw(st.integers(1, 4))
    responses = st.integers(0, number - 1)
    comparison = st.builds(
        Comparison,
        first=responses,
        second=responses,
        preference=st.floats(0, 1),
        target_margin=st.floats(0, 5),
        weight=st.floats(0.5, 2),
        num_judgements=st.integers(1, 9),
        sampling_probability=st.none() | st.floats(0.1, 1),
    )
    attributes = st.dictionaries(st.sampled_from(["helpful", "brief"]), st.floats(-9, 9))
    return TokenizedPrompt(
        prompt_id=draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=8)),
        prompt_ids=draw(ids),
        prompt_cut=draw(st.booleans()),
        response_ids=draw(st.lists(ids, min_size=number, max_size=number)),
        response_indices=draw(st.lists(st.integers(0, 99), min_size=number, max_size=number)),
        response_attributes=draw(st.lists(attributes, min_size=number, max_size=number)),
        comparisons=draw(st.lists(comparison, max_size=4)),
    )


def write(path, prompts, at_once=2):
    with TokenWriter(path) as writer:
        rest = iter(prompts)
        while some := list(itertools.islice(rest, at_once)):
            writer.write(token_batch(some))
    return writer


def plain(prompt):
    """A prompt whose arrays of ids are lists, so that it can be compared by ==."""
    fields = {field.name: getattr(prompt, field.name) for field in dataclasses.fields(prompt)}
    return fields | {
        "prompt_ids": list(prompt.prompt_ids),
        "response_ids": [list(one) for one in prompt.response_ids],
    }


@settings(max_examples=50)
@given(prompts=st.lists(tokenized_prompts(), max_size=6), data=st.data())
def test_every_prompt_is_read_as_it_was_written_and_so_is_a_part_of_a_part(tmp_path_factory, prompts, data):
    path = tmp_path_factory.mktemp("tokens") / "train.arrow"
    writer = write(path, prompts)
    assert writer.num_prompts == len(prompts)
    assert writer.num_pairs == sum(len(prompt.comparisons) for prompt in prompts)
    assert writer.num_tokens == sum(len(p.prompt_ids) + sum(map(len, p.response_ids)) for p in prompts)
    found = TokenizedSplit(path)
    assert [plain(prompt) for prompt in found] == [plain(prompt) for prompt in prompts]
    assert found.num_comparisons().tolist() == [len(prompt.comparisons) for prompt in prompts]
    assert found.longest().tolist() == [
        len(prompt.prompt_ids) + max(map(len, prompt.response_ids)) for prompt in prompts
    ]
    if prompts:
        places = st.lists(st.integers(0, len(prompts) - 1), min_size=1)
        some = data.draw(places)
        fewer = data.draw(st.lists(st.integers(0, len(some) - 1)))
        part = found.subset(np.array(some)).subset(np.array(fewer, dtype=np.int64))
        assert [plain(prompt) for prompt in part] == [plain(prompts[some[index]]) for index in fewer]
        assert part.longest().tolist() == [found.longest()[some[index]] for index in fewer]


def numbered(number, num_ids=4):
    pair = Comparison(first=0, second=1, preference=1.0, target_margin=0.0, weight=1.0, num_judgements=1)
    return TokenizedPrompt(
        prompt_id=f"{number:06d}",
        prompt_ids=[number] * num_ids,
        response_ids=[[number, 1], [number, 2, 3]],
        response_indices=[0, 1],
        response_attributes=[{}, {}],
        comparisons=[pair] * (number % 3),
    )


def test_more_prompts_than_a_part_of_the_file_holds_keep_their_places(tmp_path):
    write(tmp_path / "train.arrow", (numbered(number) for number in range(2500)), 1024)
    found = TokenizedSplit(tmp_path / "train.arrow")
    assert len(found) == 2500
    for number in (0, 1023, 1024, 2047, 2048, 2499, -1):
        assert plain(found[number]) == plain(numbered(number % 2500))
    assert [len(prompt.comparisons) for prompt in found] == [number % 3 for number in range(2500)]
    with pytest.raises(IndexError):
        found[2500]


def test_the_ids_lie_in_the_file_and_not_in_memory(tmp_path):
    write(tmp_path / "train.arrow", (numbered(number, 2000) for number in range(1500)), 1024)
    size = (tmp_path / "train.arrow").stat().st_size
    before = pa.total_allocated_bytes()
    read = list(TokenizedSplit(tmp_path / "train.arrow"))
    assert sum(prompt.prompt_ids.nbytes for prompt in read) == 1500 * 2000 * 4 < size
    assert pa.total_allocated_bytes() - before < size / 100
    assert not any(prompt.prompt_ids.flags.owndata or prompt.prompt_ids.flags.writeable for prompt in read)


def test_an_error_while_writing_leaves_no_file(tmp_path):
    def broken():
        yield numbered(0)
        raise RuntimeError("a full disk")

    with pytest.raises(RuntimeError, match="a full disk"):
        write(tmp_path / "train.arrow", broken())
    assert list(tmp_path.iterdir()) == []
