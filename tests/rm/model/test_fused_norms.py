"""Layers whose normalisation torch's kernel computes give what they gave, for each kind of them."""

import copy

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModel

from rm.model.fused_norms import fuse

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": 64,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
FUSED = {"llama": 5, "qwen3": 9, "gemma": 5, "gemma2": 9, "olmo2": 9, "gpt_oss": 5, "bert": 0, "cohere2": 0}


def backbone(model_type):
    torch.manual_seed(0)
    model = AutoModel.from_config(AutoConfig.for_model(model_type, **SMALL)).eval()
    for name, parameter in model.named_parameters():
        if "norm" in name:
            nn.init.normal_(parameter, 0.5, 0.3)  # else Gemma's 0 and Llama's 1 are the same layer
    return model


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("model_type", "num_fused"), FUSED.items())
def test_states_gradients_and_dtypes_stay(model_type, num_fused, precision):
    plain = backbone(model_type)
    fused = backbone(model_type)
    assert fuse(fused) == num_fused
    fused = copy.deepcopy(fused)  # a copy computes with weights of its own
    ids = torch.randint(1, 64, (2, 9), generator=torch.Generator().manual_seed(1))
    found = []
    for model in (plain, fused):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            states = model(ids).last_hidden_state
        states.float().square().mean().backward()
        gradients = {name: each.grad for name, each in model.named_parameters() if each.grad is not None}
        found.append((states.detach(), gradients))
    (states, gradients), (fused_states, fused_gradients) = found
    assert states.dtype == fused_states.dtype
    assert gradients.keys() == fused_gradients.keys()
    most = 1e-5 if precision == torch.float32 else 3e-2
    for one, other in [(states, fused_states), *((gradients[name], fused_gradients[name]) for name in gradients)]:
        assert (one - other).norm() <= most * one.norm() + 1e-6


def test_what_is_saved_stays():
    model = backbone("qwen3")
    before = {name: each.clone() for name, each in model.state_dict().items()}
    fuse(model)
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())


class MyRMSNorm(nn.Module):
    def __init__(self, factor=1.0, weight=None):
        super().__init__()
        self.weight = nn.Parameter(torch.full((16,), 0.7) if weight is None else weight)
        self.eps, self.factor = 1e-6, factor

    def forward(self, states):
        return self.factor * self.weight * states * torch.rsqrt(states.square().mean(-1, keepdim=True) + self.eps)


class ScaledFirstRMSNorm(MyRMSNorm):
    """It scales before it normalises; with equal weights both are the same."""

    def forward(self, states):
        scaled = self.weight * states
        return 0.7 * scaled * torch.rsqrt(scaled.square().mean(-1, keepdim=True) + self.eps)


class EpsilonOutsideRMSNorm(MyRMSNorm):
    def forward(self, states):
        return self.weight * states / (states.square().mean(-1, keepdim=True).sqrt() + self.eps)


class GatedRMSNorm(MyRMSNorm):
    def forward(self, states, gate=None):
        return super().forward(states) * (1 if gate is None else gate)


class TwoWeightsRMSNorm(MyRMSNorm):
    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(16))


def test_a_layer_that_computes_something_else_is_left_as_it_is():
    layer = MyRMSNorm()
    before = layer.weight.detach().clone()
    assert fuse(layer) == 1 and torch.equal(layer.weight, before)
    assert fuse(MyRMSNorm()) == 1
    for other in (
        MyRMSNorm(factor=1.01),
        ScaledFirstRMSNorm(),
        EpsilonOutsideRMSNorm(),
        GatedRMSNorm(),
        TwoWeightsRMSNorm(),
        nn.RMSNorm(16),
        nn.LayerNorm(16),
    ):
        assert fuse(other) == 0
        assert "forward" not in vars(other)


def test_a_fused_layer_can_be_compiled():
    layer = MyRMSNorm()
    states = torch.randn(3, 16)
    expected = layer(states)
    fuse(layer)
    layer.compile(fullgraph=True, backend="eager")
    torch.testing.assert_close(layer(states), expected)
