import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModel

from rm.model.architecture import portable
from rm.model.packing import pack
from rm.model.padding import pad
from rm.model.reward_model import RewardModel, RewardModelConfig, without_dropout
from rm.model.token_ids import TokenGroup

SIZES = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4}
DECODER = {**SIZES, "num_key_value_heads": 2, "head_dim": 8}
ARCHITECTURES = {
    "llama": DECODER,
    "qwen3": DECODER,
    "gemma3_text": DECODER,
    "mixtral": {**DECODER, "num_local_experts": 3},
    "gpt2": {"n_embd": 24, "n_layer": 2, "n_head": 4},
    "gpt_neox": SIZES,
    "modernbert": {**SIZES, "local_attention": 256},
    "bert": SIZES,
}
GROUPS = [
    TokenGroup([16, 17, 18], [[20, 21], [22], [23, 24, 25]]),
    TokenGroup([30], [[31, 32, 33, 34]]),
    TokenGroup([40, 41, 42, 43], [[44], [45, 46]]),
]


def build(architecture, pooling="last", sizes=None):
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 3, "sep_token_id": 4}
    known = AutoConfig.for_model(architecture).to_dict()
    special = {key: value for key, value in special.items() if key in known}
    config = AutoConfig.for_model(architecture, **(sizes or ARCHITECTURES[architecture]), **special, vocab_size=60)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = AutoModel.from_config(config)
        for parameter in backbone.parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=0.4)
            else:
                parameter.data += 0.2 * torch.randn_like(parameter)
        model = RewardModel(RewardModelConfig(backbone=portable(config), pooling=pooling, pad_token_id=0), backbone)
        nn.init.normal_(model.score.weight)
    without_dropout(model)
    return model.train()


def trimmed_parts(model):
    """What hooks were put on, by name."""
    return {name: part for name, part in model.backbone.named_modules() if part._forward_pre_hooks}


def read(model, sequences):
    model.zero_grad()
    rewards = model.outputs(sequences)
    (rewards * torch.arange(1.0, len(rewards) + 1).unsqueeze(1)).sum().backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    return rewards.detach(), gradients


def assert_same(one, other):
    torch.testing.assert_close(one[0], other[0], rtol=1e-5, atol=1e-6)
    assert one[1].keys() == other[1].keys()
    largest = max(gradient.norm() for gradient in other[1].values())
    for name, gradient in other[1].items():
        assert (one[1][name] - gradient).norm() <= 1e-5 * gradient.norm() + 1e-6 * largest, name


@pytest.mark.parametrize("checkpointing", [False, True], ids=["", "gradient checkpointing"])
@pytest.mark.parametrize("pooling", ["last", "mean_response", "mean"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_rewards_and_gradients_are_those_without_hooks(architecture, pooling, checkpointing):
    model = build(architecture, pooling)
    packed = pack(GROUPS, model.config.reading())
    if checkpointing:
        model.backbone.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    trimmed = read(model, packed)
    for part in trimmed_parts(model).values():
        part._forward_pre_hooks.clear()
        part._forward_hooks.clear()
    whole = read(model, packed)
    assert whole[0].std() > 0.1
    assert_same(trimmed, whole)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_only_parts_of_the_last_layer_read_less_and_only_in_packed_rows(architecture):
    model = build(architecture)
    packed = pack(GROUPS, model.config.reading())
    seen = []
    parts = trimmed_parts(model)
    assert parts
    last = model.backbone.config.num_hidden_layers - 1
    assert all(f".{last}." in f".{name}." for name in parts)
    for part in parts.values():
        # After the model's own hooks, so that what the module itself reads is seen.
        part.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[:2])))
    model.outputs(packed)
    assert seen == [(1, 6)] * len(parts)
    seen.clear()
    padded = pad([sequence for group in GROUPS for sequence in group.sequences()])
    model.outputs(padded)
    model(padded.input_ids, padded.attention_mask)
    assert seen == [tuple(padded.input_ids.shape)] * 2 * len(parts)


def test_padded_rows_are_read_whole_after_packed_ones():
    model = build("llama", "mean")
    padded = pad([sequence for group in GROUPS for sequence in group.sequences()])
    before = model.outputs(padded)
    model.outputs(pack(GROUPS[:1], model.config.reading()))
    assert torch.equal(model.outputs(padded), before)
    assert torch.equal(model(padded.input_ids, padded.attention_mask).logits, before)


def test_a_backbone_without_such_a_part_is_left_as_it_is():
    model = build("distilbert", sizes={"dim": 16, "hidden_dim": 32, "n_layers": 2, "n_heads": 2})
    assert not any(part._forward_pre_hooks or part._forward_hooks for part in model.backbone.modules())
    packed = pack(GROUPS, model.config.reading())
    assert model.outputs(packed).shape == (6, 1)
