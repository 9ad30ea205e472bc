import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from rm.data.preferences import Comparison
from rm.errors import TrainingError
from rm.model.batch_layout import BatchLayout
from rm.model.packing import Reading
from rm.model.token_ids import TokenGroup
from rm.tokens.items import TokenizedPrompt
from rm.train import batching
from rm.train.batching import Pair
from rm.train.config import TrainConfig
from rm.train.objective import Objective, attribute_scales

CPU = torch.device("cpu")
PACKED = BatchLayout(packed=True, reading=Reading(pooling="last", token_id=None, causal=True))
PADDED = BatchLayout(packed=False, reading=Reading(pooling="last", token_id=None, causal=True))
NAMES = ("helpful", "brief")


def make_prompt(prompt_id="prompt", prompt_ids=(), response_ids=(), response_attributes=(), comparisons=()):
    return TokenizedPrompt(
        prompt_id=prompt_id,
        prompt_ids=prompt_ids,
        response_ids=response_ids,
        comparisons=comparisons,
        response_attributes=response_attributes,
        response_indices=range(len(response_ids)),
    )


def make_prompts(seed=0, num_prompts=12):
    """Prompts whose responses are told apart by their one id; some attributes are missing, some prompts have none."""
    generator = np.random.default_rng(seed)
    tags = itertools.count()
    prompts = []
    for number in range(num_prompts):
        num_responses = int(generator.integers(2, 6))
        every = list(itertools.combinations(range(num_responses), 2))
        picked = generator.permutation(every)[: generator.integers(1, len(every) + 1)].tolist()
        attributes = [
            {name: float(generator.normal(3, 2)) for name in NAMES if generator.random() < 0.6} if number % 4 else {}
            for _ in range(num_responses)
        ]
        prompts.append(
            make_prompt(
                prompt_id=f"prompt-{number}",
                prompt_ids=[1] * int(generator.integers(1, 5)),
                response_ids=[[next(tags)] for _ in range(num_responses)],
                response_attributes=attributes,
                comparisons=[
                    Comparison(
                        first=first,
                        second=second,
                        preference=float(generator.choice([0, 0.25, 0.5, 1])),
                        target_margin=float(generator.choice([0, 0.5])),
                        weight=float(generator.uniform(0.5, 3)),
                        num_judgements=1,
                    )
                    for first, second in picked
                ],
            )
        )
    return prompts


def all_pairs(prompts):
    return [
        Pair(prompt=number, comparison=index)
        for number, prompt in enumerate(prompts)
        for index in range(len(prompt.comparisons))
    ]


def make(prompts, num_heads=1, attributes=(), **config):
    scales = attribute_scales(prompts, attributes)
    return Objective(TrainConfig(**config), prompts, num_heads, scales)


def table_of_outputs(prompts, objective, seed=1):
    """What a model would say of each response, by its id: (responses, heads)."""
    num_responses = sum(len(prompt.response_ids) for prompt in prompts)
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num_responses, objective.num_heads + len(objective.scales), generator=generator).requires_grad_()


def step_loss(objective, prompts, pairs, table, budget, layout=PACKED):
    """The step's loss and its gradient, pass by pass as training takes it, and how many passes that were."""
    division = batching.divide(prompts, pairs, layout, budget)
    norm = objective.norm(division.blocks)
    table.grad = None
    total = 0.0
    for blocks in division.passes:
        tags = [ids[0] for block in blocks for ids in block.tokens.response_ids]
        loss = objective.loss(table[tags], batching.lay_out(blocks, layout, CPU).compared, blocks, norm)
        assert (loss.shape, loss.dtype) == ((), torch.float32)
        loss.backward()
        total += loss.detach().item()
    return total, table.grad.clone(), len(division.passes)


def slow_loss(objective, prompts, pairs, table):
    """The same from its definition, number by number."""
    settings, num_heads, table = objective.settings, objective.num_heads, table.detach()

    def log_sigmoid(value):
        return -math.log1p(math.exp(-value))

    total, weights = 0.0, 0.0
    used = set()
    for pair in pairs:
        prompt = prompts[pair.prompt]
        label = prompt.comparisons[pair.comparison]
        sides = label.first, label.second
        used |= {(pair.prompt, response) for response in sides}
        weights += label.weight
        for head in range(num_heads):
            first, second = (float(table[prompt.response_ids[response][0], head]) for response in sides)
            share, margin = label.preference, label.target_margin
            loss = -share * log_sigmoid(first - second - margin)
            loss -= (1 - share) * log_sigmoid(second - first - margin)
            loss += settings.centering * (first + second) ** 2
            total += loss * label.weight * float(objective.counts[pair.prompt, head]) / num_heads
    errors = []
    for number, response in used:
        found = prompts[number].response_attributes[response]
        for index, (name, mean, std) in enumerate(objective.scales):
            if name in found:
                said = float(table[prompts[number].response_ids[response][0], num_heads + index])
                errors.append((said - (found[name] - mean) / std) ** 2)
    return total / weights + (settings.attribute_weight * sum(errors) / len(errors) if errors else 0.0)


SETTINGS = {
    "plain": {},
    "centering": {"centering": 0.3},
    "heads": {"num_heads": 3},
    "attributes": {"attributes": NAMES, "attribute_weight": 0.7},
    "everything": {"num_heads": 2, "attributes": NAMES, "attribute_weight": 2.0, "centering": 0.1, "seed": 4},
}
each_setting = pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)


@each_setting
@pytest.mark.parametrize("layout", [PACKED, PADDED], ids=["packed", "padded"])
def test_the_loss_of_a_step_matches_a_slow_loop(settings, layout):
    prompts = make_prompts()
    pairs = all_pairs(prompts)[5:20]
    objective = make(prompts, **settings)
    table = table_of_outputs(prompts, objective)
    loss, _, num_passes = step_loss(objective, prompts, pairs, table, 10_000, layout)
    assert num_passes == 1
    assert loss == pytest.approx(slow_loss(objective, prompts, pairs, table), rel=1e-5)


@each_setting
def test_losses_and_gradients_add_up_over_any_passes(settings):
    prompts = make_prompts()
    objective = make(prompts, **settings)
    table = table_of_outputs(prompts, objective)
    loss, gradient, _ = step_loss(objective, prompts, all_pairs(prompts), table, 10_000)
    largest = max(len(prompt.prompt_ids) + len(prompt.response_ids) for prompt in prompts)
    for budget in (largest, 2 * largest, 40):
        parts, gradients, num_passes = step_loss(objective, prompts, all_pairs(prompts), table, budget)
        assert num_passes > 1
        assert parts == pytest.approx(loss, rel=1e-5)
        torch.testing.assert_close(gradients, gradient, rtol=1e-4, atol=1e-7)


@each_setting
def test_losses_and_gradients_add_up_where_prompts_are_split(settings):
    """A response that is read in two passes must not count twice."""
    prompts = make_prompts()
    objective = make(prompts, **settings)
    table = table_of_outputs(prompts, objective)
    loss, gradient, _ = step_loss(objective, prompts, all_pairs(prompts), table, 10_000)
    parts, gradients, _ = step_loss(objective, prompts, all_pairs(prompts), table, 6)
    assert parts == pytest.approx(loss, rel=1e-5)
    torch.testing.assert_close(gradients, gradient, rtol=1e-4, atol=1e-7)


def test_a_comparison_counts_by_its_weight_within_the_whole_step():
    prompts = make_prompts()
    pairs = all_pairs(prompts)
    objective = make(prompts)
    table = table_of_outputs(prompts, objective)
    once = step_loss(objective, prompts, pairs, table, 30)[1]
    heavier = [
        replace(prompt, comparisons=[replace(pair, weight=8 * pair.weight) for pair in prompt.comparisons])
        for prompt in prompts
    ]
    torch.testing.assert_close(step_loss(objective, heavier, pairs, table, 30)[1], once)


def test_one_head_counts_every_prompt_once():
    assert torch.equal(make(make_prompts(), seed=7).counts, torch.ones(12, 1))


def test_heads_weigh_prompts_by_poisson_counts_of_mean_one():
    counts = Objective(TrainConfig(), [make_prompt(str(number)) for number in range(40_000)], 3, []).counts
    assert counts.shape == (40_000, 3)
    assert torch.equal(counts, counts.round()) and counts.min() == 0
    for head in counts.T:
        assert float(head.mean()) == pytest.approx(1, abs=0.02)  # four standard errors
        assert float(head.var()) == pytest.approx(1, abs=0.04)
        assert float((head == 0).float().mean()) == pytest.approx(math.exp(-1), abs=0.01)
    correlation = np.corrcoef(counts.T.numpy())
    assert np.abs(correlation[np.triu_indices(3, 1)]).max() < 0.02  # each head has its own sample


def test_counts_depend_on_seed_and_prompt_alone():
    prompts = make_prompts()
    torch.manual_seed(0)
    counts = make(prompts, num_heads=3, seed=2).counts
    torch.manual_seed(1)
    assert torch.equal(make(make_prompts(seed=9), num_heads=3, seed=2, attributes=NAMES).counts, counts)
    assert not torch.equal(make(prompts, num_heads=3, seed=3).counts, counts)


def test_a_prompt_that_is_in_no_heads_sample_teaches_nothing():
    prompts = make_prompts(num_prompts=40)
    objective = make(prompts, num_heads=2)
    absent = (objective.counts == 0).all(dim=1).nonzero().flatten().tolist()
    assert absent
    table = table_of_outputs(prompts, objective)
    _, gradient, _ = step_loss(objective, prompts, all_pairs(prompts), table, 60)
    for number, prompt in enumerate(prompts):
        tags = [ids[0] for ids in prompt.response_ids]
        assert bool((gradient[tags] == 0).all()) == (number in absent)


def test_missing_attributes_contribute_nothing():
    prompts = make_prompts()
    objective = make(prompts, attributes=NAMES)
    table = table_of_outputs(prompts, objective)
    loss, gradient, _ = step_loss(objective, prompts, all_pairs(prompts), table, 40)
    assert math.isfinite(loss) and gradient.isfinite().all()
    num_missing = 0
    for prompt in prompts:
        used = {response for pair in prompt.comparisons for response in (pair.first, pair.second)}
        for response, (ids, found) in enumerate(zip(prompt.response_ids, prompt.response_attributes, strict=True)):
            for index, name in enumerate(NAMES):
                counts = response in used and name in found
                num_missing += not counts
                assert bool(gradient[ids[0], 1 + index] != 0) == counts
    assert num_missing > 10


def test_a_step_without_any_attribute_value_still_learns_from_its_comparisons():
    prompts = make_prompts()
    objective, plain = make(prompts, attributes=NAMES), make(prompts)
    pairs = [pair for pair in all_pairs(prompts) if pair.prompt % 4 == 0]  # those have none
    assert objective.norm(batching.divide(prompts, pairs, PACKED, 40).blocks).num_values == 0
    table = table_of_outputs(prompts, objective)
    loss, gradient, _ = step_loss(objective, prompts, pairs, table, 40)
    assert loss == pytest.approx(slow_loss(plain, prompts, pairs, table), rel=1e-5)
    assert (gradient[:, 1:] == 0).all() and gradient.isfinite().all()


@pytest.mark.parametrize("head", [0, 1, 2])
def test_an_output_that_is_no_number_makes_the_loss_none(head):
    """Training stops on such a loss; it must not pass for a missing value."""
    prompts = make_prompts()
    objective = make(prompts, attributes=NAMES)
    table = table_of_outputs(prompts, objective).detach()
    table[:, head] = math.nan
    loss, _, _ = step_loss(objective, prompts, all_pairs(prompts), table.requires_grad_(), 10_000)
    assert not math.isfinite(loss)


def test_targets_are_standard_scores_of_the_responses_to_train_on():
    every = make_prompts(num_prompts=30)
    prompts = [prompt for number, prompt in enumerate(every) if number % 3]
    scales = attribute_scales(prompts, NAMES)
    assert [name for name, _, _ in scales] == list(NAMES)
    objective = Objective(TrainConfig(), prompts, 1, scales)
    blocks = [
        batching.Block(
            prompt=number,
            tokens=TokenGroup(prompt.prompt_ids, prompt.response_ids),
            comparisons=(),
            responses=tuple(range(len(prompt.response_ids))),
            attributes=tuple(prompt.response_attributes),
        )
        for number, prompt in enumerate(prompts)
    ]
    targets = objective.targets(blocks)
    assert targets.shape == (sum(len(prompt.response_ids) for prompt in prompts), 2)
    assert np.nanmean(targets, axis=0) == pytest.approx([0, 0], abs=1e-6)
    assert np.nanstd(targets, axis=0) == pytest.approx([1, 1], rel=1e-6)
    flat = [found for prompt in prompts for found in prompt.response_attributes]
    for values, found in zip(targets, flat, strict=True):
        assert [not math.isnan(value) for value in values] == [name in found for name in NAMES]
    assert scales != attribute_scales(every, NAMES)


def test_scales_are_a_mean_and_a_standard_deviation_by_hand():
    prompts = [
        make_prompt(response_attributes=[{"helpful": 1.0}, {"brief": 5.0, "helpful": 3.0}]),
        make_prompt(response_attributes=[{"helpful": 100.0}]),
        make_prompt(response_attributes=[{}, {"brief": 9.0}]),
    ]
    assert attribute_scales([prompts[0], prompts[2]], NAMES) == [("helpful", 2.0, 1.0), ("brief", 7.0, 2.0)]
    assert attribute_scales(prompts, []) == []


@pytest.mark.parametrize(("number", "found"), [(0, 1), (2, 0)])
def test_an_attribute_that_never_changes_is_an_error(number, found):
    prompts = [
        make_prompt(response_attributes=[{"helpful": 1.0}, {"helpful": 1.0}]),
        make_prompt(response_attributes=[{"helpful": 2.0}]),
        make_prompt(response_attributes=[{"brief": 2.0}]),
    ]
    with pytest.raises(TrainingError, match=f"model.attributes: 'helpful' has {found} different values"):
        attribute_scales([prompts[number]], ["helpful"])
    assert attribute_scales(prompts, ["helpful"])
