"""Biases that no feature describes, and that only words or letters tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse

from rm.audit import text_parts
from rm.audit.heldout import ScoredPairs
from rm.features import letters
from rm.stats.sufficiency import Judged

SIZE = 700
WORDS_OF_A_TEXT = 40


def pairs_of(bias, seed=0, size=SIZE):
    """Pairs of made-up words, hardly one of them twice; the reward is a quality that labels follow, and a bias."""
    random = np.random.default_rng(seed)
    sides = [[text(random) for _ in range(size)] for _ in range(2)]
    quality = random.normal(size=size)
    one = np.where(random.random(size) < 1 / (1 + np.exp(-2 * quality)), 1.0, -1.0)
    paid = np.array([bias(first) - bias(second) for first, second in zip(*sides, strict=True)])
    paid /= paid.std() or 1
    margin = one * (quality + paid)
    chosen = [first if sign > 0 else second for first, second, sign in zip(*sides, one, strict=True)]
    rejected = [second if sign > 0 else first for first, second, sign in zip(*sides, one, strict=True)]
    scored = ScoredPairs(
        prompt=np.arange(size),
        cluster=np.arange(size),
        reward_chosen=margin,
        reward_rejected=np.zeros(size),
        length_chosen=np.ones(size),
        length_rejected=np.ones(size),
        preference=np.ones(size),
        prompts=("",) * size,
        chosen=tuple(chosen),
        rejected=tuple(rejected),
    )
    return scored, judged(margin)


def judged(margin):
    size = len(margin)
    return Judged(
        margin=margin,
        preference=np.ones(size),
        cluster=np.arange(size),
        num_clusters=size,
        stratum=np.zeros(size, dtype=np.int64),
        length=np.zeros(size),
        weight=np.ones(size),
    )


def text(random):
    """Words of six letters; how many of the letters are vowels differs by text."""
    share = random.uniform(0.2, 0.6)
    vowels = random.random((WORDS_OF_A_TEXT, 6)) < share
    made = np.where(
        vowels, random.choice(list("aeiou"), vowels.shape), random.choice(list("bcdfghklmnprstvw"), vowels.shape)
    )
    return " ".join("".join(word) for word in made)


def vowels(text):
    return sum(letter in "aeiou" for letter in text) / len(text)


def found(bias, seed=0):
    scored, pairs = pairs_of(bias, seed)
    return {one.labels["over"]: one for one in text_parts.findings(scored, pairs, pairs.cluster % 5)}


def test_a_bias_for_vowels_is_seen_in_letters_and_not_in_words_that_never_come_twice():
    seen = found(vowels)
    assert seen["letters"].ci_low > 0
    assert set(seen["letters"].detail.replace('"', "")) & set("aeiou")
    assert not seen["words"].ci_low > 0


def test_a_sound_reward_is_not_accused():
    for seed in range(3):
        assert all(not one.ci_low > 0 and not one.ci_high < 0 for one in found(lambda _: 0.0, seed).values())


def test_of_many_pairs_the_letters_of_some_are_read(monkeypatch):
    scored, pairs = pairs_of(vowels)
    monkeypatch.setattr(text_parts, "_MOST_LETTERS", 300)
    read = []
    monkeypatch.setattr(letters, "counts", lambda texts, real=letters.counts: read.append(len(texts)) or real(texts))
    by_letters = list(text_parts.findings(scored, pairs, pairs.cluster % 5))[1]
    assert read == [300, 300]
    assert by_letters.num_pairs <= 300
    assert by_letters.ci_low > 0


def in_clusters(sizes):
    """Made-up pairs in clusters of these sizes."""
    scored, pairs = pairs_of(vowels, size=sum(sizes))
    cluster = np.repeat(np.arange(len(sizes)), sizes)
    return replace(scored, cluster=cluster), replace(pairs, cluster=cluster, num_clusters=len(sizes))


def test_of_each_prompt_as_many_pairs_are_read_as_fit():
    scored, _ = in_clusters([1, 2, 30, 3])
    sizes = [np.bincount(scored.cluster[text_parts._drawn(scored, most)]).tolist() for most in (4, 7, 10, 36)]
    assert sizes == [[1, 1, 1, 1], [1, 2, 2, 2], [1, 2, 4, 3], [1, 2, 30, 3]]


def test_of_more_prompts_than_fit_one_pair_each_is_read():
    scored, _ = in_clusters([2] * 50)
    assert np.bincount(scored.cluster[text_parts._drawn(scored, 20)]).max() == 1


def test_the_order_of_the_pairs_does_not_change_which_are_read():
    scored, _ = in_clusters([5, 1, 8, 20, 2, 2])
    shuffled = np.random.default_rng(1).permutation(len(scored.cluster))
    one, other = (text_parts._drawn(each, 15) for each in (scored, scored.take(shuffled)))
    assert set(shuffled[other].tolist()) == set(one.tolist())


@pytest.mark.parametrize("at", [0, 40])
def test_a_prompt_with_more_pairs_than_are_read_hides_no_bias(monkeypatch, at):
    monkeypatch.setattr(text_parts, "_MOST_LETTERS", 300)
    sizes = [1] * 400
    sizes[at] = 301
    scored, pairs = in_clusters(sizes)
    by_letters = list(text_parts.findings(scored, pairs, pairs.cluster % 5))[1]
    assert by_letters.ci_low > 0


def test_of_one_prompt_alone_the_finding_is_undefined_and_says_why(monkeypatch):
    monkeypatch.setattr(text_parts, "_MOST_LETTERS", 50)
    for one in text_parts.findings(*in_clusters([30, 31]), np.repeat([0, 1], [30, 31])):
        assert np.isnan(one.estimate)
        assert one.detail == "what is predicted differs in 2 prompts; fewer than 15 show nothing"


def test_where_no_response_has_a_word_the_finding_is_undefined_and_says_why():
    scored, pairs = pairs_of(vowels)
    silent = replace(scored, chosen=("?!",) * SIZE, rejected=("",) * SIZE)
    by_words = next(text_parts.findings(silent, pairs, pairs.cluster % 5))
    assert np.isnan(by_words.estimate)
    assert "nothing is left to predict" in by_words.detail


def test_shares_know_no_length_and_have_length_one():
    counts = scipy.sparse.csr_array(np.array([[1.0, 3.0, 0.0], [2.0, 6.0, 0.0], [0.0, 0.0, 0.0]]))
    assert text_parts.shares(counts).toarray() == pytest.approx(
        np.array([[0.5, np.sqrt(0.75), 0.0], [0.5, np.sqrt(0.75), 0.0], [0.0, 0.0, 0.0]])
    )


def test_shares_predict_what_a_reward_pays_for_a_rate_in_texts_of_any_length():
    """Counts of words grow with the text, and a reward that pays for a rate does not follow them."""
    random = np.random.default_rng(1)
    sizes = np.exp(random.uniform(3, 9, (2, SIZE))).astype(int)
    rates = random.dirichlet(np.ones(8), (2, SIZE))
    counts = [np.array([random.multinomial(n, p) for n, p in zip(*side, strict=True)]) for side in zip(sizes, rates)]  # noqa: B905
    margin = rates[0, :, 0] - rates[1, :, 0]
    pairs = judged(margin / margin.std() + random.normal(size=SIZE))
    one, other = (text_parts.shares(scipy.sparse.csr_array(side.astype(float))) for side in counts)
    by_share = text_parts.part(pairs, one - other, pairs.cluster % 5)
    by_count = text_parts.part(pairs, scipy.sparse.csr_array((counts[0] - counts[1]).astype(float)), pairs.cluster % 5)
    along = [np.corrcoef(predicted, margin)[0, 1] for predicted in (by_share, by_count)]
    assert along[0] > 0.9
    assert 1 - along[0] < (1 - along[1]) / 2
