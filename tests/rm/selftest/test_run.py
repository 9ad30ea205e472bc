import math

import numpy as np
import pytest
import scipy.stats

from rm.audit import overpaid
from rm.audit.overpaid_findings import record
from rm.audit.sizes import common
from rm.selftest import plants as planting
from rm.selftest import run
from tests.rm import toy_world

NUM_PAIRS = 500


@pytest.fixture(scope="module")
def heldout():
    return toy_world.heldout(toy_world.generate(NUM_PAIRS, 1, seed=3), toy_world.constant)


def some_plants(*given):
    """Those of two families, and one that no feature describes."""
    return [plant for plant in planting.plants(*given) if plant.family in {"length", "structure", None}]


@pytest.fixture(scope="module")
def result(heldout):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "STRENGTHS", (0.5, 2.0))
        patch.setattr("rm.stats.cross_fit._NUM_TREES", 8)
        patch.setattr(planting, "UNDESCRIBED", planting.UNDESCRIBED[:1])
        patch.setattr(run, "plants", some_plants)
        return run.run_self_test(heldout, num_repeats=3)


def test_a_strong_bias_is_found_and_a_stronger_one_as_often(result):
    by_name = {}
    for each in result.planted:
        by_name.setdefault((each.name, each.family), []).append((each.strength, each.found, each.failed))
    assert by_name["log characters", "length"][-1] == (2.0, 1.0, 1.0)
    for rates in by_name.values():
        assert [found for _, found, _ in sorted(rates)] == sorted(found for _, found, _ in rates)
        assert all(failed <= found for _, found, failed in rates)


def test_the_sound_reward_is_not_accused_although_labels_favour_length(result):
    assert result.sound_found == 0.0
    assert (result.num_pairs, result.num_prompts, result.num_repeats) == (NUM_PAIRS, NUM_PAIRS, 3)


def test_a_planted_feature_is_measured_with_its_sign_and_the_undescribed_have_no_excess(result):
    for each in result.planted:
        assert math.isnan(each.excess) == (each.family is None)
    strong = [each.excess for each in result.planted if each.strength == 2.0 and each.family == "length"]
    assert min(strong) > 0.1


def test_a_limit_is_larger_than_the_errors_of_a_sound_reward_say(heldout, result):
    trial = run._Trial(heldout)
    pairs = trial.with_margin(trial.sound(0))
    table = overpaid.table(pairs, trial.columns, trial.values)
    for limit in result.limits:
        rows = common(record(table).rows, limit.family, NUM_PAIRS)
        assert limit.num_common == len(rows)
        if not rows:
            assert math.isnan(limit.seen_80)
            continue
        errors = np.array(
            [row.asked_error for row in rows if row.feature == "log characters" or limit.family != "length"]
        )
        for power, seen in ((0.8, limit.seen_80), (0.95, limit.seen_95)):
            assert seen >= min(1.0, 0.99 * np.median((table.critical + scipy.stats.norm.ppf(power)) * errors))
        assert limit.seen_95 > limit.seen_80 or limit.seen_80 == 1.0
    (length,) = [limit for limit in result.limits if limit.family == "length"]
    assert 0.1 < length.seen_80 < length.seen_95 < 0.2  # the errors alone say 0.08


def test_one_bias_is_planted_of_each_family_and_all_that_no_feature_describes(heldout):
    trial = run._Trial(heldout)
    table = overpaid.table(trial.with_margin(trial.sound(0)), trial.columns, trial.values)
    pairs = heldout.pairs
    found = planting.plants(trial.features, record(table).rows, pairs.prompts, pairs.chosen, pairs.rejected)
    families = [plant.family for plant in found if plant.family]
    assert families[0] == "length" and len(set(families)) == len(families) > 4
    assert [plant.name for plant in found if plant.family is None] == [name for name, _ in planting.UNDESCRIBED]
    for plant in found:
        used = plant.differences[plant.differences != 0]
        assert np.sqrt((used**2).mean()) == pytest.approx(1)
