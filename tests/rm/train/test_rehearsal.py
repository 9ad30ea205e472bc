"""What would fail after the last step fails before the first one."""

import pytest
import torch
from torch import nn
from transformers import AutoModelForSequenceClassification

from rm.errors import TrainingError
from rm.model import export, lora, quantization
from rm.model.config import ComputeConfig
from rm.train import loop, resume
from rm.train.config import LoraConfig, TrainConfig

COMPUTE = ComputeConfig(tokens_per_batch=500)
CONFIG = TrainConfig(num_epochs=1, max_pairs=64, pairs_per_step=16, learning_rate=1e-2, checkpoint_every=2)
ADAPTERS = CONFIG.model_copy(update={"lora": LoraConfig(rank=4)})


def refused(tokenized, base, config, folder):
    """The sentence of a training that ends before its first step, which leaves nothing."""
    steps = []
    with pytest.raises(TrainingError) as caught:
        loop.fit(tokenized, base, config, COMPUTE, folder, steps.append)
    assert not steps
    assert list(folder.parent.iterdir()) == []
    return str(caught.value)


def test_adapters_that_are_not_merged_are_seen(tokenized, scratch_base, tmp_path, monkeypatch):
    def drop(backbone):
        for name, module in list(backbone.named_modules()):
            if hasattr(module, "lora_A"):
                parent, _, child = name.rpartition(".")
                setattr(backbone.get_submodule(parent), child, module.get_base_layer())

    monkeypatch.setattr(lora, "merge", drop)
    told = refused(tokenized, scratch_base("llama"), ADAPTERS, tmp_path / "run")
    assert told.startswith("before the first step the model was saved as it will be at the end; loaded again it gives")


def test_a_merge_that_makes_a_circle_is_told_in_one_sentence(tokenized, scratch_base, tmp_path, monkeypatch):
    def circle(backbone):
        backbone.layers[0].register_module("itself", backbone)

    monkeypatch.setattr(lora, "merge", circle)
    told = refused(tokenized, scratch_base("llama"), ADAPTERS, tmp_path / "run")
    assert told.startswith("before the first step, saving it failed: RecursionError: ") and "\n" not in told


def test_a_head_that_is_not_saved_is_seen(tokenized, scratch_base, tmp_path, monkeypatch):
    def save(model, tokenizer, folder):
        saved(model, tokenizer, folder)
        loaded = AutoModelForSequenceClassification.from_pretrained(folder)
        nn.init.normal_(loaded.score.weight)
        loaded.save_pretrained(folder)

    saved = export.save
    monkeypatch.setattr(export, "save", save)
    assert "loaded again" in refused(tokenized, scratch_base("llama"), CONFIG, tmp_path / "run")


def test_a_training_that_goes_on_is_not_rehearsed_again(tokenized, scratch_base, tmp_path, monkeypatch):
    def stop(metrics):
        if metrics.step == 3:
            raise KeyboardInterrupt

    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        loop.fit(tokenized, scratch_base("llama"), CONFIG, COMPUTE, folder, stop)
    assert resume.beside(folder).is_dir()
    monkeypatch.setattr(loop.rehearsal, "rehearse", lambda *_: pytest.fail("rehearsed"))
    assert loop.fit(tokenized, scratch_base("llama"), CONFIG, COMPUTE, folder)


@pytest.mark.parametrize("config", [CONFIG, ADAPTERS], ids=["all weights", "adapters"])
def test_a_mixture_of_experts_is_trained_to_its_end(tokenized, scratch_base, tmp_path, config):
    base, steps = scratch_base("mixtral"), []
    trained = loop.fit(tokenized, base, config, COMPUTE, tmp_path / "run", steps.append)
    assert len(steps) == 4
    model = AutoModelForSequenceClassification.from_pretrained(trained.path)
    untrained = loop._built(base, loop.read_tokenizer(tokenized), CONFIG, ())
    experts = "layers.0.mlp.experts.gate_up_proj"
    change = model.base_model.state_dict()[experts] - untrained.backbone.state_dict()[experts]
    assert change.abs().max() > 0
    if config.lora:
        assert all(torch.linalg.matrix_rank(each, atol=1e-6) <= 4 for each in change)


def test_weights_in_four_bits_are_rehearsed_as_they_are_trained_in_bfloat16(tokenized, scratch_base, tmp_path, caplog):
    options = {"lora": LoraConfig(rank=4, quantize="nf4"), "precision": "bfloat16"}
    assert loop.fit(tokenized, scratch_base("llama"), CONFIG.model_copy(update=options), COMPUTE, tmp_path / "run")
    assert "padded rows" not in caplog.text


def test_adapters_on_weights_in_four_bits_are_trained_and_resumed(tokenized, scratch_base, tmp_path):
    def stop(metrics):
        if metrics.step == 3:
            raise KeyboardInterrupt

    base = scratch_base("llama")
    config = CONFIG.model_copy(update={"lora": LoraConfig(rank=4, quantize="nf4")})
    with pytest.raises(KeyboardInterrupt):
        loop.fit(tokenized, base, config, COMPUTE, tmp_path / "run", stop)
    resumed = loop.fit(tokenized, base, config, COMPUTE, tmp_path / "run")
    whole = loop.fit(tokenized, base, config, COMPUTE, tmp_path / "whole")
    assert resumed.digest == whole.digest
    rounded = loop._built(base, loop.read_tokenizer(tokenized), CONFIG, ()).backbone
    quantization.quantize(rounded)
    quantization.restore(rounded)
    after = AutoModelForSequenceClassification.from_pretrained(whole.path).base_model.state_dict()
    changes = {name: after[name] - value for name, value in rounded.state_dict().items()}
    changed = {name for name, change in changes.items() if change.abs().max() > 1e-6}
    assert len(changed) == 7  # the linear layers of one llama layer
    assert all(torch.linalg.matrix_rank(changes[name], atol=1e-6) <= 4 for name in changed)
