"""The balance of experts is what transformers computes from padded rows, whatever the layout."""

import importlib

import pytest
import torch
from transformers import AutoConfig, AutoModel

from rm.model import batch_layout
from rm.model.batch_layout import BatchLayout
from rm.model.reward_model import with_new_heads
from rm.model.token_ids import TokenGroup
from tests.rm.model.test_lora import ARCHITECTURES, SIZES

GROUPS = [
    TokenGroup([5, 6, 7, 8, 9, 10], [[11, 12, 13, 14, 1], [11, 12, 30, 1], [40, 1]]),
    TokenGroup([50, 51], [[60, 61, 62, 63, 64, 65, 66, 1], [70, 1]]),
    TokenGroup([80], [[81, 1]]),
]


def reward_model(architecture):
    known = AutoConfig.for_model(architecture).to_dict()
    sizes = {name: value for name, value in {**SIZES, **ARCHITECTURES[architecture]}.items() if name in known}
    torch.manual_seed(0)
    backbone = AutoModel.from_config(AutoConfig.for_model(architecture, **sizes))
    with torch.no_grad():
        for name, parameter in backbone.named_parameters():
            if parameter.ndim > 1 and "embed" not in name:
                parameter.normal_(std=1.5 / parameter.shape[-1] ** 0.5)
    return with_new_heads(backbone, pad_token_id=0, seed=0)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("architecture", ["mixtral", "qwen3_moe", "olmoe", "granitemoe"])
def test_the_imbalance_and_its_gradient_are_transformers(architecture, packed):
    model = reward_model(architecture)
    assert batch_layout.choose(model, 64).packed
    rows = BatchLayout(packed=False, reading=model.config.reading()).lay_out(GROUPS)
    module = importlib.import_module(f"transformers.models.{architecture}.modeling_{architecture}")
    logits = model.backbone(
        input_ids=rows.input_ids, attention_mask=rows.attention_mask, output_router_logits=True
    ).router_logits
    expected = module.load_balancing_loss_func(tuple(logits), logits[0].shape[-1], 2, rows.attention_mask)
    gates = [parameter for name, parameter in model.named_parameters() if ".gate.weight" in name or "router" in name]
    gradients = torch.autograd.grad(expected, gates)

    sequences = BatchLayout(packed=packed, reading=model.config.reading()).lay_out(GROUPS)
    with model.routing.recorded() as recorded:
        model.outputs(sequences)
    found = model.routing.imbalance(recorded, sequences)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    for one, other in zip(torch.autograd.grad(found, gates), gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_rewards_are_the_same_while_it_records():
    model = reward_model("mixtral")
    sequences = BatchLayout(packed=True, reading=model.config.reading()).lay_out(GROUPS)
    expected = model.outputs(sequences)
    with model.routing.recorded():
        torch.testing.assert_close(model.outputs(sequences), expected)
    torch.testing.assert_close(model.outputs(sequences), expected)


def test_a_model_without_experts_has_no_routers():
    assert not reward_model("llama").routing


def test_routers_of_several_kinds_are_left_alone():
    torch.manual_seed(0)
    sizes = {"vocab_size": 100, "hidden_size": 16, "num_hidden_layers": 1, "num_key_value_heads": 2, "kv_channels": 8}
    config = AutoConfig.for_model("jetmoe", **sizes, intermediate_size=16, num_local_experts=2, num_experts_per_tok=2)
    assert not with_new_heads(AutoModel.from_config(config), pad_token_id=0, seed=0).routing
