from dataclasses import replace

import numpy as np
import pytest

from rm.audit import overpaid
from rm.audit.overpaid import Column
from rm.features.battery import BATTERY
from rm.stats.sufficiency import Judged

NAMES = ["log characters", "log words", "bold", "emoji", "praise", "hedges"]
FEATURES = [feature for name in NAMES for feature in BATTERY if feature.name == name]
SIZE = 3000


@pytest.fixture(scope="module")
def world():
    random = np.random.default_rng(0)
    differences = random.normal(size=(SIZE, len(NAMES)))
    differences[:, 1] = differences[:, 0] + 0.3 * differences[:, 1]  # words and characters go together
    differences[:, 3] *= random.random(SIZE) < 0.3
    quality = random.normal(size=SIZE)
    sign = np.where(random.random(SIZE) < 1 / (1 + np.exp(-2 * quality)), 1.0, -1.0)
    question = random.random(SIZE) < 0.5
    differences, margin = sign[:, None] * differences, sign * (quality + 0.5 * random.normal(size=SIZE))
    pairs = Judged(
        margin=margin,
        preference=np.ones(SIZE),
        cluster=np.arange(SIZE),
        num_clusters=SIZE,
        stratum=np.zeros(SIZE, dtype=np.int64),
        length=differences[:, 0],
        weight=np.ones(SIZE),
    )
    return pairs, differences, {"question": question}


def examined(world, bias):
    pairs, differences, kinds = world
    tested, values = overpaid.columns(FEATURES, differences, kinds)
    return overpaid.table(replace(pairs, margin=pairs.margin + bias(differences, kinds)), tested, values)


def names(table):
    return [(row.column.feature.name, row.column.within) for row in table.named]


def test_columns_are_all_features_and_those_of_length_and_structure_within_each_kind(world):
    _, differences, kinds = world
    tested, values = overpaid.columns(FEATURES, differences, kinds)
    within = [Column(feature=feature, within="question") for feature in FEATURES[:3]]
    assert tested == [*(Column(feature=feature) for feature in FEATURES), *within]
    np.testing.assert_array_equal(values[:, 6], np.where(kinds["question"], differences[:, 0], 0.0))


def test_a_sound_model_has_nothing_named(world):
    table = examined(world, lambda differences, kinds: 0.0)
    assert table.follows_labels and 2 < table.critical < 3.2
    assert table.named == ()
    assert {row.verdict for row in table.rows} == {"clear"}


def test_a_length_bias_is_named_first_and_what_goes_along_is_not_named(world):
    table = examined(world, lambda differences, kinds: 0.6 * differences[:, 0])
    assert names(table) == [("log characters", None)]
    along = {row.column.feature.name for row in table.rows if row.verdict == "goes along"}
    assert "log words" in along
    assert all(row.along == table.named[0].column for row in table.rows if row.verdict == "goes along")
    assert table.named[0].account.excess > table.named[0].bound > 0.02


def test_two_biases_are_both_named_with_their_directions(world):
    table = examined(world, lambda differences, kinds: 0.7 * differences[:, 4] - 1.5 * differences[:, 3])
    assert set(names(table)) == {("praise", None), ("emoji", None)}
    assert {row.column.feature.name: row.account.excess > 0 for row in table.named} == {"praise": True, "emoji": False}


def test_what_is_still_overpaid_after_the_last_name_does_not_go_along(world, monkeypatch):
    monkeypatch.setattr(overpaid, "_MAX_NAMED", 1)
    table = examined(world, lambda differences, kinds: 0.7 * differences[:, 4] - 1.5 * differences[:, 3])
    assert set(names(table)) == {("praise", None), ("emoji", None)}


def test_a_bias_that_turns_round_between_kinds_of_prompts_is_seen_within_them(world):
    table = examined(world, lambda d, kinds: np.where(kinds["question"], 1.0, -1.0) * 0.8 * d[:, 0])
    assert ("log characters", "question") in names(table)


def test_a_reward_without_signal_has_nothing_testable(world):
    pairs, differences, kinds = world
    tested, values = overpaid.columns(FEATURES, differences, kinds)
    table = overpaid.table(replace(pairs, margin=np.random.default_rng(5).normal(size=SIZE)), tested, values)
    assert not table.follows_labels
    assert {row.verdict for row in table.rows} == {"untestable"}
