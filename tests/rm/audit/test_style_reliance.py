import dataclasses

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from rm.audit.config import AuditConfig
from rm.audit.style_features import FEATURE_NAMES
from rm.audit.style_reliance import FEATURES, add_reliance
from rm.stats.measurements import Measurements
from tests.rm import biased_pairs


def measured(pairs, num_resamples=200):
    collected = Measurements(int(pairs.cluster.max()) + 1, AuditConfig(num_resamples=num_resamples))
    add_reliance(collected, pairs)
    return {found.name: found for found in collected.findings().values()}


def test_labels_that_favour_length_and_bold_do_not_make_a_sound_model_rely_on_them():
    outside = []
    for seed in range(10):
        found = measured(biased_pairs.make_pairs(biased_pairs.oracle, seed))
        assert found["label_coefficient_length"].ci_low > 0.4
        assert found["label_coefficient_bold"].ci_low > 0
        assert found["model_coefficient_length"].ci_low > 0.1  # the labels', passed on
        assert found["added_coefficient_label"].ci_low > 1
        for name in ("length", "bold"):
            finding = found[f"added_coefficient_{name}"]
            assert abs(finding.estimate) < 0.25
            outside.append(not finding.ci_low <= 0 <= finding.ci_high)
    assert sum(outside) <= 4  # of 20, of which 1 is expected


def test_a_length_meter_adds_length_and_knows_nothing_without_it():
    found = measured(biased_pairs.make_pairs(biased_pairs.length, seed=0))
    assert found["added_coefficient_length"].ci_low > 3
    assert found["added_coefficient_length"].estimate > 5 * found["added_coefficient_label"].estimate
    assert found["accuracy_length_balanced"].estimate == 0.5


def test_a_keyword_that_is_a_hedge_is_what_the_model_adds():
    pairs = biased_pairs.make_pairs(biased_pairs.keyword, seed=0)
    hedged = dataclasses.replace(
        pairs,
        chosen=tuple(text.replace(biased_pairs.KEYWORD, "perhaps") for text in pairs.chosen),
        rejected=tuple(text.replace(biased_pairs.KEYWORD, "perhaps") for text in pairs.rejected),
    )
    found = measured(hedged)
    assert found["added_coefficient_hedges"].ci_low > 0.7
    assert abs(found["label_coefficient_hedges"].estimate) < 0.2
    assert abs(found["added_coefficient_length"].estimate) < 0.25


def test_coefficients_match_scikit_learn_on_columns_made_by_hand():
    pairs = biased_pairs.make_pairs(biased_pairs.bag_of_words, seed=4, num_pairs=300, num_prompts=200)
    length = np.log((1 + pairs.length_chosen) / (1 + pairs.length_rejected))
    bold = np.log(2.0) * np.array(
        [("**" in one) - 1.0 * ("**" in other) for one, other in zip(pairs.chosen, pairs.rejected, strict=True)]
    )
    columns = np.column_stack([column / np.sqrt((column**2).mean()) for column in (length, bold)])
    with_label = np.column_stack([np.ones(300), columns])
    cases = {"label": (columns, np.ones(300)), "model": (columns, pairs.correct), "added": (with_label, pairs.correct)}
    found = measured(pairs)
    for kind, (inputs, target) in cases.items():
        names = ["label"] * (kind == "added") + ["length", "bold"]
        mirrored, both = np.r_[inputs, -inputs], np.r_[target, 1 - target]
        model = LogisticRegression(fit_intercept=False, C=0.5, tol=1e-10, max_iter=1000).fit(mirrored, both * 1.0 > 0.5)
        expected = dict(zip(names, model.coef_[0], strict=True))
        estimates = {name: found[f"{kind}_coefficient_{name}"].estimate for name in names}
        assert estimates == pytest.approx(expected, abs=1e-4)
    intercept = found["added_coefficient_label"].estimate
    assert found["style_controlled_accuracy"].estimate == pytest.approx(1 / (1 + np.exp(-intercept)))


def test_what_does_not_differ_is_left_out_and_named():
    found = measured(biased_pairs.make_pairs(biased_pairs.oracle, seed=0))
    assert "added_coefficient_bold" in found
    assert "added_coefficient_list_items" not in found
    assert "fewer than 10 pairs: list items, headers" in found["added_coefficient_bold"].method
    assert set(FEATURES) < set(FEATURE_NAMES)


def test_accuracy_balanced_by_length_is_the_mean_of_both_sides():
    pairs = biased_pairs.make_pairs(biased_pairs.keyword, seed=5)
    finding = measured(pairs)["accuracy_length_balanced"]
    longer, shorter = pairs.length_difference > 0, pairs.length_difference < 0
    assert finding.estimate == pytest.approx((pairs.correct[longer].mean() + pairs.correct[shorter].mean()) / 2)
    assert finding.num_pairs == longer.sum() + shorter.sum()


def test_swapping_all_labels_mirrors_what_the_labels_follow_and_keeps_what_the_model_adds():
    pairs = biased_pairs.make_pairs(biased_pairs.keyword, seed=6)
    swapped = dataclasses.replace(
        pairs,
        reward_chosen=pairs.reward_rejected,
        reward_rejected=pairs.reward_chosen,
        length_chosen=pairs.length_rejected,
        length_rejected=pairs.length_chosen,
        chosen=pairs.rejected,
        rejected=pairs.chosen,
    )
    one, other = measured(pairs), measured(swapped)
    for feature in ("length", "bold"):
        names = [f"{kind}_coefficient_{feature}" for kind in ("label", "model", "added")]
        values = [(one[name].estimate, other[name].estimate) for name in names]
        assert values[0][0] == pytest.approx(-values[0][1])
        assert values[1][0] == pytest.approx(values[1][1])
        assert values[2][0] == pytest.approx(values[2][1])
    label = "added_coefficient_label"
    assert one[label].estimate == pytest.approx(-other[label].estimate)
