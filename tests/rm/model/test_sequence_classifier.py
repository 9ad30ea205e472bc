"""Reward models with heads of their own give the rewards that transformers gives them one by one."""

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from rm.data.preferences import Message
from rm.errors import DataError
from rm.score.scorer import Scorer
from rm.tokens.text_pairs import PairEncoder

SIZES = {
    "vocab_size": 200,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
SIZES |= {"num_labels": 1, "max_position_embeddings": 64, "pad_token_id": 1}
SPECIAL = {"cls_token_id": 2, "bos_token_id": 2, "sep_token_id": 3, "eos_token_id": 3}
MODELS = {
    "bert": lambda: BertForSequenceClassification(BertConfig(**SIZES)),
    "roberta": lambda: RobertaForSequenceClassification(RobertaConfig(**SIZES, type_vocab_size=1)),
    "deberta-v2": lambda: DebertaV2ForSequenceClassification(DebertaV2Config(**SIZES, relative_attention=True)),
    "modernbert": lambda: ModernBertForSequenceClassification(ModernBertConfig(**SIZES, **SPECIAL)),
}
ITEMS = [
    ([Message("user", "What is two and two?")], ["It is four.", "I do not know, ask another one.", "4"]),
    ([Message("user", "Name a colour")], ["Red"]),
]


@pytest.fixture(scope="module")
def pair_tokenizer():
    """Reads a pair of texts as BERT's tokenizer does; has no chat template."""
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[UNK]", "[PAD]", "[CLS]", "[SEP]"]
    texts = [prompt[0].content for prompt, _ in ITEMS] + [text for _, texts in ITEMS for text in texts]
    backend.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=200, special_tokens=special))
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = dict(zip(("unk_token", "pad_token", "cls_token", "sep_token"), special, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=backend, **names)


@pytest.fixture(scope="module")
def saved(pair_tokenizer, tmp_path_factory):
    def save(name):
        folder = tmp_path_factory.mktemp(name)
        torch.manual_seed(0)
        model = MODELS[name]()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))  # or a fresh head gives all the same
        model.save_pretrained(folder)
        pair_tokenizer.save_pretrained(folder)
        return folder, model.eval()

    return save


@pytest.mark.parametrize("name", MODELS)
def test_rewards_are_those_of_transformers_for_each_pair_of_texts(saved, pair_tokenizer, name):
    folder, model = saved(name)
    found = Scorer(folder).score_items(ITEMS)
    for (prompt, texts), rewards in zip(ITEMS, found, strict=True):
        for place, text in enumerate(texts):
            has_segments = name == "bert"
            inputs = pair_tokenizer(prompt[0].content, text, return_tensors="pt", return_token_type_ids=has_segments)
            with torch.inference_mode():
                expected = model(**inputs).logits.item()
            assert rewards.rewards[place] == pytest.approx(expected, abs=1e-5)
    assert np.diff(np.sort(found[0].rewards)).min() > 1e-4  # what is compared differs


def test_a_prompt_is_cut_where_the_positions_end_and_a_long_response_is_refused(saved, pair_tokenizer):
    folder, model = saved("roberta")  # 64 positions less two that padding takes
    scorer = Scorer(folder)
    assert scorer.tokenizer.model_max_length == 62
    long = [Message("user", "two " * 200)]
    (found,) = scorer.score_items([(long, ["It is four.", "four " * 70])])
    ids = pair_tokenizer("two " * 200, "It is four.", add_special_tokens=False)["input_ids"]
    answer = len(pair_tokenizer("It is four.", add_special_tokens=False)["input_ids"])
    # The opening token stays; what is cut is the beginning of the prompt.
    kept = [2, *ids[:200][-(62 - 1 - 1 - answer - 1) :], 3, *ids[-answer:], 3]
    with torch.inference_mode():
        expected = model(torch.tensor([kept])).logits.item()
    assert len(kept) == 62 and found.rewards[0] == pytest.approx(expected, abs=1e-5)
    assert np.isnan(found.rewards[1])
    with pytest.raises(DataError, match="row 1: the response leaves no room"):
        scorer.score_texts([(long, "four " * 70)])


def test_several_messages_are_told_apart_by_their_roles(saved):
    scorer = Scorer(saved("bert")[0])
    one = [Message("user", "two"), Message("assistant", "four"), Message("user", "colour")]
    other = [Message("user", "two"), Message("user", "four"), Message("user", "colour")]
    joined = [Message("user", "user: two\n\nassistant: four\n\nuser: colour")]
    first, second, third = scorer.score_texts([(one, "Red"), (other, "Red"), (joined, "Red")])
    assert first == pytest.approx(third) and first != pytest.approx(second)


def test_under_a_chat_template_a_conversation_is_one_text(saved, pair_tokenizer):
    folder, model = saved("bert")
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m.content }}[SEP]{% endfor %}{% if add_generation_prompt %}{% endif %}"
    )
    (found,) = Scorer(folder).score_texts([(ITEMS[0][0], "It is four.")])
    text = "What is two and two?[SEP]It is four.[SEP]"
    with torch.inference_mode():
        expected = model(**pair_tokenizer(text, return_tensors="pt", add_special_tokens=False)).logits.item()
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("processing", [processors.BertProcessing, processors.RobertaProcessing])
def test_pairs_are_encoded_as_the_tokenizer_encodes_them(pair_tokenizer, processing):
    """RoBERTa puts two separators between the texts."""
    backend = Tokenizer.from_str(pair_tokenizer.backend_tokenizer.to_str())
    backend.post_processor = processing(("[SEP]", 3), ("[CLS]", 2))
    encoder = PairEncoder(PreTrainedTokenizerFast(tokenizer_object=backend))
    for (prompt, texts), (prompt_ids, response_ids) in zip(ITEMS, encoder.encode(ITEMS), strict=True):
        for text, ids in zip(texts, response_ids, strict=True):
            assert [*prompt_ids, *ids] == backend.encode(prompt[0].content, text).ids
            assert ids[-1] == 3 and ids[0] not in (2, 3)
