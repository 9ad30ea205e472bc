"""Models of others are loaded whole, without running their code, or refused."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
)

from rm.errors import ModelError
from rm.model import base_files, base_models, export
from rm.model.config import ModelConfig
from rm.model.tokenizer import train_tokenizer

SIZES = {
    "vocab_size": 300,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["How far is it to the sea? About a day's walk."], 300)


@pytest.fixture
def reward_model(tokenizer, tmp_path):
    """A folder with a whole reward model as the field saves it."""
    folder = tmp_path / "model"
    LlamaForSequenceClassification(LlamaConfig(**SIZES, num_labels=1)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def change_weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def refusal(function, *arguments):
    with pytest.raises(ModelError) as caught:
        function(*arguments)
    return str(caught.value)


def test_a_whole_reward_model_is_loaded(reward_model):
    model, _ = export.load(reward_model, CPU)
    assert model.score.weight.shape == (1, 16)


def test_weights_without_a_head_are_refused(reward_model):
    change_weights(reward_model, lambda weights: weights.pop("score.weight"))
    assert "no weight is a head under a name that is known" in refusal(export.load, reward_model, CPU)


def test_a_plain_language_model_whose_config_claims_one_label_is_refused(tokenizer, tmp_path):
    LlamaForCausalLM(LlamaConfig(**SIZES, num_labels=1)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert "no score.weight" in refusal(export.load, tmp_path, CPU)


def test_weights_that_the_architecture_has_no_place_for_are_refused(reward_model):
    change_weights(reward_model, lambda weights: weights.update({"gate.weight": torch.ones(1, 16)}))
    assert "the weights hold gate.weight" in refusal(export.load, reward_model, CPU)


HEADS = ["score", "v_head", "v_head.summary", "value_head", "reward_head", "regression_head", "rm_head", "classifier"]


@torch.inference_mode()
def rewards(model):
    return torch.cat([model(torch.tensor([ids])).logits[0] for ids in ([5, 9, 1], [7, 7, 30, 1])])


@pytest.mark.parametrize("name", HEADS)
def test_a_linear_head_is_read_under_each_name_that_the_field_gives_it(reward_model, name):
    expected = rewards(AutoModelForSequenceClassification.from_pretrained(reward_model).eval())
    change_weights(reward_model, lambda weights: weights.update({f"{name}.weight": weights.pop("score.weight")}))
    torch.testing.assert_close(rewards(export.load(reward_model, CPU)[0]), expected)


@pytest.mark.parametrize("name", ["score", "value_head"])
def test_the_constant_of_a_head_is_part_of_the_reward(reward_model, name):
    expected = rewards(export.load(reward_model, CPU)[0]) + 2.5
    change_weights(
        reward_model,
        lambda weights: weights.update(
            {f"{name}.weight": weights.pop("score.weight"), f"{name}.bias": torch.ones(1) * 2.5}
        ),
    )
    torch.testing.assert_close(rewards(export.load(reward_model, CPU)[0]), expected)


def test_a_head_beside_that_of_the_language_model_is_read(tokenizer, tmp_path):
    LlamaForCausalLM(LlamaConfig(**SIZES)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    change_weights(tmp_path, lambda weights: weights.update({"v_head.summary.weight": torch.ones(1, 16)}))
    assert torch.equal(export.load(tmp_path, CPU)[0].score.weight, torch.ones(1, 16))


OTHER_HEADS = {
    "layers": {"score.0.weight": (8, 16), "score.0.bias": (8,), "score.2.weight": (1, 8), "score.2.bias": (1,)},
    "gates": {"gating.layers.0.weight": (8, 16), "regression_layer.weight": (5, 16), "reward_transform_matrix": (5, 5)},
    "outputs": {"score.weight": (5, 16)},
    "two": {"score.weight": (1, 16), "value_head.weight": (1, 16)},
}


@pytest.mark.parametrize("name", OTHER_HEADS)
def test_other_heads_are_refused_by_name(reward_model, name):
    heads = {key: torch.ones(shape) for key, shape in OTHER_HEADS[name].items()}

    def change(weights):
        weights.pop("score.weight")
        weights.update(heads)

    change_weights(reward_model, change)
    message = refusal(export.load, reward_model, CPU)
    first = next(iter(heads))
    assert f"{first} {list(heads[first].shape)}" in message
    assert message.endswith("expected one linear head with one output, such as score.weight [1, hidden size]")
    message = refusal(base_files.resolve, ModelConfig(path=reward_model))
    assert message.endswith("; or set model.head: new, to draw one in its place")
    assert not base_files.resolve(ModelConfig(path=reward_model, head="new")).keeps_head


def test_a_reward_model_whose_head_has_an_unknown_name_is_not_given_a_new_one(reward_model):
    change_weights(reward_model, lambda weights: weights.update({"rank_head.weight": weights.pop("score.weight")}))
    told = refusal(base_files.resolve, ModelConfig(path=reward_model))
    assert "LlamaForSequenceClassification, but no weight is a head under a name that is known" in told
    assert not base_files.resolve(ModelConfig(path=reward_model, head="new")).keeps_head


def test_masks_that_old_files_hold_as_weights_are_no_layers(tokenizer, tmp_path):
    GPT2LMHeadModel(GPT2Config(vocab_size=300, n_embd=16, n_layer=1, n_head=2)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    masks = {"transformer.h.0.attn.masked_bias": torch.ones(()), "transformer.h.0.attn.bias": torch.ones(1, 1, 4, 4)}
    change_weights(tmp_path, lambda weights: weights.update(masks))
    assert base_models.load_backbone(base_files.resolve(ModelConfig(path=tmp_path)), 300) is not None
    change_weights(tmp_path, lambda weights: weights.update({"transformer.h.0.ln_1.scale": torch.ones(16)}))
    base = base_files.resolve(ModelConfig(path=tmp_path))
    assert "h.0.ln_1.scale" in refusal(base_models.load_backbone, base, 300)


@pytest.mark.parametrize(
    ("content", "told"), [('{"model_type": "nosuchtype"}', "nosuchtype"), ('{"model_type": ', "not JSON")]
)
def test_a_config_that_transformers_does_not_know_is_told_in_one_sentence(reward_model, content, told):
    (reward_model / "config.json").write_text(content)
    message = refusal(export.load, reward_model, CPU)
    assert message.startswith(str(reward_model)) and told in message and "\n" not in message


def test_an_encoder_with_its_own_head_is_refused_before_anything_is_tokenized(tokenizer, tmp_path):
    sizes = {name: value for name, value in SIZES.items() if name != "num_key_value_heads"}
    BertForSequenceClassification(BertConfig(**sizes, num_labels=1)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert "set model.head: new" in refusal(base_models.shape, base_files.resolve(ModelConfig(path=tmp_path)), 300)
    assert base_models.shape(base_files.resolve(ModelConfig(path=tmp_path, head="new")), 300)


def test_a_model_that_judges_tokens_is_refused(reward_model):
    config = json.loads((reward_model / "config.json").read_text())
    (reward_model / "config.json").write_text(json.dumps({**config, "architectures": ["LlamaForTokenClassification"]}))
    assert "LlamaForTokenClassification judges tokens" in refusal(export.load, reward_model, CPU)


@pytest.mark.parametrize("is_base", [False, True])
def test_weights_of_more_layers_than_the_config_says_are_refused(tokenizer, tmp_path, is_base):
    LlamaForSequenceClassification(LlamaConfig(**{**SIZES, "num_hidden_layers": 2}, num_labels=1)).save_pretrained(
        tmp_path
    )
    tokenizer.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 1}))
    if is_base:
        base = base_files.resolve(ModelConfig(path=tmp_path, head="new"))
        message = refusal(base_models.load_backbone, base, 300)
    else:
        message = refusal(export.load, tmp_path, CPU)
    assert "the weights hold model.layers.1." in message


def test_where_transformers_would_read_one_token_early_it_is_said(reward_model, tokenizer):
    config = json.loads((reward_model / "config.json").read_text())
    end = tokenizer.eos_token_id
    (reward_model / "config.json").write_text(json.dumps({**config, "pad_token_id": end}))
    message = refusal(export.load, reward_model, CPU)
    assert f"pad_token_id in config.json is {end}, the id of the last token, {tokenizer.eos_token!r}" in message
    (reward_model / "config.json").write_text(json.dumps({**config, "pad_token_id": end + 1}))
    assert export.load(reward_model, CPU)


def test_weights_of_another_shape_are_refused(reward_model):
    change_weights(reward_model, lambda weights: weights.update({"score.weight": torch.ones(2, 16)}))
    assert "score.weight" in refusal(export.load, reward_model, CPU)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_a_model_that_brings_its_own_code_is_refused_and_nothing_of_it_runs(reward_model, name, monkeypatch):
    canary = reward_model.parent / "ran"
    (reward_model / "custom.py").write_text(f"open({str(canary)!r}, 'w').close()\n")
    values = json.loads((reward_model / name).read_text())
    mapping = {"AutoConfig": "custom.C", "AutoModelForSequenceClassification": "custom.M", "AutoTokenizer": "custom.T"}
    (reward_model / name).write_text(json.dumps({**values, "auto_map": mapping}))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked whether to run it"))
    message = refusal(export.load, reward_model, CPU)
    assert name in message and "auto_map" in message and "which is never run" in message
    base = reward_model.with_name("base")
    shutil.copytree(reward_model, base)
    assert "auto_map" in refusal(base_files.resolve, ModelConfig(path=base))
    assert not canary.exists()


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("config.json", {"quantization_config": {"quant_method": "bitsandbytes"}}, "quantized (bitsandbytes)"),
        ("adapter_config.json", {"peft_type": "LORA"}, "an adapter (adapter_config.json) lies beside the model"),
        ("config.json", {"is_encoder_decoder": True}, "llama: an encoder with a decoder"),
    ],
    ids=["quantized", "adapter", "two texts"],
)
def test_folders_that_hold_something_else_are_refused_by_name(reward_model, name, values, told):
    path = reward_model / name
    before = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**before, **values}))
    assert told in refusal(export.load, reward_model, CPU)
    assert told in refusal(lambda: base_models.shape(base_files.resolve(ModelConfig(path=reward_model)), 300))


def test_a_backbone_with_a_missing_layer_is_refused(reward_model):
    change_weights(reward_model, lambda weights: weights.pop("model.layers.0.mlp.up_proj.weight"))
    base = base_files.resolve(ModelConfig(path=reward_model))
    assert "mlp.up_proj.weight" in refusal(base_models.load_backbone, base, 300)


def test_a_language_model_is_a_whole_backbone_without_its_own_head(tokenizer, tmp_path):
    LlamaForCausalLM(LlamaConfig(**SIZES)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    expected = load_file(tmp_path / "model.safetensors")["model.norm.weight"]
    backbone = base_models.load_backbone(base_files.resolve(ModelConfig(path=tmp_path)), 300)
    torch.testing.assert_close(backbone.norm.weight.detach(), expected)


def test_an_encoder_without_the_pooler_that_no_reward_reads_is_a_whole_backbone(tokenizer, tmp_path):
    sizes = {name: value for name, value in SIZES.items() if name != "num_key_value_heads"}
    BertForMaskedLM(BertConfig(**sizes)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert base_models.load_backbone(base_files.resolve(ModelConfig(path=tmp_path)), 300) is not None
