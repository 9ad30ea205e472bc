"""Pairs that were sampled with unequal, known probabilities, through the whole audit."""

import math
from dataclasses import replace

import numpy as np
import pytest

from rm.audit import run
from rm.audit.config import AuditConfig
from rm.audit.evidence import Evidence
from rm.audit.run import Seen
from tests.rm import toy_world

CONFIG = AuditConfig(num_resamples=100, selection="random")
EXACT = (
    *("accuracy", "accuracy_longer_chosen", "accuracy_shorter_chosen", "length_split_accuracy_gap"),
    *("length_preference_label", "length_preference_model", "length_preference_excess", "accuracy_length_balanced"),
    *("reward_tie_share", "log_loss", "brier_score", "calibration_slope", "temperature", "label_ceiling"),
    *("accuracy_length_only", "accuracy_over_length_floor"),
)
"""Findings to which a pair of weight k is k equal pairs; ranks depend a little on the number of pairs too."""
UNWEIGHTED = ("length_pearson", "length_spearman", "length_within_prompt_pearson", "responses_length_best_of_2")


@pytest.fixture(scope="module")
def heldout():
    return toy_world.heldout(toy_world.generate(70, 2, seed=3), toy_world.sound)


def sampled(heldout, probability):
    return replace(heldout, pairs=replace(heldout.pairs, sampling_probability=probability))


def measured(heldout):
    return {found.name: found for found in run.measure(Evidence(heldout=heldout), CONFIG, Seen.of(heldout))}


def test_equal_probabilities_change_no_number(heldout):
    plain, weighted = measured(heldout), measured(sampled(heldout, np.full(len(heldout.pairs.margin), 0.07)))
    assert weighted.pop("num_effective_pairs").estimate == len(heldout.pairs.margin)
    assert weighted.pop("selection_doubt").estimate == plain.pop("selection_doubt").estimate
    assert weighted.keys() == plain.keys()
    for name, found in plain.items():
        numbers = [(each.estimate, each.ci_low, each.ci_high) for each in (found, weighted[name])]
        np.testing.assert_array_equal(*numbers, err_msg=name)


def test_a_pair_of_weight_k_counts_as_k_pairs_of_its_prompt(heldout):
    times = np.random.default_rng(0).integers(1, 4, len(heldout.pairs.margin))
    weighted = measured(sampled(heldout, 1 / times))
    rows = np.repeat(np.arange(len(times)), times)
    several = measured(replace(heldout, pairs=heldout.pairs.take(rows), table=heldout.table.take(rows)))
    plain = measured(heldout)
    for name in EXACT:
        expected = several[name].estimate
        assert weighted[name].estimate == pytest.approx(expected, rel=1e-6, nan_ok=True), name
    for name in ("length_following", "accuracy_without_length"):
        assert weighted[name].estimate == pytest.approx(several[name].estimate, abs=0.02), name
    for name in UNWEIGHTED:
        assert weighted[name].estimate == plain[name].estimate
    assert not math.isclose(weighted["accuracy"].estimate, plain["accuracy"].estimate)


def test_weights_have_mean_1_and_stay_with_their_pairs(heldout):
    probability = np.random.default_rng(0).uniform(0.01, 1, len(heldout.pairs.margin))
    pairs = sampled(heldout, probability).pairs
    assert pairs.weight.mean() == pytest.approx(1)
    np.testing.assert_allclose(pairs.weight * probability, (pairs.weight * probability)[0])
    taken = pairs.take(np.array([5, 3]))
    assert taken.weight[0] / taken.weight[1] == pytest.approx(probability[3] / probability[5])
    assert heldout.pairs.take(np.array([5, 3])).weight.tolist() == [1.0, 1.0]
