"""Variants with a known right answer, and what they change on prompts on which nothing was fitted."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

from rm.audit.config import AuditConfig
from rm.audit.heldout import build_heldout
from rm.data.preferences import Comparison, Message, PromptGroup
from rm.variants import fitting
from rm.variants.fitting import fit
from rm.variants.records import Variants

CONFIG = AuditConfig(num_resamples=200)


def world(seed, count=1500, scale=1.0, per_log=0.0, liking=0.0, labels=None):
    """Held-out pairs whose labels are drawn from sigmoid(m + liking d), with the margins scale (m + per_log d).

    d is the difference of log characters.
    """
    random = np.random.default_rng(seed)
    texts = [["a" * int(size) for size in random.integers(5, 400, 2)] for _ in range(count)]
    quality = random.normal(0, 1.5, (count, 2))
    log = np.log1p([[len(text) for text in both] for both in texts])
    asked = quality + liking * log
    first = random.random(count) < scipy.special.expit(asked[:, 0] - asked[:, 1])
    labels = first.astype(float) if labels is None else labels
    return build_heldout(
        [group(number, both, label) for number, (both, label) in enumerate(zip(texts, labels, strict=True))],
        list(scale * (quality + per_log * log)),
        None,
        "made up",
        clusters=np.arange(count),
    )


def group(number, responses, preference):
    pair = Comparison(first=0, second=1, preference=preference, target_margin=0.0, weight=1.0, num_judgements=1)
    return PromptGroup(
        prompt_id=f"{number:08d}",
        prompt=(Message(role="user", content=f"question {number}"),),
        responses=tuple(responses),
        response_attributes=({}, {}),
        comparisons=(pair,),
        domain=None,
    )


def by_name(findings):
    return {each.name: each for each in findings}


def test_a_reward_that_is_three_times_too_sure_gets_its_scale_back():
    found = fit(world(0, scale=3.0), world(1, scale=3.0), "digest", CONFIG).variants["calibrated"]
    assert found.fitted.ci_low < 1 / 3 < found.fitted.ci_high
    assert found.scale == found.fitted.estimate == pytest.approx(1 / 3, rel=0.15)
    assert found.per_log_character == 0
    before, after, changes = map(by_name, (found.before, found.after, found.changes))
    assert before["calibration_error"].ci_low > 0.05 > abs(after["calibration_error"].estimate)
    assert changes["log_loss_change"].ci_high < 0
    change = after["log_loss"].estimate - before["log_loss"].estimate
    assert changes["log_loss_change"].estimate == pytest.approx(change)
    # A positive scale changes no order.
    assert after["accuracy"] == before["accuracy"]
    assert changes["accuracy_change"].estimate == changes["accuracy_change"].ci_low == 0
    assert after["length_following"].estimate == pytest.approx(before["length_following"].estimate)


def test_the_scale_of_a_scaled_reward_is_the_inverse_to_the_last_digits():
    scales = [fit(world(0, scale=each), world(1), "", CONFIG).variants["calibrated"].scale for each in (1.0, 3.0)]
    assert scales[0] == pytest.approx(3 * scales[1], rel=1e-9)


@pytest.mark.parametrize("slope", [-2.0, 0.0, 1.5])
def test_a_reward_with_a_known_slope_of_log_length_loses_it(slope):
    found = fit(world(0, per_log=slope), world(1, per_log=slope), "digest", CONFIG).variants["without_length"]
    assert found.scale == 1
    assert found.fitted.ci_low < slope < found.fitted.ci_high
    assert found.per_log_character == pytest.approx(slope, abs=0.15)
    before, after, changes = map(by_name, (found.before, found.after, found.changes))
    assert abs(after["length_following"].estimate) < 0.08
    if slope:
        assert np.sign(before["length_following"].estimate) == np.sign(slope)
        assert abs(before["length_following"].estimate) > 0.4
        assert changes["accuracy_change"].ci_low > 0


def test_what_is_added_of_log_length_is_added_to_the_slope():
    pairs = world(0), world(0, per_log=1.25)
    one, other = (fit(each, each, "", CONFIG).variants["without_length"].per_log_character for each in pairs)
    assert other - one == pytest.approx(1.25, rel=1e-9)


def test_length_that_annotators_ask_for_is_taken_out_too_which_costs_accuracy():
    asked = {"per_log": 1.5, "liking": 1.5}
    found = fit(world(0, **asked), world(1, **asked), "", CONFIG).variants["without_length"]
    assert by_name(found.changes)["accuracy_change"].ci_high < 0


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=40, max_size=40))
def test_the_slope_looks_at_no_label(labels):
    one, other = (world(3, count=40, labels=given) for given in (labels, [1.0] * 40))
    slopes = [fitting._length_slope(each, CONFIG).estimate for each in (one, other)]
    assert slopes[0] == pytest.approx(slopes[1], rel=1e-9)


def test_what_cannot_be_fitted_is_said_with_its_reason():
    few = world(0, count=fitting.MIN_CLUSTERS - 1)
    found = fit(few, world(1), "digest", CONFIG)
    assert found.variants == {}
    assert set(found.missing.values()) == {"29 prompts with rewards in one part, expected at least 30"}
    unscored = replace(few, num_clusters=1500)  # most prompts have a response without a reward
    assert fit(unscored, world(1), "digest", CONFIG).variants == {}
    right = world(0)
    pairs = replace(right.pairs, reward_chosen=np.ones(1500), reward_rejected=np.zeros(1500))
    found = fit(replace(right, pairs=pairs), world(1), "digest", CONFIG)
    assert found.variants.keys() == {"without_length"}
    assert "no margin is below 0" in found.missing["calibrated"]


def test_each_variant_is_told_with_what_it_changes_or_why_it_is_not_there():
    found = fit(world(0), world(1), "digest", CONFIG).model_copy(update={"missing": {"other": "too few"}})
    told = dict(found.told())
    assert told.keys() == {"calibrated", "without_length", "other"}
    assert told["other"] == "not there: too few"
    assert told["calibrated"].startswith("accuracy change +0.000 [+0.000, +0.000], log loss change ")


def test_the_record_comes_back_from_its_file_and_gives_the_same_rewards(tmp_path):
    found = fit(world(0, per_log=1.0), world(1), "digest", CONFIG)
    file = tmp_path / "variants.json"
    file.write_text(found.model_dump_json())
    read = Variants.read(file)
    assert read == found
    rewards, texts = np.array([1.0, 2.0]), ["", "abc"]
    one = found.variants["without_length"]
    expected = [1.0, 2.0 - one.per_log_character * np.log(4)]
    np.testing.assert_allclose(read.rewards("without_length", rewards, texts), expected)
    np.testing.assert_allclose(read.rewards("calibrated", rewards, texts), found.variants["calibrated"].scale * rewards)
    assert read.rewards("as_trained", rewards, texts) is rewards
