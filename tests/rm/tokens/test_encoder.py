import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, normalizers, trainers
from tokenizers import pre_tokenizers as pre
from transformers import PreTrainedTokenizerFast

from rm.model import base_models
from rm.tokens.encoder import _COMPARED_EVERY, Encoder

CORPUS = [
    "the cat sat on the mat",
    "It's 12345 o'clock,\n\nisn't it?  Yes: naïve café 中文 🙂",
    "print( x[0] ) # why?",
] * 3
SPECIAL = ["<unk>", "<s>", "</s>", "<|end|>"]
QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
BYTES = [f"<0x{value:02X}>" for value in range(256)]


def split_by(pattern):
    return pre.Sequence([pre.Split(Regex(pattern), "isolated"), pre.ByteLevel(add_prefix_space=False, use_regex=False)])


def trained(pre_tokenizer, normalizer=None, **options):
    """A tokenizer of one published shape, with a vocabulary learned here."""
    backend = Tokenizer(models.BPE(**options))
    backend.pre_tokenizer = pre_tokenizer
    if normalizer:
        backend.normalizer = normalizer
    by_bytes = options.get("byte_fallback")
    backend.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=700,
            special_tokens=SPECIAL + (BYTES if by_bytes else []),
            initial_alphabet=[] if by_bytes else pre.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", unk_token="<unk>")


def word_piece():
    backend = Tokenizer(models.WordPiece(unk_token="<unk>"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre.BertPreTokenizer()
    backend.train_from_iterator(
        CORPUS, trainers.WordPieceTrainer(vocab_size=200, special_tokens=SPECIAL, show_progress=False)
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", unk_token="<unk>")


FALLBACK = {"byte_fallback": True, "unk_token": "<unk>", "fuse_unk": True}
FAST = {
    "gpt2": trained(pre.ByteLevel(add_prefix_space=False)),
    "qwen3": trained(split_by(QWEN), normalizers.NFC()),
    "llama3": trained(split_by(QWEN.replace(r"\p{N}|", r"\p{N}{1,3}|")), ignore_merges=True),
    "gemma": trained(pre.Split(" ", "merged_with_previous"), normalizers.Replace(" ", "▁"), **FALLBACK),
}
SLOW = {"bert": word_piece(), "mistral": trained(pre.Metaspace(), **FALLBACK)}

PIECES = [
    *SPECIAL,
    *"aB1\n\t ",
    "  ",
    "\r\n",
    "'s",
    "'LL",
    "the",
    " cat",
    "123",
    "e\u0301",
    "ﬁ",
    "\u202e",
    "🙂\u200d👧",
]
odd_texts = st.one_of(st.text(st.characters(exclude_categories=["Cs"])), st.lists(st.sampled_from(PIECES)).map("".join))


def by_tokenizers(tokenizer, texts):
    return [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]


@pytest.mark.parametrize("shape", FAST)
@given(st.lists(odd_texts, max_size=5))
def test_fast_ids_are_those_of_the_library_that_serves_the_model(shape, texts):
    encoder = Encoder(FAST[shape])
    assert encoder._fast is not None
    fast = [encoded.ids for encoded in encoder._fast.encode_batch(texts)]  # not only those that the encoder compares
    assert fast == encoder.ids(texts) == by_tokenizers(FAST[shape], texts)


@pytest.mark.parametrize("shape", SLOW)
@given(st.lists(odd_texts, max_size=5))
def test_a_tokenizer_that_only_one_library_reads_is_read_by_that(shape, texts):
    encoder = Encoder(SLOW[shape])
    assert encoder._fast is None
    assert encoder.ids(texts) == by_tokenizers(SLOW[shape], texts)


class Wrong:
    """Gives other ids for every text that has a given word in it."""

    def __init__(self, right, word):
        self.right, self.word = right, word

    def encode_batch(self, texts):
        return self.right.encode_batch([text.replace(self.word, "") for text in texts])


@pytest.mark.parametrize("place", [0, _COMPARED_EVERY, 3 * _COMPARED_EVERY])
def test_a_difference_at_a_compared_text_hands_over_all_texts_from_then_on(place, caplog):
    tokenizer = FAST["gpt2"]
    encoder = Encoder(tokenizer)
    encoder._fast = Wrong(encoder._fast, "cat")
    texts = ["the mat"] * (4 * _COMPARED_EVERY)
    texts[place] = texts[1] = "the cat"
    with caplog.at_level(logging.WARNING):
        assert encoder.ids(texts) == by_tokenizers(tokenizer, texts)
    assert "encode 'the cat' differently" in caplog.text
    later = ["a mat", "a cat"]  # the second of them is not compared
    assert encoder.ids(later) == by_tokenizers(tokenizer, later)


def test_a_length_saved_with_the_tokenizer_or_set_by_calling_it_cuts_and_fills_nothing():
    for tokenizer in (FAST["gpt2"], SLOW["bert"]):
        backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        backend.enable_truncation(3)
        backend.enable_padding(length=50)
        limited = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="</s>")
        encoder = Encoder(limited)
        text = "the cat sat on the mat"
        assert encoder.ids([text]) == by_tokenizers(tokenizer, [text])
        limited(["the cat", text], truncation=True, max_length=2, padding=True)
        assert encoder.ids([text]) == by_tokenizers(tokenizer, [text])


def test_special_tokens_that_the_tokenizer_would_add_are_left_to_the_template(word_base):
    tokenizer = base_models.load_tokenizer(word_base, [])
    assert len(tokenizer("w1 w2")["input_ids"]) == 4
    assert len(Encoder(tokenizer).ids(["w1 w2"])[0]) == 2
