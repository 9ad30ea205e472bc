from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rm.data.preferences import Message
from rm.probes import allocation, context
from rm.probes.allocation import allocate
from rm.probes.catalog import HARD_PROBES, MIN_EDITS, PROBES
from rm.probes.config import ProbeConfig
from rm.probes.context import Parent
from rm.probes.variants import variants
from tests.rm import biased_scorers, toy_world

KEYWORDS = ("wonderful",)


@pytest.fixture(scope="module")
def candidates():
    return context.parents(toy_world.generate(500, 1, seed=5))


@pytest.fixture(scope="module")
def shared_out(candidates):
    """With the default budget."""
    return allocate(candidates, PROBES, ProbeConfig(keywords=KEYWORDS))


def parent(number, response="It is right. That is all. There is no more."):
    return Parent(prompt_id=f"{number:032d}", prompt=(Message("user", f"Question {number}?"),), response=response)


def read(allocated):
    """Characters of each parent's prompt and response, and of what stands after the first change of each edit; 60 more
    for each response."""
    parents = [sum(len(turn.content) for turn in one.prompt) + len(one.response) + 60 for one in allocated.parents]
    edits, bases = 0, set()
    for variant in allocated.variants:
        if variant.response is None:
            continue
        one = allocated.parents[variant.parent]
        equal = 0
        if variant.prompt is None:
            pairs = zip(one.response, variant.response, strict=False)
            equal = [*(left == right for left, right in pairs), False].index(False)
        edits += sum(len(turn.content) for turn in variant.prompt or ()) + len(variant.response) - equal + 60
        if variant.base_prompt is not None:
            bases.add((variant.parent, variant.base_prompt))
    lengths = [sum(len(t.content) for t in prompt) + len(allocated.parents[at].response) + 60 for at, prompt in bases]
    return sum(parents), edits + sum(lengths)


def nums_edited(allocated):
    """Of each probe, the parents to which its strongest dose applies."""
    last = {(v.probe, v.parent): v.response is not None for v in allocated.variants if v.arm == "edit"}
    return Counter(probe for (probe, _), applies in last.items() if applies)


@given(st.floats(1.01, 40), st.integers(1, 60), st.integers(1, 60))
@settings(max_examples=12)
def test_no_more_is_read_than_the_budget_allows(budget, count, num_parents):
    config = ProbeConfig(budget=budget, num_parents=num_parents, keywords=KEYWORDS)
    allocated = allocate(biased_scorers.parents(count), PROBES, config)
    parents, edits = read(allocated)
    assert allocated.cost == pytest.approx(1 + edits / parents)
    assert allocated.cost <= budget + 1e-9
    assert max(nums_edited(allocated).values(), default=0) <= num_parents


def test_the_budget_is_used(shared_out):
    assert ProbeConfig().budget - 0.05 < shared_out.cost <= ProbeConfig().budget


def test_with_room_for_all_every_probe_edits_as_many_as_it_may_and_no_parent_more_is_read(candidates):
    allocated = allocate(candidates, PROBES, ProbeConfig(budget=100, num_parents=40))
    assert len(allocated.parents) == 40
    made = variants(allocated.parents, PROBES, ProbeConfig())
    assert nums_edited(allocated) == nums_edited(allocation.Allocation(parents=[], variants=made, cost=0))


def test_as_many_parents_are_read_as_it_takes(candidates, shared_out):
    few = allocate(candidates, PROBES, ProbeConfig(budget=6, num_parents=20))
    assert 20 < len(few.parents) < len(candidates)
    assert set(nums_edited(few).values()) == {20}
    assert len(shared_out.parents) == len({one.prompt_id for one in candidates})


def test_a_larger_budget_takes_nothing_away(candidates):
    configs = [ProbeConfig(budget=budget, num_parents=200) for budget in (2, 3, 6)]
    numbers = [nums_edited(allocate(candidates[:150], PROBES, config)) for config in configs]
    for less, more in pairwise(numbers):
        assert all(less[probe] <= more[probe] + 1 for probe in less)  # the last one may happen to be too long
        assert less.total() < more.total()


def test_what_the_gate_asks_for_comes_before_the_rest(shared_out):
    numbers = nums_edited(shared_out)
    # Both cost about one response: prompts are short here.
    assert numbers["foreign"] > 2 * numbers["prompt_deleted"] > 0
    assert numbers["hedging"] > 2 * numbers["refusal"] > 0


def test_with_few_prompts_the_hard_probes_get_the_edits_that_the_gate_asks_for_and_no_more(candidates):
    numbers = nums_edited(allocate(candidates[:200], PROBES, ProbeConfig()))
    assert {numbers[name] for name in HARD_PROBES} == {MIN_EDITS}
    assert 0 < numbers["hedging"] < MIN_EDITS


def test_beyond_that_numbers_go_with_one_by_the_root_of_the_costs(candidates):
    probes = [probe for probe in PROBES if probe.name in ("prompt_deleted", "identity", "refusal")]
    numbers = nums_edited(allocate(candidates, probes, ProbeConfig(budget=2, num_parents=450)))
    costs = {}
    for probe in probes:
        alone = allocate(candidates, [probe], ProbeConfig(budget=100, num_parents=10_000))
        costs[probe.name] = (alone.cost - 1) / nums_edited(alone)[probe.name]
    for probe in ("prompt_deleted", "refusal"):
        ratio = numbers[probe] / numbers["identity"]
        assert ratio == pytest.approx(
            (costs["identity"] / costs[probe]) ** 0.5, rel=0.08
        )  # the last rest goes to the cheap ones


def test_no_probe_prefers_long_or_short_responses(shared_out):
    sizes = np.array([len(one.response) for one in shared_out.parents])
    for probe in ("identity", "double", "foreign", "empty", "hedging"):
        own = sorted({v.parent for v in shared_out.variants if v.probe == probe})
        error = sizes.std() / len(own) ** 0.5
        assert abs(sizes[own].mean() - sizes.mean()) < 3 * error


def test_how_often_a_probe_applies_can_still_be_told(shared_out):
    made = variants(shared_out.parents, PROBES, ProbeConfig())
    for probe in ("strip_markdown", "bullets", "negation", "sentence_shuffle"):
        tried, every = (
            [v.response is not None for v in some if v.probe == probe and v.arm == "edit"]
            for some in (shared_out.variants, made)
        )
        assert np.mean(tried) == pytest.approx(np.mean(every), abs=3 * (0.25 / len(tried)) ** 0.5)


def test_a_probe_that_seldom_applies_is_tried_on_every_parent():
    rare = [parent(number, f"It is {number}." if number % 40 == 0 else "It is so.") for number in range(200)]
    allocated = allocate(rare, PROBES, ProbeConfig(budget=3))
    tried = [variant for variant in allocated.variants if variant.probe == "numbers"]
    assert len(tried) == 200
    assert sum(variant.response is not None for variant in tried) == 5


def test_all_arms_and_doses_of_a_probe_go_to_the_same_parents(shared_out):
    parents = {}
    for variant in shared_out.variants:
        parents.setdefault(variant.probe, {}).setdefault((variant.dose, variant.arm), set()).add(variant.parent)
    for by_arm in parents.values():
        assert len({frozenset(some) for some in by_arm.values()}) == 1
    assert set(parents) == {probe.name for probe in PROBES}


def test_parents_are_taken_by_hash_one_per_prompt():
    config = ProbeConfig(budget=100, num_parents=20)
    candidates = biased_scorers.parents(50)
    twice = [*candidates, *[parent(number, "x") for number in range(3)], *[parent(number, "y") for number in range(3)]]
    chosen = allocate(twice, PROBES, config).parents
    assert len({one.prompt_id for one in chosen}) == len(chosen) == 20
    assert chosen == allocate(twice[::-1], PROBES, config).parents
    assert len(allocate(twice, PROBES, ProbeConfig(budget=100)).parents) == 53
    grown = allocate([*twice, *[parent(number, "z") for number in range(100, 110)]], PROBES, config).parents
    assert len(set(map(id, chosen)) & set(map(id, grown))) >= 10


def test_nothing_to_edit_is_no_error():
    allocated = allocate([], PROBES, ProbeConfig())
    assert (allocated.parents, allocated.variants, allocated.cost) == ([], [], 1.0)
    empty = allocate([parent(1, "")], PROBES, ProbeConfig())
    assert not nums_edited(empty)
