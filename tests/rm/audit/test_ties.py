import numpy as np
import pytest

from rm.audit import ties
from rm.audit.config import AuditConfig
from rm.audit.heldout import ScoredResponses
from rm.gate.checks import DEFAULT_CHECKS
from rm.gate.decision import judge
from rm.stats.measurements import Measurements

(CHECK,) = [check for check in DEFAULT_CHECKS if check.name == "unexplained_tie_share"]
NUM_PAIRS = 300


@pytest.fixture(scope="module")
def measured(make_heldout):
    def measure(chosen, rejected, prompts=None):
        sides = ([(float(value), 5, "text") for value in side] for side in (chosen, rejected))
        heldout = make_heldout(np.arange(len(chosen)) if prompts is None else prompts, *sides)
        collected = Measurements(heldout.num_clusters, AuditConfig(num_resamples=200))
        ties.add(collected, heldout)
        return {finding.name: finding for finding in collected.findings().values()}

    return measure


def sound(seed):
    """Rewards of a sound model: fine-grained, on no scale."""
    generator = np.random.default_rng(seed)
    return generator.normal(1, 1, NUM_PAIRS), generator.normal(0, 1, NUM_PAIRS)


def integers(values, lowest, highest):
    """The same on a scale of whole numbers."""
    middle = (lowest + highest) / 2
    return [np.clip(np.round(middle + (highest - lowest) / 4 * side), lowest, highest) for side in values]


def test_a_sound_model_has_neither_ties_nor_a_scale(measured):
    found = measured(*sound(0))
    assert (found["reward_tie_share"].estimate, found["unexplained_tie_share"].estimate) == (0, 0)
    assert found["reward_levels"].estimate == 2 * NUM_PAIRS
    assert judge(CHECK, found["unexplained_tie_share"])[0] == "passed"


@pytest.mark.parametrize(("lowest", "highest"), [(1, 5), (1, 10), (0, 100), (0, 1)])
def test_the_ties_of_a_scale_are_explained(measured, lowest, highest):
    found = measured(*integers(sound(1), lowest, highest))
    assert found["reward_tie_share"].estimate > 0.01
    assert 2 <= found["reward_levels"].estimate <= highest - lowest + 1
    assert found["unexplained_tie_share"].estimate == 0
    assert "a scale of" in found["unexplained_tie_share"].method
    assert judge(CHECK, found["unexplained_tie_share"])[0] == "passed"


@pytest.mark.parametrize("num_pairs", [100, 300])
def test_rewards_rounded_to_quarters_are_a_scale_at_any_number_of_pairs(measured, num_pairs):
    found = measured(*((4 * side[:num_pairs]).round() / 4 for side in sound(2)))
    assert found["reward_tie_share"].estimate > 0.01
    assert found["unexplained_tie_share"].estimate == 0


def constant(values):
    return [np.full(NUM_PAIRS, 0.1)] * 2


def blind_to_the_response(values):
    return [values[0], values[0]]


def coarse_and_blind(values):
    return [values[0].round()] * 2


def clipped(values):
    return [np.minimum(side, 0.5) for side in values]


def nearly_all_clipped(values):
    return [np.minimum(side, -1.2) for side in values]


def constant_but_once(values):
    chosen, rejected = constant(values)
    return [np.where(np.arange(NUM_PAIRS) == 7, 0.2, chosen), rejected]


@pytest.mark.parametrize(
    "broken", [constant, blind_to_the_response, coarse_and_blind, clipped, nearly_all_clipped, constant_but_once]
)
def test_the_ties_of_a_broken_model_are_not_explained(measured, broken):
    chosen, rejected = broken(sound(3))
    found = measured(chosen, rejected)
    assert found["unexplained_tie_share"].estimate == np.mean(chosen == rejected) > 0.1
    assert found["unexplained_tie_share"].ci_low > 0.1
    assert judge(CHECK, found["unexplained_tie_share"])[0] == "failed"


def test_copies_of_a_prompt_do_not_make_a_scale(measured):
    chosen, rejected = nearly_all_clipped(sound(4))
    prompts = np.tile(np.arange(NUM_PAIRS), 3)
    found = measured(np.tile(chosen, 3), np.tile(rejected, 3), prompts)
    assert found["unexplained_tie_share"].estimate == found["reward_tie_share"].estimate > 0.5


def responses(rewards, num_pairs):
    """Two responses to each prompt."""
    prompt = np.repeat(np.arange(num_pairs), 2)
    return ScoredResponses(
        prompt=prompt, cluster=prompt, reward=rewards, length=np.ones(2 * num_pairs), texts=("",) * 2 * num_pairs
    )


def as_bfloat16(values):
    """Float32 numbers whose last 16 bits are rounded away."""
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + np.uint32(0x7FFF) + (bits >> 16 & 1)) & np.uint32(0xFFFF0000)).view(np.float32).astype(float)


@pytest.mark.parametrize(("mean", "deviation"), [(20, 3), (10, 1.5), (-12, 2), (60, 8)])
@pytest.mark.parametrize("num_pairs", [100, 150, 300, 1000])
def test_rewards_that_bfloat16_rounded_are_no_scale_at_any_number_of_pairs(mean, deviation, num_pairs):
    for seed in range(10):
        values = np.random.default_rng(seed).normal(mean, deviation, 2 * num_pairs)
        assert not ties.is_scale(responses(as_bfloat16(values), num_pairs))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("num_pairs", [100, 150, 300, 1000])
@pytest.mark.parametrize(
    ("lowest", "highest", "step"),
    [
        (1, 5, 1),
        (1, 10, 1),
        (0, 100, 1),
        (1, 5, 0.5),
        (0, 10, 0.1),
        (-1, 1, 0.05),
        (0, 1, 0.01),
        (1, 10, 1 / 3),
        (-3e6, 3e6, 1e5),
    ],
)
def test_ratings_are_a_scale_at_any_number_of_pairs(lowest, highest, step, num_pairs, dtype):
    for seed in range(10):
        places = np.random.default_rng(seed).integers(0, round((highest - lowest) / step) + 1, 2 * num_pairs)
        ratings = (lowest + step * places).astype(dtype).astype(float)
        assert ties.is_scale(responses(ratings, num_pairs))


@pytest.mark.parametrize(("shift", "size"), [(0, 1e-9), (0, 1e-3), (0, 1), (0, 1e9), (1e6, 1e-6), (1e6, 1), (1e9, 1e6)])
def test_fine_rewards_are_no_ratings_in_any_unit(shift, size):
    drawn = np.random.default_rng(0).normal(size=30)
    assert not ties.is_scale(responses(np.tile(shift + size * drawn, 2), 30))
