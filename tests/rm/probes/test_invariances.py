from dataclasses import replace

import numpy as np
import pytest

from rm.probes.invariances import invariances
from rm.score.rewards import ItemRewards
from tests.rm import biased_scorers

PARENTS = biased_scorers.parents(8)


def by_name(findings):
    short = {"invariance_difference": "difference", "invariance_flips": "flips"}
    return {f"{finding.labels['way']}_{short[finding.kind]}": finding.estimate for finding in findings}


def sound(items):
    return biased_scorers.scorer(biased_scorers.length)(items)


def changed(change):
    """A scorer whose rewards are changed by ``change(rewards, items, place)``."""

    def score_items(items):
        scored = sound(items)
        return [ItemRewards(change(s.rewards, items, at), s.num_tokens) for at, s in enumerate(scored)]

    return score_items


def test_a_sound_scorer_has_no_differences_and_no_flips():
    found = invariances(sound, PARENTS, {"half_batch": sound})
    assert set(by_name(found).values()) == {0.0}
    names = {f"{way}_{what}" for way in ("order", "alone", "apart", "half_batch") for what in ("difference", "flips")}
    assert set(by_name(found)) == names
    counts = {finding.kind: finding.num_pairs for finding in found}
    assert counts == {"invariance_difference": 2 * len(PARENTS), "invariance_flips": len(PARENTS)}


def test_of_many_responses_to_a_prompt_three_are_scored():
    """Of AlpacaEval's nine long ones each, this had taken longer than all the scores that are audited."""
    parents = [
        replace(parent, others=tuple(f"{parent.response} and {place} more" for place in range(8))) for parent in PARENTS
    ]
    scored = []

    def counted(items):
        scored.append(sum(len(responses) for _, responses in items))
        return sound(items)

    found = invariances(counted, parents, {"half_batch": counted})
    assert sum(scored) == 6 * 3 * len(parents)
    assert {finding.num_pairs for finding in found if finding.kind == "invariance_flips"} == {3 * len(parents)}


@pytest.mark.parametrize(
    ("change", "ways"),
    [
        (lambda rewards, items, at: rewards + at, {"order", "alone", "apart"}),
        (lambda rewards, items, at: rewards + len(items), {"alone", "apart"}),
        (lambda rewards, items, at: rewards + np.arange(len(rewards)), {"order", "apart"}),
        (lambda rewards, items, at: rewards + (items[at][1][0] == items[at][1][-1]), {"apart"}),
    ],
)
def test_what_a_reward_must_not_depend_on_is_found(change, ways):
    found = by_name(invariances(changed(change), PARENTS, {}))
    assert {way for way in ("order", "alone", "apart") if found[f"{way}_difference"] > 0} == ways


def test_a_prompt_cut_for_the_longest_response_is_no_difference():
    cut = changed(lambda rewards, items, at: rewards - max(map(len, items[at][1])))
    assert set(by_name(invariances(cut, PARENTS, {})).values()) == {0.0}


def test_another_setting_is_compared_and_flips_are_counted():
    other = changed(lambda rewards, items, at: rewards - (3000.0 if at < 3 else 0) * (rewards == rewards.max()))
    found = by_name(invariances(sound, PARENTS, {"other": other}))
    assert (found["other_difference"], found["other_flips"]) == (3000.0, 3.0)


def test_rounding_flips_nothing_at_any_scale():
    def near(scale, noise):
        return changed(lambda rewards, items, at: scale * (rewards / 100 + np.arange(len(rewards)) % 2 * noise))

    for scale in (1e-6, 1.0, 1e6):
        again = {"other": near(scale, -1e-5)}
        assert by_name(invariances(near(scale, 1e-5), PARENTS, again))["other_flips"] == 0


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e5])
@pytest.mark.parametrize("broken", [lambda rewards: -rewards, np.zeros_like, lambda rewards: rewards * np.nan])
def test_a_reversed_a_constant_and_a_missing_reward_flip_every_pair_at_any_scale(broken, scale):
    whole = changed(lambda rewards, items, at: scale * rewards)
    other = changed(lambda rewards, items, at: broken(scale * rewards))
    found = by_name(invariances(whole, PARENTS, {"other": other}))
    reference = [
        one.rewards for one in whole([(parent.prompt, (parent.response, *parent.others)) for parent in PARENTS])
    ]
    assert found["other_flips"] == sum(len(set(rewards)) > 1 for rewards in reference) > 0
