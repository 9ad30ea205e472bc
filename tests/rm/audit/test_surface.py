from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse

from rm.audit import surface
from rm.audit.records import EVERYTHING
from rm.audit.surface import LENGTH, Surface
from rm.features.battery import BATTERY
from rm.stats.config import BootstrapConfig
from rm.stats.finding import key
from rm.stats.measurements import Measurements
from rm.stats.sufficiency import Judged

FEATURES = BATTERY[:40]
LENGTH_COLUMN = [feature.name for feature in FEATURES].index("log characters")
SIZE = 1500
KINDS = {"odd": np.arange(SIZE) % 2 == 1, "rare": np.arange(SIZE) % 50 == 0}


@pytest.fixture(scope="module")
def world():
    """Quality differences, feature differences, and the labels' side of each pair, in which quality is never lower."""
    random = np.random.default_rng(0)
    differences = random.normal(size=(SIZE, len(FEATURES)))
    quality = random.normal(size=SIZE) + 0.4 * differences[:, LENGTH_COLUMN]
    won = random.random(SIZE) < 1 / (1 + np.exp(-2 * quality))
    sign = np.where(won, 1.0, -1.0)
    return sign * quality, sign[:, None] * differences, sign * random.normal(size=SIZE)


def split(margin, differences):
    return Surface.of(judged(margin, differences), differences, np.arange(SIZE) % 5, KINDS, FEATURES)


def findings(margin, differences):
    collected = Measurements(SIZE, BootstrapConfig(num_resamples=200))
    surface.add(collected, split(margin, differences), judged(margin, differences))
    return collected.findings()


def judged(margin, differences):
    return Judged(
        margin=margin,
        preference=np.ones(SIZE),
        cluster=np.arange(SIZE),
        num_clusters=SIZE,
        stratum=np.zeros(SIZE, dtype=np.int64),
        length=differences[:, LENGTH_COLUMN],
        weight=np.ones(SIZE),
    )


def test_taking_length_out_helps_a_model_that_overpays_for_it_and_harms_a_sound_one(world):
    quality, differences, noise = world
    length = differences[:, LENGTH_COLUMN]
    sound = findings(quality + 0.3 * noise, differences)
    biased = findings(quality + 0.3 * noise + 1.5 * length, differences)
    for found in (sound, biased):
        gain, without = (found[key(kind, part=LENGTH)] for kind in ("gain_without", "accuracy_without"))
        assert gain.estimate == pytest.approx(without.estimate - found_accuracy(found), abs=1e-12)
    assert sound[key("gain_without", part=LENGTH)].ci_high < 0
    assert biased[key("gain_without", part=LENGTH)].ci_low > 0
    assert biased[key("surface_share")].ci_low > sound[key("surface_share")].ci_high


def found_accuracy(found):
    """Accuracy, from any part: what is right without it minus the gain."""
    part = {"part": EVERYTHING}
    return found[key("accuracy_without", **part)].estimate - found[key("gain_without", **part)].estimate


def test_a_reward_that_is_surface_alone_is_wholly_explained_and_knows_nothing_besides(world):
    _, differences, _ = world
    margin = differences[:, LENGTH_COLUMN] + np.sin(2 * differences[:, 3])
    found = findings(margin, differences)
    assert found[key("surface_share")].estimate > 0.85
    assert abs(found[key("accuracy_without", part=EVERYTHING)].estimate - 0.5) < 0.06


def test_a_reward_without_surface_is_not_explained(world):
    _, differences, noise = world
    found = findings(noise, differences)
    assert abs(found[key("surface_share")].estimate) < 0.05


def test_a_bias_that_is_spread_over_many_features_is_seen_together(world):
    quality, differences, noise = world
    spread = differences[:, 5:] @ np.random.default_rng(1).choice([-1.0, 1.0], len(FEATURES) - 5)
    sound, biased = quality + 0.5 * noise, quality + 0.5 * noise + 0.15 * spread
    for margin, seen in ((sound, False), (biased, True)):
        account = surface.joint(judged(margin, differences), split(margin, differences).predicted[EVERYTHING])
        assert account.paid > 0
        assert (account.bound(1.96) > 0) == seen


def test_the_parts_that_are_paid_most_are_named(world):
    quality, differences, _ = world
    margin = quality + 3 * differences[:, 7] - 2 * differences[:, 9]
    predicted = split(margin, differences).predicted[EVERYTHING]
    for columns in (differences, scipy.sparse.csr_array(differences)):
        assert set(surface.largest_parts(predicted, columns)[:2]) == {7, 9}


def test_a_feature_of_your_own_is_no_part_of_surface(world):
    quality, differences, _ = world
    own = (*FEATURES[:7], replace(FEATURES[7], family="own"), *FEATURES[8:])
    predicted = quality + 3 * differences[:, 7] - 2 * differences[:, 9]
    named = surface.largest_features(predicted, differences, KINDS, own)
    assert len(named) == 5
    assert named[0] == (FEATURES[9], None)
    assert own[7] not in [feature for feature, _ in named]


def test_a_bias_that_turns_round_with_the_prompt_is_seen_and_named_with_its_kind(world):
    quality, differences, noise = world
    turned = np.where(KINDS["odd"], 1.0, -1.0) * differences[:, 7]
    margin = quality + 0.5 * noise + turned
    predicted = split(margin, differences).predicted[EVERYTHING]
    assert surface.joint(judged(margin, differences), predicted).bound(1.96) > 0
    assert surface.largest_features(predicted, differences, KINDS, FEATURES)[0] == (FEATURES[7], "odd")
