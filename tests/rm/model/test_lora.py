"""Adapters on linear layers and on experts; merged, they leave plain weights that give the same outputs."""

import sys

import pytest
import torch
from transformers import AutoConfig, AutoModel

from rm.errors import ModelError
from rm.model import lora, quantization

SIZES = {
    "vocab_size": 100,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
}
EXPERTS = {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2}
LATENT = {"q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 8}
GROUPED = {"n_routed_experts": 4, "n_shared_experts": 1, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1}
ARCHITECTURES = {
    "llama": {},
    "gpt2": {"n_embd": 16, "n_head": 2, "n_layer": 2},
    "bert": {},
    "mixtral": EXPERTS,
    "qwen3_moe": {**EXPERTS, "moe_intermediate_size": 16, "head_dim": 8},
    "olmoe": EXPERTS,
    "gpt_oss": {**EXPERTS, "head_dim": 8},
    "granitemoe": EXPERTS,
    "deepseek_v3": {**LATENT, **GROUPED, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
}
IDS = torch.tensor([[3, 50, 60, 7, 80, 9], [11, 12, 13, 14, 15, 1]])


def backbone(architecture):
    known = AutoConfig.for_model(architecture).to_dict()
    sizes = {name: value for name, value in {**SIZES, **ARCHITECTURES[architecture]}.items() if name in known}
    torch.manual_seed(0)
    return AutoModel.from_config(AutoConfig.for_model(architecture, **sizes)).eval()


@torch.no_grad()
def disturbed(model):
    """Adapters with something to add; new ones add nothing."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.normal_(std=0.3, generator=generator)
    return model


@torch.no_grad()
def hidden(model):
    return model(IDS, attention_mask=torch.ones_like(IDS)).last_hidden_state


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_merged_adapters_give_what_they_gave_beside_the_weights(architecture):
    model = backbone(architecture)
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    plain = hidden(model)
    lora.add(model, rank=4, alpha=16)
    torch.testing.assert_close(hidden(model), plain)  # new adapters change nothing
    expected = hidden(disturbed(model))
    assert (expected - plain).abs().max() > 0.05
    lora.merge(model)
    assert {name: value.shape for name, value in model.state_dict().items()} == shapes
    torch.testing.assert_close(hidden(model), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture", ["mixtral", "qwen3_moe", "olmoe", "gpt_oss", "granitemoe", "deepseek_v3"])
def test_every_expert_is_adapted(architecture):
    model = backbone(architecture)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    lora.add(model, rank=4, alpha=16)
    lora.merge(disturbed(model))
    after = model.state_dict()
    experts = [name for name, value in before.items() if value.dim() == 3]
    assert len(experts) in {2, 4}  # of one layer or two
    for name in experts:
        assert (after[name] - before[name]).flatten(1).abs().amax(dim=1).min() > 0, name


def test_only_the_named_layers_get_adapters(caplog):
    model = backbone("mixtral")
    with caplog.at_level("INFO", "rm"):
        lora.add(model, rank=4, alpha=16, targets=["q_proj", "gate_up_proj"])
    trained = {name.split(".lora_")[0] for name, each in model.named_parameters() if each.requires_grad}
    assert {name.rpartition(".")[2] for name in trained} == {"q_proj", "experts"}
    sizes = {name: value.numel() for name, value in backbone("mixtral").named_parameters()}
    share = sum(size for name, size in sizes.items() if "q_proj" in name or "gate_up" in name) / sum(sizes.values())
    assert f"on {share:.0%}".replace("%", " %") in caplog.text
    assert "none on layers.mlp.experts.down_proj" in caplog.text and "embed_tokens.weight" in caplog.text


def test_a_target_without_a_layer_is_refused_with_those_there_are():
    with pytest.raises(ModelError, match=r"LlamaModel has no linear layer that ends with 'w1'; it has down_proj, gate"):
        lora.add(backbone("llama"), rank=4, alpha=8, targets=["q_proj", "w1"])


def test_layers_that_cannot_have_adapters_are_refused_in_one_sentence():
    config = AutoConfig.for_model(
        "falcon_h1", **SIZES, mamba_d_ssm=32, mamba_n_heads=4, mamba_d_head=8, mamba_d_state=8
    )
    with pytest.raises(
        ModelError, match=r"^train.lora: FalconH1Model cannot have these adapters: .*train.lora.targets"
    ):
        lora.add(AutoModel.from_config(config), rank=4, alpha=8)
    lora.add(AutoModel.from_config(config), rank=4, alpha=8, targets=["q_proj", "v_proj"])


@pytest.mark.parametrize("architecture", ["llama", "qwen3_moe", "bert"])
def test_what_was_read_in_four_bits_is_what_is_saved(architecture):
    model = backbone(architecture)
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    plain = hidden(model)
    lora.add(model, rank=4, alpha=16, quantized=True)
    rounded = hidden(model)
    assert 0.001 < (rounded - plain).abs().max() < 1  # 4 bits are few
    num_bytes = {type(each).__name__: each.weight.nbytes for each in model.modules() if quantization.is_quantized(each)}
    assert num_bytes  # or nothing would have been quantized
    expected = hidden(disturbed(model))
    assert (expected - rounded).abs().max() > 0.05
    lora.merge(model)
    assert {name: value.shape for name, value in model.state_dict().items()} == shapes
    assert all(value.dtype == torch.float32 for value in model.state_dict().values() if value.is_floating_point())
    torch.testing.assert_close(hidden(model), expected, rtol=1e-4, atol=1e-4)


def test_layers_in_four_bits_without_an_adapter_are_restored_too():
    model = backbone("llama")
    lora.add(model, rank=4, alpha=16, targets=["q_proj"], quantized=True)
    layer = model.layers[0].mlp.up_proj
    assert quantization.is_quantized(layer) and layer.weight.nbytes * 8 == 4 * 16 * 32
    expected = hidden(model)
    lora.merge(model)
    assert not any(quantization.is_quantized(each) for each in model.modules())
    torch.testing.assert_close(hidden(model), expected, rtol=1e-4, atol=1e-5)


def test_without_bitsandbytes_four_bits_are_refused_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(ModelError, match=r"^train.lora.quantize: bitsandbytes is not installed; .*rmflow\[qlora\]"):
        lora.add(backbone("llama"), rank=4, alpha=8, quantized=True)


def kept_bytes(model):
    """Bytes of the activations that a forward pass under autocast keeps for the backward pass."""
    weights = {each.untyped_storage().data_ptr() for each in model.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)  # the tensor, or its place could be used again
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", torch.bfloat16):
        model(torch.arange(1, 33).repeat(1, 8)).last_hidden_state.sum()
    return sum(num_bytes for num_bytes, _ in kept.values())


def test_four_bits_keep_no_more_activations_than_whole_weights():
    plain, quantized = backbone("llama"), backbone("llama")
    lora.add(plain, rank=4, alpha=16)
    lora.add(quantized, rank=4, alpha=16, quantized=True)
    assert kept_bytes(quantized) <= kept_bytes(plain)
