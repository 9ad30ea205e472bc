import dataclasses

import numpy as np
import pytest

from rm.audit import overpaid_words
from rm.audit.overpaid_words import word_table
from rm.audit.records import WordTable
from rm.stats.sufficiency import Judged
from tests.rm import biased_pairs


def judged(pairs):
    return Judged(
        margin=pairs.margin,
        preference=pairs.preference,
        cluster=pairs.cluster,
        num_clusters=int(pairs.cluster.max()) + 1,
        stratum=np.zeros(len(pairs.margin), dtype=np.int64),
        length=np.log1p(pairs.length_chosen) - np.log1p(pairs.length_rejected),
        weight=pairs.weight,
    )


def found(pairs, **options):
    return word_table(pairs, judged(pairs), **options)


def test_a_keyword_that_the_model_likes_is_found_first():
    pairs = biased_pairs.make_pairs(biased_pairs.keyword, seed=1)
    first = found(pairs).found[0]
    assert (first.phrase, first.direction) == (biased_pairs.KEYWORD, "over")
    assert first.paid > 0 > first.asked
    assert first.p <= first.q < 1e-6
    has = np.array([[biased_pairs.KEYWORD in text.split() for text in side] for side in (pairs.chosen, pairs.rejected)])
    apart = has[0] != has[1]
    assert first.num_pairs == apart.sum()
    assert first.share_labels == pytest.approx(has[0][apart].mean())
    assert first.share_model == pytest.approx(np.where(has[0], pairs.correct, 1 - pairs.correct)[apart].mean())
    assert first.share_model > 0.75
    assert first.share_labels < 0.6


def test_pairs_of_weight_k_ask_and_pay_for_a_word_what_k_equal_pairs_do():
    """With two rewards, so that ranks do not depend on the number of pairs."""
    pairs = biased_pairs.make_pairs(biased_pairs.keyword, seed=1)
    times = np.random.default_rng(0).integers(1, 4, len(pairs.margin))
    pairs = dataclasses.replace(
        pairs, reward_chosen=np.sign(pairs.margin), reward_rejected=np.zeros(len(times)), sampling_probability=1 / times
    )
    repeated = pairs.take(np.repeat(np.arange(len(times)), times))
    weighted, several = found(pairs), found(dataclasses.replace(repeated, sampling_probability=None))
    one, other = weighted.found[0], several.found[0]
    assert one.phrase == other.phrase == biased_pairs.KEYWORD
    for name in ("asked", "paid", "share_model", "share_labels"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-6), name
    assert 0 < -one.z <= -other.z * 1.001


def test_a_keyword_that_the_model_avoids_is_over_punished():
    def shy(texts, lengths, generator):
        margin, nothing = biased_pairs.oracle(texts, lengths, generator)
        malus = [np.array([2.0 * (biased_pairs.KEYWORD in text.split()) for text in side]) for side in texts]
        return margin - malus[0], nothing - malus[1]

    first = found(biased_pairs.make_pairs(shy, seed=1)).found[0]
    assert (first.phrase, first.direction) == (biased_pairs.KEYWORD, "under")
    assert first.paid < 0 < first.asked


def test_a_word_that_the_labels_support_is_not_found():
    pairs = biased_pairs.make_pairs(biased_pairs.oracle, seed=4)
    bold = np.array(
        [
            float("**so**" in one.split()) - float("**so**" in other.split())
            for one, other in zip(pairs.chosen, pairs.rejected, strict=True)
        ]
    )
    assert bold.sum() > 200  # annotators chose it, so that a model that pays a little for it does well
    paying = dataclasses.replace(pairs, reward_chosen=pairs.reward_chosen + 0.3 * bold)
    assert "**so**" not in {word.phrase for word in found(paying).found}
    assert "so" not in {word.phrase for word in found(paying).found}


def test_a_length_meter_is_not_accused_of_the_words_of_longer_responses():
    table = found(biased_pairs.make_pairs(biased_pairs.length, seed=3))
    assert table.num_tested > 50
    assert table.found == ()


@pytest.mark.parametrize("min_prompts", [pytest.param(8, marks=pytest.mark.slow), 30])
def test_a_sound_model_is_accused_no_more_often_than_the_rate_allows(min_prompts):
    false_alarms = 0
    for seed in range(40):
        pairs = biased_pairs.make_pairs(biased_pairs.oracle, seed, num_pairs=400, num_prompts=250)
        table = found(pairs, min_prompts=min_prompts)
        assert table.num_tested > 50
        false_alarms += table.num_found > 0
    assert false_alarms <= 6  # more have a probability below 5 % at a rate of 5 %


def test_rewards_that_say_nothing_have_no_table():
    pairs = biased_pairs.make_pairs(biased_pairs.oracle, seed=1)
    flat = dataclasses.replace(pairs, reward_chosen=pairs.reward_rejected)
    assert found(flat).num_tested == 0


def test_the_number_of_phrases_names_the_first():
    table = found(biased_pairs.make_pairs(biased_pairs.keyword, seed=1))
    (finding,) = overpaid_words.num_phrases(table, 1200)
    assert finding.estimate == table.num_found > 0
    assert finding.num_pairs == 1200
    assert overpaid_words.num_phrases(WordTable(found=(), num_found=0, num_tested=0), 1200) == ()
    assert finding.detail.startswith(f'"{biased_pairs.KEYWORD}"')
