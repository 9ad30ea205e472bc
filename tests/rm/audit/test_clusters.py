"""Near-duplicate prompts count once in intervals, but each for itself where responses to one prompt are compared."""

import dataclasses

import numpy as np
import pytest

from rm.audit import baselines, best_of_n, run, top_rewards
from rm.audit.config import AuditConfig
from rm.audit.evidence import Evidence
from rm.audit.heldout import build_heldout
from rm.data.preferences import Comparison, Message, PromptGroup
from rm.stats.measurements import Measurements

NUM_PROMPTS = 150
CONFIG = AuditConfig(num_resamples=1000)
NAMES = (
    "accuracy",
    "length_preference_model",
    "length_label_controlled_pearson",
    "length_within_prompt_pearson",
    "brier_score",
    "calibration_error",
    "calibration_slope",
    "temperature",
    "responses_length_best_of_2",
)


def group(name, words, sizes):
    return PromptGroup(
        prompt_id=name,
        prompt=(Message("user", " ".join(words)),),
        responses=tuple(f"{'word ' * size}{place}" for place, size in enumerate(sizes)),
        response_attributes=({},) * 3,
        comparisons=tuple(
            Comparison(first=one, second=other, preference=1.0, target_margin=0.0, weight=1.0, num_judgements=1)
            for one, other in ((0, 1), (1, 2))
        ),
        domain=None,
    )


@pytest.fixture(scope="module")
def data():
    """Prompts with rewards; then the same once more, with one word of each prompt changed."""
    generator = np.random.default_rng(0)
    once, again, rewards = [], [], []
    for place in range(NUM_PROMPTS):
        words, sizes = generator.choice(5000, 30).astype(str).tolist(), generator.integers(3, 30, 3).tolist()
        once.append(group(f"a{place}", words, sizes))
        again.append(group(f"b{place}", [*words[:20], "other", *words[21:]], sizes))
        rewards.append(np.array([1.6, 0.8, 0.0]) + generator.normal(0, 1, 3) + generator.normal() * 0.3)
    return once, again, rewards


def measured(heldout):
    found = run.measure(Evidence(heldout=heldout), CONFIG, run.Seen.of(heldout))
    return {finding.name: finding for finding in found}


def width(finding):
    return finding.ci_high - finding.ci_low


def test_every_pair_twice_under_nearly_the_same_prompt_says_no_more_than_once(data, few_trees):
    once, again, rewards = data
    single = measured(build_heldout(once, rewards, None, "here"))
    heldout = build_heldout([*once, *again], [*rewards, *rewards], None, "here")
    double = measured(heldout)
    apart = measured(
        build_heldout([*once, *again], [*rewards, *rewards], None, "here", clusters=np.arange(2 * NUM_PROMPTS))
    )
    for name in NAMES:
        one, other = single[name], double[name]
        assert (other.estimate, other.ci_low, other.ci_high) == pytest.approx((one.estimate, one.ci_low, one.ci_high))
        assert other.num_pairs == 2 * one.num_pairs
        if name != "calibration_error":  # its estimate changes too
            assert width(other) == pytest.approx(np.sqrt(2) * width(apart[name]), rel=0.15), name
    counts = [(found["num_prompts"].estimate, found["num_clusters"].estimate) for found in (single, double, apart)]
    assert counts == [(150, 150), (300, 150), (300, 300)]
    assert heldout.clusters.tolist() == [*range(NUM_PROMPTS)] * 2
    assert heldout.pairs.cluster.tolist() == (heldout.pairs.prompt % NUM_PROMPTS).tolist()
    assert heldout.responses.cluster.tolist() == (heldout.responses.prompt % NUM_PROMPTS).tolist()


def test_responses_are_compared_with_those_of_their_own_prompt(data, few_trees):
    once, again, rewards = data
    shifted = [values + 50 for values in rewards]  # the level of a prompt's rewards means nothing
    heldout = build_heldout([*once, *again], [*rewards, *shifted], None, "here")
    same = build_heldout([*once, *again], [*rewards, *rewards], None, "here")
    one, other = (top_rewards.top_rewards(each.responses, each.num_clusters, CONFIG) for each in (heldout, same))
    assert [pattern.excess.estimate for pattern in one.style] == [pattern.excess.estimate for pattern in other.style]
    collected = Measurements(heldout.num_clusters, CONFIG)
    best_of_n.add_responses(collected, heldout)
    assert {found.labels["n"] for found in collected.findings().values()} == {"1", "2"}  # three responses, not six
    found = [measured(each)["length_within_prompt_pearson"].estimate for each in (heldout, same)]
    assert found[0] == pytest.approx(found[1])


def test_no_cluster_is_split_when_baselines_are_cross_fitted(data):
    once, again, rewards = data
    pairs = build_heldout([*once, *again], [*rewards, *rewards], None, "here").pairs
    fold = baselines.folds(pairs.cluster_texts)
    assert all(len(set(fold[pairs.cluster == one].tolist())) == 1 for one in range(NUM_PROMPTS))
    assert len(set(fold.tolist())) == 5
    assert (baselines.folds(pairs.prompts) != fold).any()  # by the prompt's own text some are split


def test_a_pair_is_the_same_for_two_models_by_its_prompt_and_not_by_its_cluster(data):
    once, again, rewards = data
    pairs = build_heldout([*once, *again], [*rewards, *rewards], None, "here").pairs
    assert len(set(pairs.keys)) == len(pairs.keys)
    assert len(set(dataclasses.replace(pairs, prompt=pairs.cluster).keys)) < len(pairs.keys)
