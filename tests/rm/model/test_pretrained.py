"""Models of others are loaded whole, without running their code, or refused."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM, LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

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
    assert "the weights have no score.weight" in refusal(export.load, reward_model, CPU)


def test_a_plain_language_model_whose_config_claims_one_label_is_refused(tokenizer, tmp_path):
    LlamaForCausalLM(LlamaConfig(**SIZES, num_labels=1)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert "no score.weight" in refusal(export.load, tmp_path, CPU)


def test_weights_that_the_architecture_has_no_place_for_are_refused(reward_model):
    change_weights(reward_model, lambda weights: weights.update({"gate.weight": torch.ones(1, 16)}))
    assert "the weights hold gate.weight" in refusal(export.load, reward_model, CPU)


def test_a_head_under_another_name_is_refused_rather_than_drawn_at_random(reward_model):
    change_weights(reward_model, lambda weights: weights.update({"v_head.weight": weights.pop("score.weight")}))
    assert "no score.weight" in refusal(export.load, reward_model, CPU)


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
