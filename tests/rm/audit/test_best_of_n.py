from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm.audit import best_of_n
from rm.audit.config import AuditConfig
from rm.stats.measurements import Measurements

CONFIG = AuditConfig(num_resamples=100)


def picked_by_trying_all(rewards, values, num_offered):
    picks = []
    for places in combinations(range(len(rewards)), num_offered):
        best = max(rewards[place] for place in places)
        winners = [values[place] for place in places if rewards[place] == best]
        picks.append(sum(winners) / len(winners))
    return sum(picks) / len(picks)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-5, 5)), min_size=1, max_size=7), st.data())
def test_expected_pick_is_the_mean_over_all_sets(candidates, data):
    one = np.array(candidates, dtype=float)
    other = np.array(data.draw(st.permutations(candidates)), dtype=float) * [2, 1]
    num_offered = data.draw(st.integers(1, len(one)))
    found = best_of_n.expected_picks(
        np.stack([one[:, 0], other[:, 0]]), np.stack([one[:, 1], other[:, 1]]), num_offered
    )
    for prompt, picked in zip((one, other), found, strict=True):
        assert picked == pytest.approx(picked_by_trying_all(*prompt.T.tolist(), num_offered))


def measured(rewards, values, num_candidates=8, num_prompts=60):
    collected = Measurements(num_prompts, CONFIG)
    cluster = np.repeat(np.arange(num_prompts), num_candidates)
    order = np.random.default_rng(0).permutation(len(cluster))  # prompts need not lie together
    candidates = best_of_n.Candidates(
        prompt=cluster[order],
        cluster=cluster[order],
        reward=rewards[order],
        values={name: one[order] for name, one in values.items()},
    )
    best_of_n.add(collected, candidates, "responses", dict.fromkeys(values, "tokens"), "made up")
    return {found.name: found for found in collected.findings().values()}


def test_a_length_meter_picks_ever_longer_ones_and_a_sound_model_does_not():
    generator = np.random.default_rng(1)
    length, noise = generator.normal(100, 20, 480), generator.normal(size=480)
    meter, sound = (measured(reward, {"length": length}) for reward in (length, noise))
    nums = (1, 2, 4, 8)
    estimates = [meter[f"responses_length_best_of_{num}"].estimate for num in nums]
    assert estimates == sorted(estimates) and estimates[-1] > estimates[0] + 20
    assert estimates[0] == pytest.approx(length.mean())
    assert "responses_length_best_of_1_gain" not in meter  # one candidate is not picked
    gain = sound["responses_length_best_of_8_gain"]
    assert gain.ci_low < 0 < gain.ci_high
    assert not any("best_of_16" in name for name in meter)  # no prompt has so many


def test_a_prompt_with_an_unknown_value_counts_for_the_other_values_only():
    generator = np.random.default_rng(2)
    reward, votes = generator.normal(size=480), np.ones(480)
    votes[:8] = np.nan  # one prompt
    found = measured(reward, {"length": np.arange(480.0), "votes": votes})
    assert found["responses_length_best_of_2"].num_pairs == 60
    assert found["responses_votes_best_of_2"].num_pairs == 59


def test_too_few_prompts_give_no_finding():
    assert measured(np.arange(16.0), {"length": np.arange(16.0)}, num_candidates=8, num_prompts=2) == {}
