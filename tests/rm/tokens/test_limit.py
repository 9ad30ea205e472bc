"""What is read of a text where the recipe says nothing: what the data need, up to what the model has."""

import numpy as np
import pytest

from rm.data import prompt_groups
from rm.data.preferences import SPLITS
from rm.model import base_files, base_models
from rm.model.config import ModelConfig, ScratchConfig
from rm.tokens import limit, overlong, survey, tokenization
from rm.tokens.config import TokenizeConfig
from rm.tokens.counts import read_survey

OPEN = TokenizeConfig()


def base(positions):
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    scratch = ScratchConfig(architecture="llama", vocab_size=300, sizes={**sizes, "max_position_embeddings": positions})
    return base_files.resolve(ModelConfig(scratch=scratch))


@pytest.fixture(scope="module")
def long_dataset(make_dataset):
    """300 prompts, whose responses have up to 900 words; two in a thousand are longer than the others by far."""
    drawn = np.random.default_rng(0)
    rows = []
    for number in range(300):
        words = [int(count) for count in drawn.integers(1, 900, 2)]
        if number == 7:
            words[0] = 4000
        answers = [" ".join(["ha"] * count) for count in words]
        rows.append({"prompt": f"Laugh {number}.", "chosen": answers[0], "rejected": answers[1]})
    return make_dataset(rows)


def lengths_of(dataset, base):
    """Tokens of each prompt with each response, by a tokenization in which everything fits."""
    tokenizer = tokenization.checked_tokenizer(dataset, base, prompt_groups.each_group(dataset, "train"))
    texts = [group for split in SPLITS for group in prompt_groups.each_group(dataset, split)]
    found = []
    for group in texts:
        opening = [{"role": message.role, "content": message.content} for message in group.prompt]
        for response in group.responses:
            chat = [*opening, {"role": "assistant", "content": response}]
            found.append(len(tokenizer.apply_chat_template(chat, return_dict=False)))
    return found


def test_999_in_a_thousand_responses_fit_and_no_more_tokens_are_asked_for(long_dataset):
    model = base(100_000)
    tokenizer = tokenization.checked_tokenizer(long_dataset, model, prompt_groups.each_group(long_dataset, "train"))
    found = limit.max_tokens(OPEN, model, tokenizer, limit.sample(long_dataset))
    lengths = np.array(lengths_of(long_dataset, model))
    assert (lengths <= found).mean() >= 0.999
    assert (lengths <= found - 64).mean() < 0.999
    assert found % 64 == 0


@pytest.mark.parametrize(("positions", "expected"), [(300, 300), (600, 600)])
def test_no_more_than_the_model_has_positions(long_dataset, positions, expected):
    model = base(positions)
    tokenizer = tokenization.checked_tokenizer(long_dataset, model, prompt_groups.each_group(long_dataset, "train"))
    assert limit.max_tokens(OPEN, model, tokenizer, limit.sample(long_dataset)) == expected


def test_short_texts_leave_room_for_what_probes_add(dataset, tmp_path):
    tokenized = tokenization.tokenize(dataset, base(2000), OPEN, tmp_path)
    assert tokenization.read_tokenizer(tokenized).model_max_length == 512


def test_survey_and_tokenization_settle_on_the_same(long_dataset, tmp_path):
    found = read_survey(survey.survey(long_dataset, base(100_000), OPEN, tmp_path / "survey"))
    tokenized = tokenization.tokenize(long_dataset, base(100_000), OPEN, tmp_path / "tokens")
    assert tokenization.read_tokenizer(tokenized).model_max_length == found.max_tokens > 512
    assert sum(found.overlong.get(overlong.DROPPED, {}).values()) <= 1
    assert base_models.max_positions(base(100_000)) == 100_000
