import dataclasses
import math

import numpy as np
import pytest

from rm.audit import phrase_bias
from rm.audit.phrase_bias import word_table
from tests.rm import biased_pairs


def test_a_keyword_that_the_model_likes_is_found_first():
    pairs = biased_pairs.make_pairs(biased_pairs.keyword, seed=1)
    table = word_table(pairs)
    first = table.found[0]
    assert (first.phrase, first.direction) == (biased_pairs.KEYWORD, "over")
    assert first.z > 10 and first.p <= first.q < 1e-9
    has = np.array([[biased_pairs.KEYWORD in text.split() for text in side] for side in (pairs.chosen, pairs.rejected)])
    apart = has[0] != has[1]
    assert first.num_pairs == apart.sum()
    assert first.share_labels == pytest.approx(has[0][apart].mean())
    assert first.share_model == pytest.approx(np.where(has[0], pairs.correct, 1 - pairs.correct)[apart].mean())
    assert first.share_model > 0.85
    assert first.share_labels < 0.6


def test_a_keyword_that_the_model_avoids_is_found_too():
    pairs = biased_pairs.make_pairs(biased_pairs.keyword, seed=1)
    worse = dataclasses.replace(pairs, reward_chosen=-pairs.reward_chosen, reward_rejected=-pairs.reward_rejected)
    one, other = word_table(pairs), word_table(worse)
    assert (other.found[0].phrase, other.found[0].direction) == (biased_pairs.KEYWORD, "under")
    assert other.found[0].z == pytest.approx(-one.found[0].z, rel=1e-6)


def test_the_values_of_a_bag_of_words_are_found_with_their_signs():
    table = word_table(biased_pairs.make_pairs(biased_pairs.bag_of_words, seed=2))
    assert table.num_found > len(table.found) == 20
    sizes = [abs(result.z) for result in table.found]
    assert sizes == sorted(sizes, reverse=True)
    signs = {result.phrase: result.direction for result in table.found if result.phrase.startswith("word")}
    assert set(signs.values()) == {"over", "under"}
    for phrase, sign in signs.items():
        assert sign == ("over" if int(phrase.removeprefix("word")) > 30 else "under")


def test_a_length_meter_is_not_accused_of_the_words_of_longer_responses():
    table = word_table(biased_pairs.make_pairs(biased_pairs.length, seed=3))
    assert table.num_tested > 50
    assert table.found == ()


@pytest.mark.parametrize("min_pairs", [8, 30])
def test_a_sound_model_is_accused_no_more_often_than_the_rate_allows(min_pairs):
    false_alarms = 0
    for seed in range(40):
        table = word_table(
            biased_pairs.make_pairs(biased_pairs.oracle, seed, num_pairs=400, num_prompts=250), min_pairs
        )
        assert table.num_tested > 50
        false_alarms += table.num_found > 0
    assert false_alarms <= 6  # 2 expected, more than 6 once in two hundred times


def test_a_phrase_must_tell_apart_pairs_of_enough_prompts():
    pairs = biased_pairs.make_pairs(biased_pairs.keyword, seed=1)
    few = dataclasses.replace(pairs, cluster=pairs.cluster % 20)
    assert word_table(few, min_pairs=21).num_tested == 0
    assert word_table(few, min_pairs=20).num_tested > 10


def test_pairs_without_words_are_tested_for_nothing():
    pairs = biased_pairs.make_pairs(biased_pairs.oracle, seed=0, num_pairs=50, num_prompts=50)
    empty = dataclasses.replace(pairs, chosen=("!",) * 50, rejected=("?",) * 50)
    table = word_table(empty)
    assert (table.found, table.num_found, table.num_tested) == ((), 0, 0)


def test_a_model_that_prefers_the_longer_by_however_little_is_not_accused_of_what_makes_it_longer():
    pairs = biased_pairs.make_pairs(biased_pairs.oracle, seed=7)
    generator = np.random.default_rng(7)
    chosen, rejected = list(pairs.chosen), list(pairs.rejected)
    for place in range(0, 600):  # the same but for one word, on either side
        sides = ["word1 word2", "word1 word2 finally"]
        chosen[place], rejected[place] = sides if generator.random() < 0.5 else sides[::-1]
    length_chosen, length_rejected = (np.array([len(t.split()) for t in side]) * 1.0 for side in (chosen, rejected))
    prefers = np.sign(length_chosen - length_rejected) * np.where(generator.random(len(chosen)) < 0.9, 1, -1)
    changed = dataclasses.replace(
        pairs,
        chosen=tuple(chosen),
        rejected=tuple(rejected),
        length_chosen=length_chosen,
        length_rejected=length_rejected,
        reward_chosen=prefers,
        reward_rejected=np.zeros(len(prefers)),
    )
    table = word_table(changed)
    assert table.num_tested > 50
    assert not [result for result in table.found if "finally" in result.phrase]


def test_the_largest_excess_is_of_all_phrases_found_and_not_of_those_shown(monkeypatch):
    strong = biased_pairs.make_pairs(biased_pairs.keyword, seed=1)
    whole = phrase_bias.word_table(strong)
    assert whole.num_found >= 1
    monkeypatch.setattr(phrase_bias, "_MAX_SHOWN", 0)
    hidden = phrase_bias.word_table(strong)
    assert hidden.found == ()
    assert hidden.largest_excess == whole.largest_excess > 0.05


def test_where_no_phrase_can_be_tested_the_excess_is_undefined():
    pairs = biased_pairs.make_pairs(biased_pairs.keyword, seed=1, num_pairs=20, num_prompts=20)
    table = phrase_bias.word_table(pairs)
    assert table.num_tested == 0
    assert math.isnan(phrase_bias.largest_phrase_excess(table, 20).estimate)
