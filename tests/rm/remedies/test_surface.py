"""Features of responses, against reading each text alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rm.data.prompt_groups import read_groups
from rm.features import battery
from rm.features.responses import Responses
from rm.remedies.config import RemediesConfig
from rm.remedies.prompts import remedied
from rm.remedies.surface import Surface
from rm.remedies.texts import Texts
from rm.tokens.tokenization import read_tokenizer, read_tokens
from rm.train import batching


@pytest.fixture(scope="module")
def prompts(tokenized):
    return read_tokens(tokenized, "train")


@pytest.fixture(scope="module")
def groups(dataset):
    """With marks of structure, which the snapshot's texts have none of."""
    marked = {0: "**{}**", 1: "- {}\n- more", 2: "{}"}
    return [
        replace(
            group,
            responses=tuple(marked[(number + at) % 3].format(text) for at, text in enumerate(group.responses)),
        )
        for number, group in enumerate(read_groups(dataset, "train"))
    ]


def test_length_is_the_log_of_tokens_and_needs_no_text(prompts):
    surface = Surface(prompts, ["length"], lambda: pytest.fail("no text is needed"))
    for index in (0, 5):
        expected = [[np.log(len(ids))] for ids in prompts[index].response_ids]
        np.testing.assert_allclose(surface.of(index, prompts[index]), expected, rtol=1e-6)


@pytest.mark.parametrize("families", [("structure",), ("length", "structure", "typography")])
def test_other_families_are_the_main_component_of_what_the_battery_reads(prompts, groups, families):
    some = prompts.subset(np.arange(1, len(prompts), 2))
    surface = Surface(some, families, lambda: groups)
    found = np.concatenate([surface.of(index, some[index]) for index in range(len(some))])
    by_id = {group.prompt_id: group for group in groups}
    texts = [by_id[prompt.prompt_id].responses[place] for prompt in some for place in prompt.response_indices]
    assert found.shape == (len(texts), len(families)) and found.dtype == np.float32
    for column, family in enumerate(families):
        if family == "length":
            continue
        features = [each for each in battery.BATTERY if each.family == family]
        values = battery.read(features, Responses(texts, [""] * len(texts)))
        scores = (values - values.mean(axis=0))[:, values.std(axis=0) > 0]
        left, sizes, _ = np.linalg.svd(scores / scores.std(axis=0), full_matrices=False)
        expected = left[:, 0] * sizes[0]
        sign = np.sign(expected @ found[:, column])
        np.testing.assert_allclose(sign * found[:, column], expected, atol=1e-3)


def test_lists_and_plain_texts_lie_apart_in_structure(prompts, groups):
    surface = Surface(prompts, ["structure"], lambda: groups)
    by_id = {group.prompt_id: group for group in groups}
    found = np.concatenate([surface.of(index, prompts[index])[:, 0] for index in range(len(prompts))])
    texts = [by_id[prompt.prompt_id].responses[place] for prompt in prompts for place in prompt.response_indices]
    is_list = np.array([text.startswith("- ") for text in texts])
    assert 0.2 < is_list.mean() < 0.5
    apart = found[is_list].mean() - found[~is_list].mean()
    assert abs(apart) > 3 * max(found[is_list].std(), found[~is_list].std())


def test_pairs_have_the_differences_of_their_responses_with_foreign_and_edited_ones(prompts, groups, tokenized):
    config = RemediesConfig(correlation=1.0, foreign_share=1.0, consistency=1.0)
    made = remedied(prompts, config, 0, lambda: Texts(groups, read_tokenizer(tokenized)))
    num_foreign = 0
    for index in range(40):
        prompt = made[index]
        assert len(prompt.surface) == len(prompt.response_ids)
        num_foreign += len(prompt.comparisons) - len(prompts[index].comparisons)
        block = batching.block(prompt, index, range(len(prompt.comparisons)))
        found = batching.compared([block, block], torch.device("cpu")).surface
        lengths = [len(ids) for ids in prompt.response_ids]
        expected = [[np.log(lengths[pair.first] / lengths[pair.second])] for pair in prompt.comparisons]
        np.testing.assert_allclose(found.numpy(), [*expected, *expected], rtol=1e-4, atol=1e-6)
    assert num_foreign
