"""What a survey says is what tokenizing then does."""

import pytest

from rm.data import prompt_groups
from rm.data.preferences import SPLITS
from rm.model import base_models
from rm.tokens import limit, overlong, survey, tokenization
from rm.tokens.config import TokenizeConfig
from rm.tokens.counts import read_survey
from rm.tokens.overlong import Fit


def surveyed(dataset, base, folder, **config):
    return read_survey(survey.survey(dataset, base, TokenizeConfig(**config), folder))


def test_a_survey_of_all_prompts_counts_what_tokenizing_keeps(dataset, llama, tokenized, judgements, tmp_path):
    found = surveyed(dataset, llama, tmp_path)
    assert found.is_whole
    groups = {split: prompt_groups.read_groups(dataset, split) for split in SPLITS}
    for split in SPLITS:
        counts = found.splits[split]
        pairs = [pair for group in groups[split] for pair in group.comparisons]
        assert (counts.num_prompts, counts.num_pairs) == (len(groups[split]), len(pairs))
        assert counts.num_judgements == sum(pair.num_judgements for pair in pairs)
        assert counts.num_ties == sum(pair.preference == 0.5 for pair in pairs)
        assert (counts.kept_pairs, counts.kept_tokens) == (tokenized.num_pairs[split], tokenized.num_tokens[split])
    assert sum(counts.num_judgements for counts in found.splits.values()) == len(judgements)
    assert found.num_responses == sum(len(group.responses) for some in groups.values() for group in some)


def test_what_is_lost_is_what_tokenizing_loses(dataset, llama, tmp_path):
    config = {"max_tokens": 26, "max_lost_share": 1}
    found = surveyed(dataset, llama, tmp_path / "survey", **config)
    tokenized = tokenization.tokenize(dataset, llama, TokenizeConfig(**config), tmp_path / "tokens")
    assert found.overlong == tokenized.overlong
    assert {split: found.splits[split].kept_pairs for split in SPLITS} == tokenized.num_pairs
    assert sum(counts.kept_prompts for counts in found.splits.values()) == tokenized.num_rows < dataset.num_rows
    assert found.fit.num_lost == sum(found.overlong[overlong.DROPPED].values()) > 0


def test_a_sample_is_the_beginning_and_is_scaled_up(dataset, llama, tokenized, tmp_path, monkeypatch):
    monkeypatch.setattr(limit, "MOST_PROMPTS", 75)
    found = surveyed(dataset, llama, tmp_path)
    assert (found.num_sampled, found.is_whole) == (75, False)
    train = found.splits["train"]
    assert train.kept_pairs == round(train.sampled_pairs * train.num_prompts / train.sampled_prompts)
    assert train.num_pairs == dataset.num_pairs["train"]
    assert found.splits["train"].kept_tokens == pytest.approx(tokenized.num_tokens["train"], rel=0.3)


def test_a_survey_says_whether_a_head_is_kept(dataset, llama, tmp_path):
    kept = llama.model_copy(update={"keeps_head": True})
    assert not surveyed(dataset, llama, tmp_path / "new").keeps_head
    assert surveyed(dataset, kept, tmp_path / "kept").keeps_head


@pytest.mark.parametrize("architecture", ["llama", "bert", "gpt2"])
def test_the_shape_is_that_of_the_model_that_is_built(scratch_base, architecture):
    base = scratch_base(architecture)
    backbone = base_models.load_backbone(base, 311)
    found = base_models.shape(base, 311)
    assert found.num_parameters == sum(parameter.numel() for parameter in backbone.parameters())
    assert (found.hidden_size, found.num_layers) == (backbone.config.hidden_size, 1)


@pytest.mark.parametrize(("num_lost", "is_refused"), [(1, False), (2, True)])
def test_one_in_a_hundred_may_be_lost_and_no_more(num_lost, is_refused):
    fit = Fit(num_responses=100, num_pairs=50, num_lost_pairs=num_lost)
    fit.overlong[overlong.DROPPED][overlong.bucket(600)] = num_lost
    assert (overlong.problem(fit, TokenizeConfig(), 512) is not None) == is_refused


def test_what_would_be_enough_loses_few_enough():
    fit = Fit(num_responses=1000, num_pairs=500, num_lost_pairs=40)
    for num_tokens, count in ((600, 25), (900, 10), (5000, 5)):
        fit.overlong[overlong.DROPPED][overlong.bucket(num_tokens)] = count
    assert "1024 tokens would be enough" in overlong.problem(fit, TokenizeConfig(max_lost_share=0.005), 512)
    assert "768 tokens would be enough" in overlong.problem(fit, TokenizeConfig(max_lost_share=0.02), 512)
