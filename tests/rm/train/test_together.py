"""Comparisons read in pieces have the gradient of those read whole, in any number of processes."""

import copy
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModel

from rm.data.preferences import Comparison
from rm.errors import TrainingError
from rm.model.batch_layout import BatchLayout
from rm.model.reward_model import RewardModel, with_new_heads
from rm.tokens.items import TokenizedPrompt
from rm.train import batching
from rm.train.config import TrainConfig
from rm.train.distributed import World
from rm.train.objective import Objective, attribute_scales
from rm.train.step import Stepper

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "vocab_size": 64,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
SMALL, LARGE = 24, 10_000
CONTROLLED = {"controlled": ("length", "bold")}
CONTROL = (1.5, -0.5, 1.0, 0.0, 0.0, 1.0)
"""State of a control: two coefficients and their information."""


@dataclass
class Shared:
    """What some threads add up together."""

    size: int
    values: dict = field(default_factory=dict)
    barrier: threading.Barrier = None

    def __post_init__(self):
        self.barrier = threading.Barrier(self.size, timeout=60)


@dataclass(frozen=True, kw_only=True)
class ThreadWorld(World):
    """Processes that are threads, which is faster to start; gloo is tried in `test_launch`."""

    shared: Shared

    def sum_gradients(self, parameters):
        for parameter in parameters:
            if self.any_rank(parameter.grad is not None):
                parameter.grad = self.sum(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)

    def sum(self, values):
        self.shared.values[self.rank] = values.clone()
        self.shared.barrier.wait()
        values.copy_(sum(self.shared.values[rank] for rank in range(self.size)))
        self.shared.barrier.wait()
        return values


def make_prompts(seed=0):
    """Prompts of 6 to 12 tokens with 2 to 5 responses of 2 to 11; most pairs take more than `SMALL` tokens."""
    rng = np.random.default_rng(seed)
    prompts = []
    for number in range(6):
        num_responses = 2 + number % 4
        every = [(first, second) for first in range(num_responses) for second in range(first)]
        prompts.append(
            TokenizedPrompt(
                prompt_id=f"prompt-{number}",
                prompt_ids=rng.integers(1, 64, rng.integers(6, 13)),
                response_ids=[rng.integers(1, 64, rng.integers(2, 12)) for _ in range(num_responses)],
                comparisons=[
                    Comparison(
                        first=first,
                        second=second,
                        preference=float(rng.choice([0, 0.25, 0.5, 1])),
                        target_margin=0.5,
                        weight=float(rng.uniform(0.5, 3)),
                        num_judgements=1,
                    )
                    for first, second in every
                ],
                response_attributes=[
                    {"kind": float(rng.normal())} if response else {} for response in range(num_responses)
                ],
                response_indices=list(range(num_responses)),
                controlled=np.random.default_rng(number).normal(size=(len(every), 2)).astype(np.float32),
            )
        )
    return prompts


def make_model(architecture, num_heads=1, scales=()):
    torch.manual_seed(0)
    experts = {"num_local_experts": 4, "num_experts_per_tok": 2, "num_key_value_heads": 4}
    extra = experts if architecture == "mixtral" else {}
    backbone = AutoModel.from_config(AutoConfig.for_model(architecture, **SIZES, **extra))
    pooling = "mean" if architecture == "bert" else "last"
    return with_new_heads(backbone, pad_token_id=0, seed=0, num_heads=num_heads, attributes=scales, pooling=pooling)


def gradients(model, prompts, budget, world=None, packed=True, **options):
    """The gradient of one step over all pairs, and the step's sums."""
    scales = attribute_scales(prompts, ["kind"]) if model.config.attributes else ()
    config = TrainConfig(centering=0.1, **options)
    layout = BatchLayout(packed=packed, reading=model.config.reading())
    objective = Objective(config, prompts, model.config.num_heads, scales)
    if config.remedies.controlled:
        objective.control.restore(CONTROL)
    else:
        prompts = [replace(prompt, controlled=None) for prompt in prompts]
    optimizer, world = torch.optim.AdamW(model.parameters()), world or World()
    stepper = Stepper(model, optimizer, config, layout, objective, prompts, 1, budget, world)
    pairs = batching.all_pairs(batching.count_pairs(prompts))
    totals, num_tokens = stepper._gradients(1, pairs)
    world.sum(totals)
    found = {name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None}
    return found, totals, num_tokens, stepper.tokens_per_batch


def in_threads(model, prompts, budget, size, **options):
    shared = Shared(size)

    def run(rank):
        world = ThreadWorld(rank=rank, size=size, shared=shared)
        return gradients(copy.deepcopy(model), prompts, budget, world, **options)

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(run, range(size)))


def assert_same(found, expected):
    assert found[0].keys() == expected[0].keys()
    for name, gradient in expected[0].items():
        torch.testing.assert_close(found[0][name], gradient, rtol=2e-4, atol=1e-6)
    torch.testing.assert_close(found[1], expected[1], rtol=1e-5, atol=1e-6)


CASES = {
    "decoder": ("llama", True, {}),
    "decoder, padded": ("llama", False, {}),
    "encoder": ("bert", True, {}),
    "three heads": ("llama", True, {"num_heads": 3}),
    "attributes": ("llama", True, {"scales": attribute_scales(make_prompts(), ["kind"])}),
}
each_case = pytest.mark.parametrize(("architecture", "packed", "heads"), CASES.values(), ids=CASES)


@each_case
def test_pieces_one_after_another_have_the_gradient_of_the_whole(architecture, packed, heads):
    model, prompts = make_model(architecture, **heads), make_prompts()
    expected = gradients(model, prompts, LARGE, packed=packed)
    found = gradients(model, prompts, SMALL, packed=packed)
    assert_same(found, expected)
    layout = BatchLayout(packed=packed, reading=model.config.reading())
    division = batching.divide(prompts, batching.all_pairs(batching.count_pairs(prompts)), layout, SMALL)
    assert len(division.spread) >= 3
    assert found[2] == division.num_tokens(layout)


@pytest.mark.parametrize("size", [2, 3, 7])
@each_case
def test_pieces_in_several_processes_have_the_gradient_of_the_whole(architecture, packed, heads, size):
    model, prompts = make_model(architecture, **heads), make_prompts()
    expected = gradients(model, prompts, LARGE, packed=packed)
    for found in in_threads(model, prompts, SMALL, size, packed=packed):
        assert_same(found, expected)


def test_pieces_of_which_each_has_its_process_are_read_once(monkeypatch):
    model, every = make_model("llama"), make_prompts()
    layout = BatchLayout(packed=True, reading=model.config.reading())
    pairs = batching.all_pairs(batching.count_pairs(every))
    spread = batching.divide(every, pairs, layout, SMALL).spread
    prompts = [next(every[each.whole.prompt] for each in spread if len(each.pieces) == 2)]
    read, real = [], RewardModel.outputs

    def outputs(self, sequences):
        read.append(torch.is_grad_enabled())
        return real(self, sequences)

    monkeypatch.setattr(RewardModel, "outputs", outputs)
    in_threads(model, prompts, SMALL, 2)
    assert read == [True, True]
    read.clear()
    gradients(model, prompts, SMALL)
    assert read == [False, False, True, True]


def test_the_experts_imbalance_counts_once():
    model, prompts = make_model("mixtral"), make_prompts()
    expected = gradients(model, prompts, SMALL, router_aux=0.3)
    without = gradients(copy.deepcopy(model), prompts, SMALL)
    assert expected[1][0] > without[1][0] + 0.1
    for found in in_threads(model, prompts, SMALL, 2, router_aux=0.3):
        torch.testing.assert_close(found[1], expected[1], rtol=0.02, atol=1e-6)  # other passes, of other tokens


@pytest.mark.parametrize("budget", [SMALL, 60])
def test_controlled_features_do_not_depend_on_passes_and_processes(budget):
    model, prompts = make_model("llama", num_heads=2), make_prompts()
    expected = gradients(model, prompts, LARGE, remedies=CONTROLLED)
    assert len(expected[1]) == 4 + 2 + 4
    assert_same(gradients(model, prompts, budget, remedies=CONTROLLED), expected)
    for found in in_threads(model, prompts, budget, 3, remedies=CONTROLLED):
        assert_same(found, expected)


def test_what_controlled_features_explain_is_added_to_the_difference_of_rewards():
    model, prompts = make_model("llama"), make_prompts()
    found, totals, *_ = gradients(model, prompts, SMALL, remedies=CONTROLLED)

    def reward(prompt, index):
        ids = torch.tensor([[*prompt.prompt_ids, *prompt.response_ids[index]]])
        return model(input_ids=ids).logits[0, 0]

    model.zero_grad()
    losses, weights = [], []
    for prompt in prompts:
        for pair, (one, other) in zip(prompt.comparisons, prompt.controlled.tolist(), strict=True):
            first, second = reward(prompt, pair.first), reward(prompt, pair.second)
            explained = first - second + 1.5 * one - 0.5 * other
            sides = torch.nn.functional.logsigmoid(torch.stack([explained, -explained]) - 0.5)
            votes = -pair.preference * sides[0] - (1 - pair.preference) * sides[1]
            losses.append(pair.weight * (votes + 0.1 * (first + second) ** 2))
            weights.append(pair.weight)
    loss = torch.stack(losses).sum() / sum(weights)
    loss.backward()
    assert float(totals[0]) == pytest.approx(loss.item(), rel=1e-4)
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(found[name], parameter.grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("with_gradients", [True, False])
@pytest.mark.parametrize("at", [0, 1])
def test_a_process_out_of_memory_tells_the_others(at, with_gradients, monkeypatch):
    """None waits for ever. The budget is what the longest response needs, so that all of them end."""
    model, prompts = make_model("llama"), make_prompts()
    calls, real = [], RewardModel.outputs

    def outputs(self, sequences):
        if torch.is_grad_enabled() == with_gradients and threading.current_thread().name.endswith("_1"):
            calls.append(None)
            if len(calls) == at + 1:
                raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(self, sequences)

    monkeypatch.setattr(RewardModel, "outputs", outputs)
    shared, told = Shared(2), []
    longest = max(map(batching.longest, prompts))

    def run(rank):
        with pytest.raises(TrainingError, match="step 1: out of memory, and less is not enough") as raised:
            gradients(copy.deepcopy(model), prompts, longest, ThreadWorld(rank=rank, size=2, shared=shared))
        told.append(str(raised.value))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, range(2)))
    assert len(calls) == at + 1 and len(told) == 2 and told[0] == told[1]


def test_with_sharded_parameters_a_process_out_of_memory_does_not_wait(monkeypatch):
    """The others wait for its part of a layer, so that a message to them would never be answered."""
    model, prompts = make_model("llama"), make_prompts()
    asked = []
    monkeypatch.setattr(World, "sum", lambda _, values: asked.append(values) or values)
    monkeypatch.setattr(World, "sum_gradients", lambda *_: asked.append("gradients"))

    def outputs(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(RewardModel, "outputs", outputs)
    with pytest.raises(TrainingError, match="with sharded parameters the budget cannot be halved"):
        gradients(model, prompts, SMALL, World(size=2, sharded=True))
    assert not asked


def test_out_of_memory_lowers_the_budget_to_what_the_longest_response_needs(monkeypatch):
    model, prompts = make_model("llama"), make_prompts()
    expected = gradients(model, prompts, LARGE)
    longest, real, failed = max(map(batching.longest, prompts)), RewardModel.outputs, []

    def outputs(self, sequences):
        if not failed:
            failed.append(True)
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(self, sequences)

    monkeypatch.setattr(RewardModel, "outputs", outputs)
    found = gradients(model, prompts, longest + 5)
    assert_same(found, expected)
    assert found[3] == longest
