import shutil

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, BertConfig, PreTrainedTokenizerFast

from rm.errors import ModelError
from rm.model import base_files, base_models, tokenizer
from rm.model.architecture import is_encoder
from rm.model.config import ModelConfig, ScratchConfig
from rm.tokens import chat_template

TEXTS = ["the quick brown fox", "jumps over the lazy dog", "the the the quick quick"] * 20
TOKENIZER = tokenizer.train_tokenizer(TEXTS, 320)


def local(folder):
    return base_files.resolve(ModelConfig(path=folder))


def scratch(architecture, **sizes):
    return base_files.resolve(ModelConfig(scratch=ScratchConfig(architecture=architecture, sizes=sizes)))


@pytest.fixture
def folder(word_base, tmp_path):
    """A copy of a base model's folder, to be damaged."""
    return shutil.copytree(word_base.folder, tmp_path / "base")


def test_a_folder_without_a_config_is_refused_by_name(folder):
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=rf"{folder}: expected a model folder with config.json"):
        local(folder)
    with pytest.raises(ModelError, match=r"nowhere: expected a model folder"):
        local(folder / "nowhere")


def test_weights_in_pickle_form_only_are_refused_by_name(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=rf"{folder}: no .safetensors file; weights in pickle form are not loaded"):
        local(folder)


def test_an_unknown_architecture_is_refused_by_name():
    with pytest.raises(
        ModelError, match=r"model.scratch.architecture: transformers has no model_type 'lama'; expected"
    ):
        base_models.max_positions(scratch("lama"))


def test_an_unknown_size_is_refused_by_name_with_the_known_ones():
    with pytest.raises(ModelError, match=r"sizes: llama has no key 'hidden_dim'; it has \[.*'hidden_size'"):
        base_models.max_positions(scratch("llama", hidden_size=16, hidden_dim=16))


def test_a_folder_without_a_tokenizer_is_refused_by_name(folder):
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=rf"{folder}: no tokenizer; expected tokenizer.json"):
        local(folder)


def test_a_tokenizer_without_any_special_token_cannot_get_a_template(save_base):
    bare = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, unk_token="a")))
    config = BertConfig(vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2)
    base = save_base(bare, config)
    with pytest.raises(ModelError, match="expected a tokenizer with a chat template, an end token, or"):
        base_models.load_tokenizer(base, [])


def test_templates_that_we_give_pass_their_own_check(word_base, save_base):
    chat_template.check_template(TOKENIZER, with_system=True)
    chat_template.check_template(base_models.load_tokenizer(word_base, []), with_system=True)
    # One token begins, ends and pads, as GPT-2's does.
    alphabet = ["<|endoftext|>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    backend = Tokenizer(models.BPE({token: place for place, token in enumerate(alphabet)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    one_for_all = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<|endoftext|>", eos_token="<|endoftext|>", pad_token="<|endoftext|>"
    )
    config = BertConfig(vocab_size=300, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2)
    loaded = base_models.load_tokenizer(save_base(one_for_all, config), [])
    assert loaded.chat_template is not None
    chat_template.check_template(loaded, with_system=True)


def test_the_digest_changes_with_any_byte_of_the_weights_or_the_tokenizer(folder, word_base):
    assert local(folder).digest == word_base.digest  # wherever it lies
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    digests = {word_base.digest}
    for place in (len(content) // 3, len(content) // 2, len(content) - 1):
        weights.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        digests.add(local(folder).digest)
    weights.write_bytes(content)
    (folder / "tokenizer.json").write_text((folder / "tokenizer.json").read_text() + " ")
    digests.add(local(folder).digest)
    assert len(digests) == 5


def test_weights_whose_header_is_broken_are_refused_by_name(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(b"\xff" + weights.read_bytes()[1:])
    with pytest.raises(ModelError, match=rf"^{weights}: cannot be read as safetensors: "):
        local(folder)


def test_the_positions_that_a_model_can_read_are_counted_as_it_counts():
    assert base_models.max_positions(scratch("llama", max_position_embeddings=64)) == 64
    assert base_models.max_positions(scratch("bert", max_position_embeddings=64)) == 64
    assert base_models.max_positions(scratch("roberta", max_position_embeddings=64)) == 63  # its padding id is 0 here
    assert base_models.max_positions(scratch("xlnet")) is None


def test_the_digest_of_random_weights_changes_with_what_they_depend_on():
    digests = [
        base_files.resolve(ModelConfig(scratch=config)).digest
        for config in (
            ScratchConfig(architecture="llama"),
            ScratchConfig(architecture="qwen3"),
            ScratchConfig(architecture="llama", seed=1),
            ScratchConfig(architecture="llama", vocab_size=500),
            ScratchConfig(architecture="llama", sizes={"hidden_size": 64}),
        )
    ]
    assert len(set(digests)) == len(digests)


def test_random_weights_depend_on_their_own_seed_alone_and_leave_the_global_generator(scratch_base):
    def weights(seed, global_seed):
        with torch.random.fork_rng():
            torch.manual_seed(global_seed)
            before = torch.random.get_rng_state()
            state = base_models.load_backbone(scratch_base("llama", seed=seed), 300).state_dict()
            assert torch.equal(torch.random.get_rng_state(), before)
            return torch.cat([value.flatten() for value in state.values()])

    assert torch.equal(weights(0, 1), weights(0, 2))
    assert not torch.equal(weights(0, 1), weights(1, 1))


def test_weights_of_a_folder_are_loaded_as_they_are(word_base):
    backbone = base_models.load_backbone(word_base, 404)
    saved = load_file(word_base.folder / "model.safetensors")
    assert all(torch.equal(value, saved[name]) for name, value in backbone.state_dict().items())
    assert {value.dtype for value in backbone.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gpt2", "bert", "modernbert"])
def test_special_ids_of_random_weights_lie_in_their_vocabulary(scratch_base, architecture):
    config = base_models.load_backbone(scratch_base(architecture), 300).config
    ids = {key: value for key, value in config.to_dict().items() if key.endswith("_token_id") and value is not None}
    assert config.vocab_size == 300
    assert config.pad_token_id == 0
    assert all(0 <= value < 300 for value in ids.values())


def test_encoders_are_told_from_decoders():
    assert [is_encoder(name) for name in ("bert", "modernbert", "roberta")] == [True] * 3
    assert [is_encoder(name) for name in ("llama", "qwen3", "gpt2", "mistral")] == [False] * 4


def test_training_a_tokenizer_is_deterministic_and_takes_an_iterator():
    again = tokenizer.train_tokenizer(iter(TEXTS), 320)
    assert again.backend_tokenizer.to_str() == TOKENIZER.backend_tokenizer.to_str()
    other = tokenizer.train_tokenizer(["zebra zebra zebra"] * 20, 320)
    assert other.backend_tokenizer.to_str() != TOKENIZER.backend_tokenizer.to_str()


def test_a_trained_tokenizer_keeps_its_size_and_merges_what_it_saw_often():
    assert len(TOKENIZER) <= 320
    assert len(TOKENIZER(" quick")["input_ids"]) == 1
    assert len(TOKENIZER(" zebra")["input_ids"]) > 1
    assert len(tokenizer.train_tokenizer(TEXTS, 300)) <= 300


def test_roles_end_and_padding_are_one_special_token_each():
    names = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
    assert TOKENIZER.convert_tokens_to_ids(names) == [0, 1, 2, 3, 4]
    assert TOKENIZER("".join(names))["input_ids"] == [0, 1, 2, 3, 4]
    assert set(TOKENIZER.all_special_ids) == {0, 1, 2, 3, 4}
    assert (TOKENIZER.pad_token_id, TOKENIZER.eos_token_id) == (0, 1)


@given(st.text(st.characters(exclude_categories=["Cs"])).filter(lambda text: "<|" not in text))
def test_any_text_can_be_written_whatever_was_seen_in_training(text):
    ids = TOKENIZER(text)["input_ids"]
    assert TOKENIZER.decode(ids, clean_up_tokenization_spaces=False) == text
    assert not set(ids) & set(TOKENIZER.all_special_ids)


def test_a_saved_tokenizer_keeps_its_special_tokens_and_template(tmp_path):
    TOKENIZER.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert set(loaded.all_special_ids) == set(TOKENIZER.all_special_ids)
    assert loaded.chat_template == TOKENIZER.chat_template
    assert loaded(TEXTS)["input_ids"] == TOKENIZER(TEXTS)["input_ids"]


def test_a_tokenizer_gives_the_same_bytes_wherever_it_was_loaded_from(tmp_path):
    contents, source = [], TOKENIZER
    for place in ("one", "two", "three"):
        tokenizer.save_tokenizer(source, tmp_path / place)
        contents.append({path.name: path.read_bytes() for path in (tmp_path / place).iterdir()})
        source = AutoTokenizer.from_pretrained(tmp_path / place)
    assert contents[0] == contents[1] == contents[2]


def test_a_base_model_is_called_by_what_it_is(word_base, scratch_base):
    assert scratch_base("bert").name == "bert from random weights"
    assert word_base.name == word_base.folder.name
