"""Trainings with remedies, against the same without."""

import re
from dataclasses import replace

import numpy as np
import pytest

from rm.data.prompt_groups import read_groups
from rm.errors import TrainingError
from rm.model.config import ComputeConfig
from rm.model.token_ids import TokenGroup
from rm.remedies.config import RemediesConfig
from rm.remedies.prompts import remedied
from rm.remedies.texts import Texts
from rm.score.scorer import Scorer
from rm.tokens.tokenization import read_tokenizer, read_tokens
from rm.train import loop
from rm.train.config import TrainConfig

CONFIG = TrainConfig(num_epochs=2, pairs_per_step=16, learning_rate=2e-3, checkpoint_every=4)


def trained(tokenized, base, folder, on_step=None, **remedies):
    config = CONFIG.model_copy(update={"remedies": RemediesConfig(**remedies)})
    return loop.fit(tokenized, base, config, ComputeConfig(), folder, on_step)


@pytest.fixture(scope="module")
def plain(tokenized, llama, tmp_path_factory):
    return trained(tokenized, llama, tmp_path_factory.mktemp("plain"))


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
    assert (taught.remedy_shares, without.remedy_shares) == ({"worsened_share": 1.0}, {})
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


def test_a_training_without_the_pairs_of_its_remedy_is_none(edit_tokens, tokenized, llama, tmp_path):
    """Its manifest would say that the model was taught what nobody taught it."""
    alone = edit_tokens(lambda prompts: prompts[:1]).model_copy(update={"inputs": tokenized.inputs})
    with pytest.raises(TrainingError, match="stock_share"):
        trained(alone, llama, tmp_path / "none", stock_share=1.0)
    assert not (tmp_path / "none").exists()


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


def test_what_is_controlled_takes_a_planted_liking_of_length_away(edit_tokens, tokenized, llama, tmp_path, caplog):
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
    caplog.set_level("INFO", logger="rm.train.loop")
    made = [trained(planted, llama, tmp_path / str(len(names)), controlled=names) for names in ((), ("length",))]
    assert [checkpoint.controlled for checkpoint in made] == [(), ("length",)]
    found = [correlation_with_length(checkpoint, tokenized) for checkpoint in made]
    assert found[0] > 0.4 and abs(found[1]) < 0.5 * found[0], found
    [told] = [record.getMessage() for record in caplog.records if "labels ask" in record.getMessage()]
    said = re.fullmatch(
        r"at the end labels ask, beside the reward, \+(\S+) log-odds per standard deviation of length", told
    )
    assert float(said[1]) > 0.5


def test_what_is_controlled_does_not_depend_on_the_scale_of_the_weights(edit_tokens, llama, tmp_path, caplog):
    caplog.set_level("INFO", logger="rm.train.loop")

    def scaled(prompts, scale):
        """The longer response wins."""
        for prompt in prompts:
            lengths = [len(ids) for ids in prompt.response_ids]
            pairs = [
                replace(pair, weight=scale, preference=float(lengths[pair.first] > lengths[pair.second]))
                for pair in prompt.comparisons
            ]
            yield replace(prompt, comparisons=pairs)

    for scale in (1.0, 1e-3):
        weighted = edit_tokens(lambda prompts, scale=scale: list(scaled(prompts, scale)))
        trained(weighted, llama, tmp_path / str(scale), controlled=("length",))
    one, other = (float(re.search(r"[+-]\d\.\d+", each.getMessage())[0]) for each in caplog.records)
    assert abs(one) > 0.1 and other == pytest.approx(one, abs=0.02)


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
