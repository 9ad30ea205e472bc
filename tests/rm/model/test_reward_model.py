import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
)

from rm.errors import ModelError
from rm.model import base_files, base_models, export, reward_model
from rm.model.config import ModelConfig
from rm.model.padding import pad
from rm.model.reward_model import RewardModelConfig
from rm.model.token_ids import TokenIds

CPU = torch.device("cpu")
ARCHITECTURES = ["llama", "qwen3", "gpt2", "bert", "modernbert"]
DECODERS = ARCHITECTURES[:3]


@pytest.fixture(scope="module")
def sequences():
    """Prompts and responses of 6 to 40 tokens, ending with the end token."""
    generator = np.random.default_rng(3)
    sizes = [(3, 2), (20, 19), (9, 1), (1, 12), (5, 30)]
    return [
        TokenIds([3, *generator.integers(10, 280, prompt).tolist()], [*generator.integers(10, 280, size).tolist(), 1])
        for prompt, size in sizes
    ]


@pytest.fixture(scope="module")
def built(scratch_base, tokenizer):
    """Each architecture with its default pooling, in evaluation mode."""
    return {name: base_models.build(scratch_base(name), tokenizer, 5, CPU).eval() for name in ARCHITECTURES}


@pytest.fixture(scope="module")
def saved(built, tokenized, tmp_path_factory):
    folders = {}
    for name, model in built.items():
        folders[name] = tmp_path_factory.mktemp(name)
        export.save(model, AutoTokenizer.from_pretrained(tokenized.path / "tokenizer"), folders[name])
    return folders


@torch.inference_mode()
def one_by_one(model, sequences):
    """Rewards of sequences that stand alone, without any padding or mask."""
    return torch.cat([model(torch.tensor([list(ids.prompt_ids + ids.response_ids)])).logits[:, 0] for ids in sequences])


def padded(sequences, pad_id, side):
    width = max(ids.num_tokens for ids in sequences)
    rows = [(ids.prompt_ids + ids.response_ids, [pad_id] * (width - ids.num_tokens)) for ids in sequences]
    ids = [padding + real if side == "left" else real + padding for real, padding in rows]
    mask = [
        [0] * len(pad) + [1] * len(real) if side == "left" else [1] * len(real) + [0] * len(pad) for real, pad in rows
    ]
    return torch.tensor(ids), torch.tensor(mask)


@pytest.mark.parametrize("pad_id", [0, 1, 17], ids=["pad", "pad is end token", "pad is a word"])
@pytest.mark.parametrize(
    ("name", "side"), [*((name, "right") for name in DECODERS), ("llama", "left"), ("qwen3", "left")]
)
def test_last_pooling_reads_the_last_real_token_wherever_the_padding_is(built, sequences, name, side, pad_id):
    ids, mask = padded(sequences, pad_id, side)
    with torch.inference_mode():
        together = built[name](ids, mask).logits[:, 0]
    torch.testing.assert_close(together, one_by_one(built[name], sequences), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["bert", "modernbert"])
def test_an_encoder_pools_the_mean_by_default_and_never_sees_its_padding(built, sequences, name):
    assert built[name].config.pooling == "mean"
    ids, mask = padded(sequences, 17, "right")
    with torch.inference_mode():
        together = built[name](ids, mask).logits[:, 0]
    torch.testing.assert_close(together, one_by_one(built[name], sequences), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["llama", "bert"])
def test_rewards_see_every_token_before_the_one_that_is_read(built, sequences, name):
    changed = [TokenIds([ids.prompt_ids[0], 5, *ids.prompt_ids[2:]], ids.response_ids) for ids in sequences]
    assert (one_by_one(built[name], changed) != one_by_one(built[name], sequences)).all()


@st.composite
def masked_batches(draw):
    """Hidden states, ids, and masks with padding on either side of each row."""
    num_rows, width = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    mask = torch.zeros(num_rows, width, dtype=torch.int64)
    response = torch.zeros_like(mask)
    for row in range(num_rows):
        start = draw(st.integers(0, width - 1))
        end = draw(st.integers(start + 1, width))
        mask[row, start:end] = 1
        response[row, draw(st.integers(start, end - 1)) : end] = 1
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    ids = torch.randint(0, 3, mask.shape, generator=generator)
    return torch.randn(num_rows, width, 2, generator=generator), ids, mask, response


def slow_pool(hidden, ids, mask, response, pooling, token):
    pooled = []
    for row in range(len(ids)):
        real = [place for place in range(ids.shape[1]) if mask[row, place]]
        places = {
            "last": real[-1:],
            "mean": real,
            "mean_response": [place for place in real if response[row, place]],
            "token": [place for place in real if ids[row, place] == token][:1],
        }[pooling]
        pooled.append(sum(hidden[row, place].double() for place in places) / len(places))
    return torch.stack(pooled).float()


@pytest.mark.parametrize("pooling", ["last", "mean", "mean_response"])
@given(batch=masked_batches())
def test_pooling_matches_a_slow_loop(pooling, batch):
    config = RewardModelConfig(pooling=pooling)
    torch.testing.assert_close(reward_model.pool(*batch, config), slow_pool(*batch, pooling, None))


@given(batch=masked_batches())
def test_token_pooling_reads_its_first_occurrence_or_says_that_it_is_missing(batch):
    _, ids, mask, _ = batch
    config = RewardModelConfig(pooling="token", pooling_token_id=2)
    if all((row == 2)[real > 0].any() for row, real in zip(ids, mask, strict=True)):
        torch.testing.assert_close(reward_model.pool(*batch, config), slow_pool(*batch, "token", 2))
    else:
        with pytest.raises(ModelError, match="pooling token 2 is missing from a sequence"):
            reward_model.pool(*batch, config)


def test_mean_response_pooling_needs_a_response_mask(scratch_base, tokenizer, sequences):
    model = base_models.build(scratch_base("bert", pooling="mean_response"), tokenizer, 0, CPU)
    batch = pad(sequences)
    assert model(batch.input_ids, batch.attention_mask, batch.response_mask).logits.shape == (len(sequences), 1)
    with pytest.raises(ModelError, match="expected response_mask, got none"):
        model(batch.input_ids, batch.attention_mask)


def test_a_pooling_token_that_the_tokenizer_lacks_is_refused_by_name(scratch_base, tokenizer):
    base = scratch_base("bert", pooling="token", pooling_token="[CLS]")
    with pytest.raises(ModelError, match=r"pooling_token: the tokenizer has no token '\[CLS\]'"):
        base_models.build(base, tokenizer, 0, CPU)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_saved_model_gives_the_same_rewards_in_transformers(built, saved, sequences, name):
    loaded = AutoModelForSequenceClassification.from_pretrained(saved[name], dtype=torch.float32).eval()
    expected = one_by_one(built[name], sequences)
    ids, mask = padded(sequences, loaded.config.pad_token_id, "right")
    with torch.inference_mode():
        together = loaded(ids, attention_mask=mask).logits
    assert together.shape == (len(sequences), 1)
    torch.testing.assert_close(together[:, 0], expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(one_by_one(loaded, sequences), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_saved_model_loads_as_ours_with_the_same_rewards(built, saved, sequences, name):
    loaded, _ = export.load(saved[name], CPU)
    assert not loaded.training
    torch.testing.assert_close(one_by_one(loaded, sequences), one_by_one(built[name], sequences))


@pytest.mark.parametrize(
    ("name", "pooling"),
    [("bert", "mean_response"), ("bert", "token"), ("bert", "last"), ("llama", "mean"), ("llama", "mean_response")],
)
def test_poolings_that_transformers_does_not_have_survive_saving(
    scratch_base, tokenized, sequences, name, pooling, tmp_path
):
    tokenizer = AutoTokenizer.from_pretrained(tokenized.path / "tokenizer")
    token = tokenizer.convert_ids_to_tokens(3) if pooling == "token" else None
    model = base_models.build(scratch_base(name, pooling=pooling, pooling_token=token), tokenizer, 0, CPU).eval()
    export.save(model, tokenizer, tmp_path)
    batch = pad(sequences)
    inputs = (batch.input_ids, batch.attention_mask, batch.response_mask)
    loaded, _ = export.load(tmp_path, CPU)
    torch.testing.assert_close(loaded(*inputs).logits, model(*inputs).logits)


def test_decoders_load_where_this_project_is_not_installed(built, saved, sequences, tmp_path):
    ids, mask = padded(sequences, 0, "right")
    (tmp_path / "batch.json").write_text(json.dumps([ids.tolist(), mask.tolist()]))
    program = """
import json, sys, torch
from transformers import AutoModelForSequenceClassification
ids, mask = (torch.tensor(rows) for rows in json.load(open("batch.json")))
found = {}
for folder in sys.argv[1:]:
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        found[folder] = [type(model).__module__, model(ids, attention_mask=mask).logits[:, 0].tolist()]
assert "rm" not in sys.modules
print(json.dumps(found))
"""
    command = [sys.executable, "-c", program, *(str(saved[name]) for name in DECODERS)]
    output = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    found = json.loads(output.splitlines()[-1])
    for name in DECODERS:
        module, rewards = found[str(saved[name])]
        assert module.startswith("transformers.models.")
        expected = one_by_one(built[name], sequences)
        torch.testing.assert_close(torch.tensor(rewards), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_saved_folder_is_what_servers_expect(saved, name):
    config, tokenizer = AutoConfig.from_pretrained(saved[name]), AutoTokenizer.from_pretrained(saved[name])
    assert (config.num_labels, config.problem_type) == (1, "regression")
    assert config.pad_token_id == tokenizer.pad_token_id != tokenizer.eos_token_id
    assert json.loads((saved[name] / "config.json").read_text())["problem_type"] == "regression"
    assert tokenizer.chat_template
    assert {path.suffix for path in saved[name].iterdir()} == {".json", ".safetensors", ".jinja"}


def test_the_saved_bytes_do_not_depend_on_where_the_base_model_lay(word_base, tmp_path):
    contents = []
    for place in ("here", "there"):
        folder = shutil.copytree(word_base.folder, tmp_path / place)
        base = base_files.resolve(ModelConfig(path=folder))
        tokenizer = base_models.load_tokenizer(base, [])
        export.save(base_models.build(base, tokenizer, 0, CPU), tokenizer, tmp_path / f"saved {place}")
        contents.append({path.name: path.read_bytes() for path in (tmp_path / f"saved {place}").iterdir()})
    assert contents[0] == contents[1]


def test_the_head_depends_on_its_own_seed_alone(scratch_base, tokenizer):
    def head(seed, global_seed):
        with torch.random.fork_rng():
            torch.manual_seed(global_seed)
            return base_models.build(scratch_base("llama"), tokenizer, seed, CPU).state_dict()

    one, same, other = head(0, 1), head(0, 2), head(1, 1)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["score.weight"], other["score.weight"])
    assert all(torch.equal(one[name], other[name]) for name in one if name != "score.weight")
    assert 0.01 < one["score.weight"].std() < 0.04


def test_under_bfloat16_the_head_still_works_in_float32(built, sequences):
    model, batch, seen = built["llama"], pad(sequences), []
    hook = model.backbone.register_forward_hook(lambda _module, _inputs, output: seen.append(output.last_hidden_state))
    with hook, torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        logits = model(batch.input_ids, batch.attention_mask).logits
    last = seen[0][range(len(sequences)), batch.attention_mask.sum(dim=1) - 1]
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits.double(), last.double() @ model.score.weight.double().T, rtol=1e-5, atol=1e-7)


def without_padding(beginning):
    """A tokenizer that pads with its end token; it may have another special token for the beginning, as Llama has."""
    end = "<|endoftext|>"
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=[end, *{beginning} - {end}],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(["Hello there!!! Wow!! Yes!! ?! ?! !? !? \u0100 \u0101"] * 20, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=beginning, eos_token=end, pad_token=end)


@pytest.mark.parametrize("beginning", ["<|endoftext|>", "<|begin|>"])
def test_padding_that_is_the_end_token_is_replaced_and_text_reads_as_before(beginning, save_base, tmp_path):
    config = AutoConfig.for_model(
        "llama",
        vocab_size=300,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        pad_token_id=0,
        eos_token_id=0,
    )
    base = save_base(without_padding(beginning), config)
    tokenizer = base_models.load_tokenizer(base, [])
    model = base_models.build(base, tokenizer, 0, CPU).eval()
    texts = ["Hello there!!! Yes!!<|endoftext|>", "Wow!?<|endoftext|>", "\u0100\u0101 ?!<|endoftext|>"]
    ids = tokenizer(texts)["input_ids"]
    expected = one_by_one(model, [TokenIds(row, []) for row in ids])
    export.save(model, tokenizer, tmp_path)
    served = AutoTokenizer.from_pretrained(tmp_path)
    assert served(texts)["input_ids"] == ids
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert loaded.config.pad_token_id == served.pad_token_id != served.eos_token_id
    with torch.inference_mode():
        together = loaded(**served(texts, padding=True, return_tensors="pt", return_token_type_ids=False)).logits[:, 0]
    torch.testing.assert_close(together, expected, rtol=1e-4, atol=1e-6)


def test_a_folder_without_a_model_is_refused_by_name(tmp_path):
    with pytest.raises(ModelError, match=rf"{tmp_path}: no config.json"):
        export.load(tmp_path, CPU)


def test_a_classifier_with_several_labels_is_refused(tmp_path, tokenizer):
    config = BertConfig(
        vocab_size=320, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    config.num_labels = 2
    BertForSequenceClassification(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(
        ModelError, match=r"expected a reward model, .*, got a BertForSequenceClassification with 2 labels"
    ):
        export.load(tmp_path, CPU)
