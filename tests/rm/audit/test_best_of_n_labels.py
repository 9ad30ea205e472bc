from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm.audit import best_of_n_labels
from rm.audit.best_of_n_labels import CandidateSets, Picker
from rm.stats.config import BootstrapConfig
from rm.stats.measurements import Measurements

CONFIG = BootstrapConfig(num_resamples=200)


def made(lengths, labels, texts=None):
    """Sets of candidates with these lengths and labels, each of shape (G, K)."""
    lengths, labels = np.asarray(lengths), np.asarray(labels, dtype=float)
    num_sets, size = lengths.shape
    return CandidateSets(
        set_of=np.repeat(np.arange(num_sets), size),
        cluster=np.arange(num_sets),
        prompts=tuple(f"What is {number}?" for number in range(num_sets)),
        texts=tuple(texts or ("a" * length for length in lengths.ravel().tolist())),
        label=labels.ravel(),
    )


def added(function, sets, reward, scored=True):
    collected = Measurements(sets.num_prompts, CONFIG)
    function(collected, sets, Picker(name="m", reward=np.asarray(reward, dtype=float).ravel(), scored=scored))
    return {found.name: found for found in collected.findings().values()}


def wins(sets, reward, scored=True):
    return added(best_of_n_labels.add_win_rates, sets, reward, scored)


def lengths_of(sets, reward, scored=True):
    return added(best_of_n_labels.add_lengths, sets, reward, scored)


def share_by_trying_all(rewards, lengths, num_offered):
    shares = []
    for places in combinations(range(len(rewards)), num_offered):
        best = [place for place in places if rewards[place] == max(rewards[each] for each in places)]
        longest = max(lengths[place] for place in places)
        shares.append(sum(lengths[place] == longest for place in best) / len(best))
    return sum(shares) / len(shares)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), min_size=1, max_size=7), st.data())
def test_the_share_of_longest_picks_is_the_mean_over_all_subsets(candidates, data):
    one = np.array(candidates, dtype=float)
    other = np.array(data.draw(st.permutations(candidates)), dtype=float) * [2, 1] + [0, data.draw(st.integers(0, 2))]
    num_offered = data.draw(st.integers(1, len(one)))
    both = np.stack([one, other])
    found = best_of_n_labels.longest_shares(both[..., 0], both[..., 1], num_offered)
    for candidate, share in zip(both, found, strict=True):
        assert share == pytest.approx(share_by_trying_all(*candidate.T.tolist(), num_offered))


def test_the_share_of_longest_picks_stands_large_sets():
    generator = np.random.default_rng(0)
    rewards, lengths = generator.permuted(np.tile(np.arange(2000.0), (2, 1)), axis=1)[:, None, :]
    for num_offered in (1, 2, 1000, 2000):
        assert best_of_n_labels.longest_shares(lengths, lengths, num_offered) == pytest.approx(1)
    # Of two candidates, the better one is the longer one where both orders agree.
    agree = np.sign(rewards[0][:, None] - rewards[0]) == np.sign(lengths[0][:, None] - lengths[0])
    expected = (agree.sum() - 2000) / (2000 * 1999)
    assert best_of_n_labels.longest_shares(rewards, lengths, 2) == pytest.approx(expected)


def test_best_of_n_of_known_values():
    """Rewards 1 to 4 in the order of the labels 0, 0.2, 0.4, 1: the best of two is the j-th with odds 0, 1, 2, 3."""
    labels = np.tile([0.0, 0.2, 0.4, 1.0], (30, 1))
    sets = made(np.tile([40, 30, 20, 10], (30, 1)), labels)
    found = wins(sets, np.tile([1, 2, 3, 4], (30, 1)))
    assert found["model_outside_win_rate_best_of_1"].estimate == pytest.approx(0.4)
    assert found["model_outside_win_rate_best_of_2"].estimate == pytest.approx((0.2 + 0.8 + 3) / 6)
    assert found["model_outside_win_rate"].estimate == pytest.approx(1)
    assert found["longest_outside_win_rate_best_of_2"].estimate == pytest.approx((2 * 0.2 + 0.4) / 6)
    assert found["longest_outside_win_rate"].estimate == pytest.approx(0)
    for number in ("", "_best_of_1", "_best_of_2"):
        assert found[f"random_outside_win_rate{number}"].estimate == pytest.approx(0.4)
    assert found["picks_over_random"].estimate == pytest.approx(0.6)
    assert found["picks_over_longest"].estimate == pytest.approx(1)
    assert found["picks_over_random"].ci_low == pytest.approx(0.6)  # all prompts are alike
    assert found["picks_over_random"].num_pairs == 30
    assert set(found) == {
        *(f"{of}_outside_win_rate{n}" for of in ("model", "random", "longest", "oracle") for n in ("", "_best_of_1")),
        *(f"{of}_outside_win_rate_best_of_2" for of in ("model", "random", "longest", "oracle")),
        "picks_over_random",
        "picks_over_longest",
    }


@pytest.fixture(scope="module")
def drawn():
    """Lengths and labels of 200 sets of 8, which have nothing to do with each other."""
    generator = np.random.default_rng(1)
    return generator.integers(1, 10_000, (200, 8)), generator.random((200, 8))


def test_who_picks_the_longest_does_as_the_longest(drawn):
    lengths, labels = drawn
    sets = made(lengths, labels)
    found = wins(sets, lengths) | lengths_of(sets, lengths)
    for number in ("", "_best_of_2", "_best_of_4"):
        longest = found[f"longest_outside_win_rate{number}"].estimate
        assert found[f"model_outside_win_rate{number}"].estimate == longest
        assert found[f"longest_pick_share{number}"].estimate == pytest.approx(1)
    assert found["picks_over_longest"].estimate == found["picks_over_longest"].ci_high == 0
    assert found["longest_pick_chance"].estimate == pytest.approx(1 / 8, abs=0.002)  # few are of equal length
    assert found["longest_pick_chance_best_of_4"].estimate == pytest.approx(1 / 4, abs=0.002)
    assert found["pick_length_ratio"].estimate == pytest.approx(lengths.max(axis=1).mean() / lengths.mean())
    assert found["pick_length_ratio"].ci_low < found["pick_length_ratio"].estimate < found["pick_length_ratio"].ci_high
    assert "longest_pick_share_best_of_1" not in found  # one candidate is not picked


def test_who_picks_by_the_labels_does_as_the_oracle_and_who_picks_blindly_as_chance(drawn):
    sets = made(*drawn)
    oracle, blind = wins(sets, drawn[1]), wins(sets, np.zeros(drawn[0].shape))
    for number in ("", "_best_of_1", "_best_of_2", "_best_of_4"):
        best = oracle[f"oracle_outside_win_rate{number}"].estimate
        assert oracle[f"model_outside_win_rate{number}"].estimate == best
    assert oracle["oracle_outside_win_rate"].estimate == pytest.approx(drawn[1].max(axis=1).mean())
    assert oracle["picks_over_random"].ci_low > 0
    assert blind["picks_over_random"].estimate == blind["picks_over_random"].ci_high == 0


def test_picks_alone_say_what_rewards_say_of_all_candidates(drawn):
    lengths, labels = drawn
    reward = np.random.default_rng(2).normal(size=lengths.shape)
    picks = reward == reward.max(axis=1, keepdims=True)
    sets = made(lengths, labels)
    for measured in (wins, lengths_of):
        scored, picked = measured(sets, reward), measured(sets, picks, scored=False)
        assert picked and picked.keys() == {name for name in scored if "_best_of_" not in name}
        assert all(one.estimate == pytest.approx(scored[name].estimate) for name, one in picked.items())


def test_without_a_label_on_its_pick_a_set_counts_for_nobodys_win_rate(drawn):
    lengths, labels = drawn
    labels = labels.copy()
    labels[:, 5:] = np.nan
    picks = np.zeros(labels.shape)
    picks[:50, 6] = picks[50:, 2] = 1
    found = wins(made(lengths, labels), picks, scored=False)
    assert found["model_outside_win_rate"].num_pairs == found["random_outside_win_rate"].num_pairs == 150
    assert found["model_outside_win_rate"].estimate == pytest.approx(labels[50:, 2].mean())
    assert found["random_outside_win_rate"].estimate == pytest.approx(labels[50:, :5].mean())
    assert found["oracle_outside_win_rate"].estimate == pytest.approx(labels[50:, :5].max(axis=1).mean())
    scored = wins(made(lengths, labels), picks + np.arange(8))
    assert scored["model_outside_win_rate"].num_pairs == 200  # the best of those with a label is known
    assert scored["model_outside_win_rate"].estimate == pytest.approx(labels[:, 4].mean())
    assert "model_outside_win_rate_best_of_8" not in scored


def test_without_labels_there_is_no_win_rate(drawn):
    sets = made(drawn[0], np.full(drawn[1].shape, np.nan))
    assert wins(sets, drawn[0]) == {}
    assert lengths_of(sets, drawn[0])["longest_pick_share"].estimate == pytest.approx(1)


def test_sets_may_have_different_sizes_and_share_a_prompt():
    sizes = [2] * 30 + [4] * 30
    sets = CandidateSets(
        set_of=np.repeat(np.arange(60), sizes),
        cluster=np.arange(60) % 30,
        prompts=("p",) * 60,
        texts=tuple("a" * (place + 1) for size in sizes for place in range(size)),
        label=np.array([place / 4 for size in sizes for place in range(size)]),
    )
    found = wins(sets, sets.length)
    assert sets.num_prompts == 30
    assert found["model_outside_win_rate"].estimate == pytest.approx((0.25 + 0.75) / 2)
    assert found["model_outside_win_rate_best_of_2"].num_pairs == 30  # prompts, which are what is drawn again
    assert found["model_outside_win_rate_best_of_2"].estimate == pytest.approx((0.25 + (0.25 + 1 + 2.25) / 6) / 2)
    assert "2 to 4" in found["model_outside_win_rate"].method


def test_many_sets_of_few_prompts_are_few():
    lengths = np.tile(np.arange(4), (120, 1))
    sets = replace(made(lengths, lengths / 4), cluster=np.zeros(120, dtype=np.int64), prompts=("p",) * 120)
    found = wins(sets, sets.length)
    assert found["picks_over_random"].num_pairs == 1
    assert not [name for name in found if "best_of" in name]


def test_picks_drift_in_what_the_model_likes_and_a_blind_model_drifts_in_nothing():
    generator = np.random.default_rng(3)
    marks = generator.integers(0, 2, (100, 8))
    words = generator.integers(3, 9, (100, 8))
    texts = ["It is so" + " good" * word + "!" * mark for word, mark in zip(words.ravel(), marks.ravel(), strict=True)]
    sets = made(words, np.full(words.shape, np.nan), texts)

    def drifts(reward):
        picker = Picker(name="m", reward=reward.ravel().astype(float), scored=True)
        return best_of_n_labels.drift(sets, picker, CONFIG)

    likes = drifts(marks + 0.001 * generator.random(marks.shape))
    assert likes[0].labels["feature"] in {"exclamation marks", "ends with an exclamation"}  # the same in these texts
    found = {one.name: one for one in likes}
    deviation = np.sqrt(((marks - marks.mean(axis=1, keepdims=True)) ** 2).sum() / 700)
    expected = (marks.max(axis=1).mean() - marks.mean()) / deviation
    assert found["pick_drift_exclamation_marks"].estimate == pytest.approx(expected)
    assert 0 < found["pick_drift_exclamation_marks_best_of_2"].estimate < expected
    assert found["pick_drift_log_words"].ci_low < 0 < found["pick_drift_log_words"].ci_high
    assert "pick_drift_emoji" not in found  # no candidate has any
    assert all(one.estimate == pytest.approx(0, abs=1e-12) for one in drifts(np.zeros(marks.shape)))


def test_a_meter_of_one_normal_feature_drifts_by_the_expected_maximum_of_normal_values():
    values = np.random.default_rng(4).normal(size=(3000, 16))
    sets = made(np.ones(values.shape, dtype=int), np.full(values.shape, np.nan))
    sets.__dict__["features"] = np.column_stack([values.ravel(), np.zeros(values.size)])  # in place of the battery's
    picker = Picker(name="m", reward=values.ravel(), scored=True)
    (found,) = (one for one in best_of_n_labels.drift(sets, picker, CONFIG) if "n" not in one.labels)
    assert found.labels == {"feature": "characters"}
    assert found.estimate == pytest.approx(1.766, abs=0.02)  # the expected maximum of 16: Harter (1961)
