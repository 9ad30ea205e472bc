import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm.audit.config import AuditConfig
from rm.audit.subsets import SMALL, accuracy_by_subset, add_label_ceiling, agreement, terciles
from rm.stats.finding import key
from rm.stats.measurements import Measurements
from tests.rm import biased_pairs

CONFIG = AuditConfig(num_resamples=100)


def test_each_subset_has_its_accuracy_the_worst_first_and_the_small_ones_together_last():
    pairs = biased_pairs.make_pairs(biased_pairs.oracle, seed=0, num_pairs=300, num_prompts=150)
    domain = np.array(["law"] * 100 + ["code"] * 150 + ["art"] * 29 + ["food"] * 21)
    source = ["a"] * 300
    found = accuracy_by_subset(pairs, {"domain": domain.tolist(), "source": source}, 150, CONFIG)
    assert list(found) == ["domain", "source"]
    *large, other = found["domain"]
    assert {finding.name for finding in large} == {"law", "code"}
    for finding in large:
        assert finding.estimate == pytest.approx(pairs.correct[domain == finding.name].mean())
        assert finding.num_pairs == (domain == finding.name).sum()
    assert large[0].estimate < large[1].estimate
    assert (other.name, other.num_pairs) == ("all with fewer than 30 pairs", 50)
    assert "2 subsets by domain of fewer than 30 pairs" in other.method
    assert other.estimate == pytest.approx(pairs.correct[250:].mean())
    assert found["source"][0].estimate == pytest.approx(pairs.correct.mean())


def test_a_domain_that_is_called_other_stays_by_itself():
    pairs = biased_pairs.make_pairs(biased_pairs.oracle, seed=0, num_pairs=300, num_prompts=150)
    domain = np.array(["other"] * 200 + ["code"] * 80 + ["art"] * 20)
    found = {each.name: each for each in accuracy_by_subset(pairs, {"domain": domain.tolist()}, 150, CONFIG)["domain"]}
    assert {name: each.num_pairs for name, each in found.items()} == {"other": 200, "code": 80, SMALL: 20}
    assert found["other"].estimate == pytest.approx(pairs.correct[:200].mean())
    assert found[SMALL].method == "accuracy in 1 subset by domain of fewer than 30 pairs"


def test_a_subset_in_which_the_model_fails_comes_first():
    pairs = biased_pairs.make_pairs(biased_pairs.length, seed=0, num_pairs=400)
    shorter = np.where(pairs.length_difference < 0, "shorter is better", "longer is better").tolist()
    first, second = accuracy_by_subset(pairs, {"length": shorter}, 800, CONFIG)["length"]
    assert (first.name, first.estimate) == ("shorter is better", 0)
    assert second.estimate > 0.9  # not 1, since a few are of equal length


def test_labels_that_are_not_one_a_pair_are_refused():
    pairs = biased_pairs.make_pairs(biased_pairs.length, seed=0, num_pairs=40, num_prompts=40)
    with pytest.raises(ValueError, match="domain: expected 40 labels, one per pair, got 3"):
        accuracy_by_subset(pairs, {"domain": ["a", "b", "c"]}, 40, CONFIG)


def test_terciles_split_in_thirds_and_keep_equal_values_together():
    labels = terciles([1, 2, 3, 4, 5, 6], "tokens")
    assert labels == ["up to 2 tokens"] * 2 + ["up to 4 tokens"] * 2 + ["above 4 tokens"] * 2
    assert terciles([7, 7, 7], "tokens") == ["up to 7 tokens"] * 3


@given(st.lists(st.integers(0, 30), min_size=1, max_size=40))
def test_terciles_are_in_order_and_no_larger_than_a_third_but_for_ties(values):
    labels = terciles(values, "words")
    by_label = {label: [v for v, other in zip(values, labels, strict=True) if other == label] for label in labels}
    groups = sorted(by_label.values())
    assert all(max(one) < min(other) for one, other in pairwise(groups))
    for group in groups:
        assert len([value for value in group if value < max(group)]) <= len(values) / 3 + 1


def test_agreement_says_what_the_votes_do():
    found = agreement(np.array([1.0, 1.0, 2 / 3, 1.0]), np.array([1, 2, 3, 3]))
    assert found == ["one vote", "unanimous", "divided", "unanimous"]


def ceiling(preference, num_judgements, num_undecided=None):
    undecided = np.zeros(len(preference), dtype=int) if num_undecided is None else np.array(num_undecided)
    collected = Measurements(len(preference), CONFIG)
    add_label_ceiling(
        collected, np.array(preference, dtype=float), np.array(num_judgements), undecided, np.arange(len(preference))
    )
    return collected.findings()[key("label_ceiling")]


@pytest.mark.parametrize(
    ("share", "num_votes", "expected"),
    [(1, 2, 1), (1, 3, 1), (2 / 3, 3, 1 / 3), (1 / 3, 3, 1 / 3), (0.5, 2, 0), (0.75, 4, 0.75), (0.6, 5, 0.3)],
)
def test_each_vote_is_compared_with_the_majority_of_the_others(share, num_votes, expected):
    votes = [1] * round(share * num_votes) + [-1] * (num_votes - round(share * num_votes))
    slow = [(np.sign(vote * (sum(votes) - vote)) + 1) / 2 for vote in votes]
    assert ceiling([share], [num_votes]).estimate == pytest.approx(expected) == pytest.approx(np.mean(slow))


def test_the_ceiling_of_votes_at_random_is_a_half_if_ties_are_given():
    generator = np.random.default_rng(0)
    for num_votes in (2, 3, 4, 5):
        shares = generator.binomial(num_votes, 0.5, size=4000) / num_votes
        assert ceiling(shares, [num_votes] * 4000).estimate == pytest.approx(0.5, abs=0.03)


def test_the_ceiling_is_the_chance_that_one_annotator_agrees_with_the_majority():
    generator = np.random.default_rng(1)
    votes = generator.random((20000, 4)) < 0.8  # the truth is always the first response
    majority = votes[:, :3].sum(axis=1) >= 2
    expected = (votes[:, 3] == majority).mean()  # against three others
    assert ceiling(votes.mean(axis=1), [4] * 20000).estimate == pytest.approx(expected, abs=0.01)


def test_pairs_with_one_vote_or_with_votes_for_a_tie_do_not_count():
    found = ceiling([1, 0.75, 1, 1, 2 / 3], [1, 2, 2, 3, 3], [0, 1, 0, 0, 2])  # the last: A, tie, tie
    assert (found.estimate, found.num_pairs) == (1, 2)
    nothing = ceiling([1, 1], [1, 1])
    assert math.isnan(nothing.estimate) and math.isnan(nothing.ci_low) and nothing.num_pairs == 0
