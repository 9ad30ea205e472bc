import itertools
import math

import numpy as np
import pytest
import torch

from rm import batching
from rm.batching import Pair
from rm.config import TrainConfig
from rm.errors import TrainingError
from rm.layout import Layout
from rm.objective import Objective, attribute_scales
from rm.packing import Reading

CPU = torch.device("cpu")
PACKED = Layout(packed=True, reading=Reading(pooling="last", token_id=None, causal=True))
PADDED = Layout(packed=False, reading=Reading(pooling="last", token_id=None, causal=True))
NAMES = ("helpful", "brief")


def make_rows(seed=0, num_rows=12):
    """Rows whose responses are told apart by their one id; some attributes are missing, some rows have none."""
    generator = np.random.default_rng(seed)
    tags = itertools.count()
    rows = []
    for number in range(num_rows):
        num_responses = int(generator.integers(2, 6))
        every = list(itertools.combinations(range(num_responses), 2))
        picked = generator.permutation(every)[: generator.integers(1, len(every) + 1)].tolist()
        attributes = [
            {name: float(generator.normal(3, 2)) for name in NAMES if generator.random() < 0.6} if number % 4 else {}
            for _ in range(num_responses)
        ]
        rows.append(
            {
                "prompt_id": f"prompt-{number}",
                "prompt_ids": [1] * int(generator.integers(1, 5)),
                "response_ids": [[next(tags)] for _ in range(num_responses)],
                "response_attributes": attributes,
                "comparisons": [
                    {
                        "first": first,
                        "second": second,
                        "preference": float(generator.choice([0, 0.25, 0.5, 1])),
                        "target_margin": float(generator.choice([0, 0.5])),
                        "weight": float(generator.uniform(0.5, 3)),
                    }
                    for first, second in picked
                ],
            }
        )
    return rows


def all_pairs(rows):
    return [
        Pair(group=group, place=place) for group, row in enumerate(rows) for place in range(len(row["comparisons"]))
    ]


def make(rows, num_heads=1, attributes=(), **config):
    scales = attribute_scales(rows, range(len(rows)), attributes)
    return Objective(TrainConfig(**config), rows, num_heads, scales)


def table_of_outputs(rows, objective, seed=1):
    """What a model would say of each response, by its id: (responses, heads)."""
    num_responses = sum(len(row["response_ids"]) for row in rows)
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num_responses, objective.num_heads + len(objective.scales), generator=generator).requires_grad_()


def step_loss(objective, rows, pairs, table, budget, layout=PACKED):
    """The step's loss and its gradient, pass by pass as training takes it, and how many passes that were."""
    passes = batching.divide(rows, pairs, layout, budget)
    norm = objective.norm(passes)
    table.grad = None
    total = 0.0
    for blocks in passes:
        tags = [ids[0] for block in blocks for ids in block.tokens.response_ids]
        loss = objective.loss(table[tags], batching.lay_out(blocks, layout, CPU), blocks, norm)
        assert (loss.shape, loss.dtype) == ((), torch.float32)
        loss.backward()
        total += loss.detach().item()
    return total, table.grad.clone(), len(passes)


def slow_loss(objective, rows, pairs, table):
    """The same from its definition, number by number."""
    config, num_heads, table = objective.config, objective.num_heads, table.detach()

    def log_sigmoid(value):
        return -math.log1p(math.exp(-value))

    total, weights = 0.0, 0.0
    for pair in pairs:
        row = rows[pair.group]
        label = row["comparisons"][pair.place]
        weights += label["weight"]
        for head in range(num_heads):
            first, second = (float(table[row["response_ids"][label[side]][0], head]) for side in ("first", "second"))
            share, margin = label["preference"], label["target_margin"]
            loss = -share * log_sigmoid(first - second - margin)
            loss -= (1 - share) * log_sigmoid(second - first - margin)
            loss += config.centering * (first + second) ** 2
            total += loss * label["weight"] * float(objective.counts[pair.group, head]) / num_heads
    errors = []
    used = {
        (pair.group, rows[pair.group]["comparisons"][pair.place][side])
        for pair in pairs
        for side in ("first", "second")
    }
    for group, response in used:
        found = rows[group]["response_attributes"][response]
        for place, (name, mean, std) in enumerate(objective.scales):
            if name in found:
                said = float(table[rows[group]["response_ids"][response][0], num_heads + place])
                errors.append((said - (found[name] - mean) / std) ** 2)
    return total / weights + (config.attribute_weight * sum(errors) / len(errors) if errors else 0.0)


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
    rows = make_rows()
    pairs = all_pairs(rows)[5:20]
    objective = make(rows, **settings)
    table = table_of_outputs(rows, objective)
    loss, _, num_passes = step_loss(objective, rows, pairs, table, 10_000, layout)
    assert num_passes == 1
    assert loss == pytest.approx(slow_loss(objective, rows, pairs, table), rel=1e-5)


@each_setting
def test_losses_and_gradients_add_up_over_any_passes(settings):
    rows = make_rows()
    objective = make(rows, **settings)
    table = table_of_outputs(rows, objective)
    loss, gradient, _ = step_loss(objective, rows, all_pairs(rows), table, 10_000)
    largest = max(len(row["prompt_ids"]) + len(row["response_ids"]) for row in rows)
    for budget in (largest, 2 * largest, 40):
        parts, gradients, num_passes = step_loss(objective, rows, all_pairs(rows), table, budget)
        assert num_passes > 1
        assert parts == pytest.approx(loss, rel=1e-5)
        torch.testing.assert_close(gradients, gradient, rtol=1e-4, atol=1e-7)


@each_setting
def test_losses_and_gradients_add_up_where_prompts_are_split(settings):
    """A response that is read in two passes must not count twice."""
    rows = make_rows()
    objective = make(rows, **settings)
    table = table_of_outputs(rows, objective)
    loss, gradient, _ = step_loss(objective, rows, all_pairs(rows), table, 10_000)
    parts, gradients, _ = step_loss(objective, rows, all_pairs(rows), table, 6)
    assert parts == pytest.approx(loss, rel=1e-5)
    torch.testing.assert_close(gradients, gradient, rtol=1e-4, atol=1e-7)


def test_a_comparison_counts_by_its_weight_within_the_whole_step():
    rows = make_rows()
    pairs = all_pairs(rows)
    objective = make(rows)
    table = table_of_outputs(rows, objective)
    once = step_loss(objective, rows, pairs, table, 30)[1]
    heavier = [
        {**row, "comparisons": [{**pair, "weight": 8 * pair["weight"]} for pair in row["comparisons"]]} for row in rows
    ]
    torch.testing.assert_close(step_loss(objective, heavier, pairs, table, 30)[1], once)


def test_one_head_counts_every_prompt_once():
    assert torch.equal(make(make_rows(), seed=7).counts, torch.ones(12, 1))


def test_heads_weigh_prompts_by_poisson_counts_of_mean_one():
    counts = Objective(TrainConfig(), [{"prompt_id": str(number)} for number in range(40_000)], 3, []).counts
    assert counts.shape == (40_000, 3)
    assert torch.equal(counts, counts.round()) and counts.min() == 0
    for head in counts.T:
        assert float(head.mean()) == pytest.approx(1, abs=0.02)  # four standard errors
        assert float(head.var()) == pytest.approx(1, abs=0.04)
        assert float((head == 0).float().mean()) == pytest.approx(math.exp(-1), abs=0.01)
    correlation = np.corrcoef(counts.T.numpy())
    assert np.abs(correlation[np.triu_indices(3, 1)]).max() < 0.02  # each head has its own sample


def test_counts_depend_on_seed_and_prompt_alone():
    rows = make_rows()
    torch.manual_seed(0)
    counts = make(rows, num_heads=3, seed=2).counts
    torch.manual_seed(1)
    assert torch.equal(make(make_rows(seed=9), num_heads=3, seed=2, attributes=NAMES).counts, counts)
    assert not torch.equal(make(rows, num_heads=3, seed=3).counts, counts)


def test_a_prompt_that_is_in_no_heads_sample_teaches_nothing():
    rows = make_rows(num_rows=40)
    objective = make(rows, num_heads=2)
    absent = (objective.counts == 0).all(dim=1).nonzero().flatten().tolist()
    assert absent
    table = table_of_outputs(rows, objective)
    _, gradient, _ = step_loss(objective, rows, all_pairs(rows), table, 60)
    for group in range(len(rows)):
        tags = [ids[0] for ids in rows[group]["response_ids"]]
        assert bool((gradient[tags] == 0).all()) == (group in absent)


def test_missing_attributes_contribute_nothing():
    rows = make_rows()
    objective = make(rows, attributes=NAMES)
    table = table_of_outputs(rows, objective)
    loss, gradient, _ = step_loss(objective, rows, all_pairs(rows), table, 40)
    assert math.isfinite(loss) and gradient.isfinite().all()
    num_missing = 0
    for row in rows:
        used = {pair[side] for pair in row["comparisons"] for side in ("first", "second")}
        for response, (ids, found) in enumerate(zip(row["response_ids"], row["response_attributes"], strict=True)):
            for place, name in enumerate(NAMES):
                counts = response in used and name in found
                num_missing += not counts
                assert bool(gradient[ids[0], 1 + place] != 0) == counts
    assert num_missing > 10


def test_a_step_without_any_attribute_value_still_learns_from_its_comparisons():
    rows = make_rows()
    objective, plain = make(rows, attributes=NAMES), make(rows)
    pairs = [pair for pair in all_pairs(rows) if pair.group % 4 == 0]  # those have none
    assert objective.norm(batching.divide(rows, pairs, PACKED, 40)).num_values == 0
    table = table_of_outputs(rows, objective)
    loss, gradient, _ = step_loss(objective, rows, pairs, table, 40)
    assert loss == pytest.approx(slow_loss(plain, rows, pairs, table), rel=1e-5)
    assert (gradient[:, 1:] == 0).all() and gradient.isfinite().all()


@pytest.mark.parametrize("head", [0, 1, 2])
def test_an_output_that_is_no_number_makes_the_loss_none(head):
    """Training stops on such a loss; it must not pass for a missing value."""
    rows = make_rows()
    objective = make(rows, attributes=NAMES)
    table = table_of_outputs(rows, objective).detach()
    table[:, head] = math.nan
    loss, _, _ = step_loss(objective, rows, all_pairs(rows), table.requires_grad_(), 10_000)
    assert not math.isfinite(loss)


def test_targets_are_standard_scores_of_the_responses_to_train_on():
    rows = make_rows(num_rows=30)
    groups = [group for group in range(30) if group % 3]
    scales = attribute_scales(rows, groups, NAMES)
    assert [name for name, _, _ in scales] == list(NAMES)
    objective = Objective(TrainConfig(), rows, 1, scales)
    blocks = [
        batching.Block(
            group=group,
            tokens=batching.TokenGroup(rows[group]["prompt_ids"], rows[group]["response_ids"]),
            comparisons=(),
            responses=tuple(range(len(rows[group]["response_ids"]))),
            attributes=tuple(rows[group]["response_attributes"]),
        )
        for group in groups
    ]
    targets = objective.targets(blocks)
    assert targets.shape == (sum(len(rows[group]["response_ids"]) for group in groups), 2)
    assert np.nanmean(targets, axis=0) == pytest.approx([0, 0], abs=1e-6)
    assert np.nanstd(targets, axis=0) == pytest.approx([1, 1], rel=1e-6)
    flat = [found for group in groups for found in rows[group]["response_attributes"]]
    for row, found in zip(targets, flat, strict=True):
        assert [not math.isnan(value) for value in row] == [name in found for name in NAMES]
    assert scales != attribute_scales(rows, range(30), NAMES)


def test_scales_are_a_mean_and_a_standard_deviation_by_hand():
    rows = [
        {"response_attributes": [{"helpful": 1.0}, {"brief": 5.0, "helpful": 3.0}]},
        {"response_attributes": [{"helpful": 100.0}]},
        {"response_attributes": [{}, {"brief": 9.0}]},
    ]
    assert attribute_scales(rows, [0, 2], NAMES) == [("helpful", 2.0, 1.0), ("brief", 7.0, 2.0)]
    assert attribute_scales(rows, [0, 1, 2], []) == []


@pytest.mark.parametrize(("groups", "found"), [([0], 1), ([2], 0)])
def test_an_attribute_that_never_changes_is_an_error(groups, found):
    rows = [
        {"response_attributes": [{"helpful": 1.0}, {"helpful": 1.0}]},
        {"response_attributes": [{"helpful": 2.0}]},
        {"response_attributes": [{"brief": 2.0}]},
    ]
    with pytest.raises(TrainingError, match=f"model.attributes: 'helpful' has {found} different values"):
        attribute_scales(rows, groups, ["helpful"])
    assert attribute_scales(rows, [0, 1, 2], ["helpful"])
