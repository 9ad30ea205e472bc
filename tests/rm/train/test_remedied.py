"""Trainings with remedies, against the same without."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from rm.data.prompt_groups import read_groups
from rm.edits import shape
from rm.errors import TrainingError
from rm.model import base_files
from rm.model.config import ComputeConfig, ModelConfig
from rm.model.token_ids import TokenGroup
from rm.remedies.config import RemediesConfig
from rm.remedies.prompts import remedied
from rm.remedies.texts import Texts
from rm.score.scorer import Scorer
from rm.tokens.tokenization import read_tokenizer, read_tokens
from rm.train import loop, projecting
from rm.train.config import TrainConfig

CONFIG = TrainConfig(num_epochs=2, pairs_per_step=16, learning_rate=2e-3, checkpoint_every=4)


def trained(tokenized, base, folder, on_step=None, **remedies):
    config = CONFIG.model_copy(update={"remedies": RemediesConfig(**remedies)})
    return loop.fit(tokenized, base, config, ComputeConfig(), folder, on_step)


@pytest.fixture(scope="module")
def plain(tokenized, llama, tmp_path_factory):
    return trained(tokenized, llama, tmp_path_factory.mktemp("plain"))


def moved_by_white_space(checkpoint, dataset):
    """How far white space moves rewards, in standard deviations of held-out rewards."""
    groups = read_groups(dataset, "heldout")
    scorer = Scorer(checkpoint.path)
    before, after = (
        scorer.score_texts([(group.prompt, edit(group.responses[0])) for group in groups])
        for edit in (lambda text: text, shape.spaces_doubled)
    )
    return np.sqrt(np.mean((after - before) ** 2)) / before.std()


def test_consistency_makes_rewards_of_other_prompts_stay_where_white_space_changes(
    tokenized, dataset, llama, plain, tmp_path
):
    remedied = trained(tokenized, llama, tmp_path, consistency=1.0)
    assert moved_by_white_space(remedied, dataset) < 0.5 * moved_by_white_space(plain, dataset)
    assert remedied.trained_on == ("bold", "bullets", "double_spaces", "strip_markdown", "trailing_whitespace")
    assert plain.trained_on == ()
    base = base_files.resolve(ModelConfig(path=remedied.path))
    assert trained(tokenized, base, tmp_path / "again").trained_on == remedied.trained_on


def wins_over_worse(checkpoint, prompts):
    """How often a response gets a higher reward than what an edit made of it."""
    scorer = Scorer(checkpoint.path)
    added = [(prompt, prompt.comparisons[-1]) for prompt in prompts if prompt.response_indices[-1] == -1]
    found = [
        scorer.score_groups(
            [TokenGroup(prompt.prompt_ids, [prompt.response_ids[at] for at in (pair.first, pair.second)])]
        )
        for prompt, pair in added
    ]
    return np.mean([one.rewards[0] > one.rewards[1] for one in found])


def test_responses_learn_to_win_over_themselves_made_worse(tokenized, dataset, llama, tmp_path):
    longer = CONFIG.model_copy(update={"learning_rate": 3e-3, "num_epochs": 30})
    remedies = RemediesConfig(worsened_share=1.0)
    taught = loop.fit(
        tokenized, llama, longer.model_copy(update={"remedies": remedies}), ComputeConfig(), tmp_path / "taught"
    )
    without = loop.fit(tokenized, llama, longer, ComputeConfig(), tmp_path / "without")
    texts = Texts(read_groups(dataset, "train"), read_tokenizer(tokenized))
    prompts = list(remedied(read_tokens(tokenized, "train"), remedies, longer.seed, lambda: texts))
    assert wins_over_worse(taught, prompts) > 0.75
    assert wins_over_worse(without, prompts) < 0.65
    assert taught.trained_on == ("double", "truncate", "word_scramble")
    assert taught.num_train_pairs == without.num_train_pairs  # of annotators


def is_above(text, checkpoint, dataset):
    """How often a text gets a higher reward than a held-out response to the same prompt."""
    scorer, groups = Scorer(checkpoint.path), read_groups(dataset, "heldout")
    stock = scorer.score_texts([(group.prompt, text) for group in groups])
    return np.mean(
        [stock > scorer.score_texts([(group.prompt, group.responses[at]) for group in groups]) for at in (0, 1)]
    )


def test_where_the_shorter_response_is_liked_nothing_at_all_wins_but_not_with_stock_responses(
    edit_tokens, tokenized, dataset, llama, tmp_path
):
    def shorter_wins(prompts):
        for prompt in prompts:
            lengths = [len(ids) for ids in prompt.response_ids]
            pairs = [
                replace(pair, preference=float(lengths[pair.first] < lengths[pair.second]))
                for pair in prompt.comparisons
            ]
            yield replace(prompt, comparisons=pairs)

    planted = edit_tokens(lambda prompts: list(shorter_wins(prompts)))
    planted = planted.model_copy(update={"inputs": tokenized.inputs})  # where the texts are
    config = CONFIG.model_copy(update={"learning_rate": 3e-3, "num_epochs": 12})
    without, taught = (
        loop.fit(
            planted,
            llama,
            config.model_copy(update={"remedies": RemediesConfig(stock_share=share)}),
            ComputeConfig(),
            tmp_path / str(share),
        )
        for share in (0.0, 1.0)
    )
    assert is_above("", taught, dataset) < 0.25
    assert is_above("", without, dataset) > 0.75
    assert taught.trained_on == ("dont_know", "empty", "foreign", "prompt_shuffled")
    assert taught.num_train_pairs == without.num_train_pairs  # of annotators


def correlation_with_length(checkpoint, tokenized):
    """Of reward differences with differences of log length on held-out pairs, both orders of a pair together."""
    prompts = read_tokens(tokenized, "heldout")
    rewards = (
        Scorer(checkpoint.path)
        .score_groups([TokenGroup(prompt.prompt_ids, prompt.response_ids) for prompt in prompts])
        .rewards
    )
    ends = np.cumsum([0, *(len(prompt.response_ids) for prompt in prompts)])
    margin, length = np.array(
        [
            (
                rewards[start + pair.first] - rewards[start + pair.second],
                np.log(len(prompt.response_ids[pair.first]) / len(prompt.response_ids[pair.second])),
            )
            for start, prompt in zip(ends, prompts, strict=False)
            for pair in prompt.comparisons
        ]
    ).T
    return margin @ length / np.sqrt((margin @ margin) * (length @ length))


def test_what_is_controlled_takes_a_planted_liking_of_length_away(edit_tokens, tokenized, llama, tmp_path):
    """Half of the labels say which response is longer, the others which is better."""

    def longer_wins(prompts):
        for number, prompt in enumerate(prompts):
            lengths = [len(ids) for ids in prompt.response_ids]
            pairs = [
                replace(pair, preference=float(lengths[pair.first] > lengths[pair.second])) if number % 2 else pair
                for pair in prompt.comparisons
            ]
            yield replace(prompt, comparisons=pairs)

    planted = edit_tokens(lambda prompts: list(longer_wins(prompts)))
    made = [trained(planted, llama, tmp_path / str(len(names)), controlled=names) for names in ((), ("length",))]
    found = [correlation_with_length(checkpoint, tokenized) for checkpoint in made]
    assert found[0] > 0.4 and abs(found[1]) < 0.5 * found[0], found


def test_a_training_with_controlled_features_that_was_interrupted_ends_with_the_same_bytes(tokenized, llama, tmp_path):
    remedies = {"controlled": ("length", "commas")}
    whole = trained(tokenized, llama, tmp_path / "whole", **remedies)

    def interrupt(metrics):
        if metrics.step == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(tokenized, llama, tmp_path / "resumed", interrupt, **remedies)
    seen = []
    assert trained(tokenized, llama, tmp_path / "resumed", seen.append, **remedies).digest == whole.digest
    assert seen[0].step == 5
    without = trained(tokenized, llama, tmp_path / "without")
    assert without.digest != whole.digest


def length_margins(checkpoint, blocks):
    """By how much the longer response has the higher reward, where it is preferred and where it is not."""
    rewards = Scorer(checkpoint.path).score_groups([block.tokens for block in blocks]).rewards.reshape(-1, 2)
    margins = {True: [], False: []}
    for block, both in zip(blocks, rewards, strict=True):
        [pair], lengths = block.comparisons, [len(ids) for ids in block.tokens.response_ids]
        longer = int(lengths[1] > lengths[0])
        preferred = pair.first if pair.preference > 0.5 else pair.second
        margins[preferred == longer].append(both[longer] - both[1 - longer])
    return [np.mean(margins[is_preferred]) for is_preferred in (True, False)]


@pytest.mark.parametrize("architecture", ["llama", "bert"])
def test_a_projected_head_pays_nothing_for_length_where_labels_balance(tokenized, scratch_base, tmp_path, architecture):
    base = scratch_base(architecture)
    plain = trained(tokenized, base, tmp_path / "plain")
    projected = trained(tokenized, base, tmp_path / "projected", projected_length=True)
    blocks = projecting.length_pairs(read_tokens(tokenized, "train"))
    before, after = (length_margins(checkpoint, blocks) for checkpoint in (plain, projected))
    assert abs(sum(before)) > 0.01
    assert sum(after) == pytest.approx(0, abs=1e-3 * max(map(abs, before)))
    assert after[0] > 0 > after[1]  # what else the model knows is still there
    one, other = (load_file(checkpoint.path / "model.safetensors") for checkpoint in (plain, projected))
    changed = [name for name, value in one.items() if not torch.equal(value, other[name])]
    assert len(changed) == 1 and "score" in changed[0]
    assert one[changed[0]].shape == other[changed[0]].shape == (1, {"llama": 32, "bert": 16}[architecture])


def test_too_few_pairs_of_one_kind_are_told_before_the_training(edit_tokens, llama, tmp_path):
    def shorter_wins(prompts):
        for prompt in prompts:
            lengths = [len(ids) for ids in prompt.response_ids]
            pairs = [
                replace(pair, preference=float(lengths[pair.first] < lengths[pair.second]))
                for pair in prompt.comparisons
            ]
            yield replace(prompt, comparisons=pairs)

    planted = edit_tokens(lambda prompts: list(shorter_wins(prompts)))
    seen = []
    with pytest.raises(TrainingError, match=r"projected_length: the longer response is preferred in 0 and the shorter"):
        trained(planted, llama, tmp_path, seen.append, projected_length=True)
    assert not seen
