import math
from dataclasses import replace

import numpy as np
import pytest

from rm.audit.config import AuditConfig
from rm.audit.heldout import ScoredResponses
from rm.audit.top_rewards import top_rewards

CONFIG = AuditConfig(num_resamples=100)
NUM_PROMPTS = 300


def make(seed, bonus=0.0, level=0.0, single=0):
    """Four responses a prompt, some with bold and "certainly yes"; the last prompts have one response only."""
    generator = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(NUM_PROMPTS), 4)
    cluster = np.concatenate([cluster, np.arange(single) + NUM_PROMPTS])
    styled = generator.random(len(cluster)) < 0.3
    vocabulary = [f"word{place}" for place in range(40)]
    texts = [
        " ".join(generator.choice(vocabulary, 10)) + (" **certainly** yes" if has else "") for has in styled.tolist()
    ]
    topics = generator.normal(size=NUM_PROMPTS + single)[cluster] * level
    reward = generator.normal(size=len(cluster)) + bonus * styled + topics
    return ScoredResponses(
        prompt=cluster, cluster=cluster, reward=reward, length=np.ones(len(cluster)), texts=tuple(texts)
    ), styled


def test_what_is_rewarded_is_found_among_the_top_as_style_and_as_phrase():
    responses, styled = make(0, bonus=2)
    found = top_rewards(responses, NUM_PROMPTS, CONFIG)
    assert (found.num_top, found.num_rest, found.num_single) == (120, 1080, 0)
    bold = next(one for one in found.style if one.pattern == "bold")
    means = [responses.reward[responses.cluster == cluster].mean() for cluster in range(NUM_PROMPTS)]
    centred = responses.reward - np.array(means)[responses.cluster]
    top = centred >= sorted(centred)[-120]
    assert bold.top.estimate == pytest.approx(styled[top].mean())
    assert bold.rest.estimate == pytest.approx(styled[~top].mean())
    assert bold.excess.estimate == pytest.approx(styled[top].mean() - styled[~top].mean())
    assert bold.excess.ci_low > 0.3 and math.isnan(bold.q)
    first = found.phrases[0]
    assert first.pattern == "certainly yes" and first.q < 1e-9  # of three that stand in the same responses
    assert (first.top.estimate, first.excess) == (bold.top.estimate, first.excess)
    assert found.num_found < 4 < found.num_tested
    assert found.unseen is None and first.num_training_texts is None


def test_where_more_than_a_tenth_tie_at_the_top_there_is_no_top():
    responses, styled = make(0)
    found = top_rewards(replace(responses, reward=styled.astype(float)), NUM_PROMPTS, CONFIG, training_texts=[])
    assert (found.num_top, found.num_rest, found.unseen) == (0, len(responses.texts), ())


def test_the_order_of_a_prompts_responses_decides_nothing_about_the_top():
    responses, _ = make(0)
    reward = np.concatenate([np.roll([1.0, 0.0, 0.0, 0.0], place % 4) for place in range(NUM_PROMPTS)])
    found = top_rewards(replace(responses, reward=reward), NUM_PROMPTS, CONFIG)
    assert (found.num_top, found.num_rest) == (0, len(responses.texts))
    few = reward * np.repeat(np.arange(NUM_PROMPTS) % 5 == 0, 4)
    found = top_rewards(replace(responses, reward=few), NUM_PROMPTS, CONFIG)
    assert found.num_top == NUM_PROMPTS // 5


def test_what_has_no_part_in_rewards_is_seldom_found():
    alarms = 0
    for seed in range(40):
        responses, _ = make(seed)
        found = top_rewards(responses, NUM_PROMPTS, AuditConfig(num_resamples=100))
        assert found.num_tested > 40
        alarms += found.num_found > 0
    assert alarms <= 6  # 2 expected


def test_the_level_of_a_prompts_rewards_and_lone_responses_change_nothing():
    one = top_rewards(*make(1, bonus=1)[:1], NUM_PROMPTS, CONFIG)
    responses, _ = make(1, bonus=1, level=0)
    moved = ScoredResponses(
        prompt=np.append(responses.prompt, NUM_PROMPTS),
        cluster=np.append(responses.cluster, NUM_PROMPTS),
        reward=np.append(responses.reward + 100.0 * (responses.cluster % 7), 1e6),
        length=np.ones(len(responses.texts) + 1),
        texts=(*responses.texts, "alone"),
    )
    other = top_rewards(moved, NUM_PROMPTS + 1, CONFIG)
    assert other.num_single == 1
    assert [(p.pattern, p.top.estimate) for p in other.phrases] == [(p.pattern, p.top.estimate) for p in one.phrases]
    assert [p.excess.estimate for p in other.style] == [p.excess.estimate for p in one.style]


def test_what_training_never_showed_is_named():
    responses, _ = make(2, bonus=2)
    training = ["certainly " + " ".join(f"word{place}" for place in range(40)), "**bold** !", "word1 word2", "yes so"]
    found = top_rewards(responses, NUM_PROMPTS, CONFIG, training_texts=iter(training))
    assert [pattern.pattern for pattern in found.unseen][:1] == ["certainly yes"]
    assert all(pattern.num_training_texts == 0 and pattern.top.estimate >= 0.05 for pattern in found.unseen)
    counts = {one.pattern: one.num_training_texts for one in found.style}
    assert (counts["bold"], counts["exclamation marks"], counts["list items"]) == (1, 1, 0)
    assert "word1" not in {pattern.pattern for pattern in found.unseen}


def test_a_training_text_with_the_phrase_clears_it():
    responses, _ = make(2, bonus=2)
    found = top_rewards(responses, NUM_PROMPTS, CONFIG, training_texts=["Certainly, yes."])
    assert "certainly yes" not in {pattern.pattern for pattern in found.unseen}
    assert found.phrases[0].num_training_texts == 1


@pytest.mark.parametrize("num_responses", [0, 8])
def test_without_differences_between_rewards_there_is_no_top(num_responses):
    cluster = np.arange(num_responses) // 2
    same = ScoredResponses(
        prompt=cluster,
        cluster=cluster,
        reward=np.full(num_responses, 0.1),
        length=np.ones(num_responses),
        texts=("**a** b",) * num_responses,
    )
    found = top_rewards(same, 4, CONFIG, training_texts=[])
    assert (found.num_top, found.num_rest, found.phrases, found.unseen) == (0, num_responses, (), ())
    assert all(math.isnan(one.top.estimate) for one in found.style)
