import math
from itertools import pairwise

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from rm.audit import phrases

SOME_TEXTS = st.lists(st.lists(st.sampled_from("abcd"), max_size=8).map(" ".join), max_size=8)


def slow_phrases(text):
    found = text.split()
    return {*found, *(f"{one} {other}" for one, other in pairwise(found))}


@given(SOME_TEXTS, st.integers(1, 3))
def test_the_table_of_texts_matches_a_slow_loop(texts, min_texts):
    table = phrases.table(texts, min_texts)
    found = {(row, table.phrases[place]) for row, place in zip(table.row, table.phrase, strict=True)}
    sets = [slow_phrases(text) for text in texts]
    common = {phrase for one in sets for phrase in one if sum(phrase in other for other in sets) >= min_texts}
    assert found == {(row, phrase) for row, one in enumerate(sets) for phrase in one & common}
    assert set(table.phrases) == common and len(table.phrases) == len(common)
    assert len(found) == len(table.row) and table.num_rows == len(texts)
    assert (table.value == 1).all()


@given(st.lists(st.tuples(*[st.lists(st.sampled_from("abcd"), max_size=6).map(" ".join)] * 2), max_size=6))
def test_differences_are_phrases_of_one_side_only(pairs):
    chosen, rejected = [one for one, _ in pairs], [other for _, other in pairs]
    table = phrases.differences(chosen, rejected, 1)
    entries = zip(table.row, table.phrase, table.value, strict=True)
    found = {(row, table.phrases[place], value) for row, place, value in entries}
    expected = set()
    for row, (one, other) in enumerate(zip(chosen, rejected, strict=True)):
        expected |= {(row, phrase, 1.0) for phrase in slow_phrases(one) - slow_phrases(other)}
        expected |= {(row, phrase, -1.0) for phrase in slow_phrases(other) - slow_phrases(one)}
    assert found == expected and len(table.row) == len(expected)


def test_phrases_of_the_same_rows_are_one_the_longest():
    table = phrases.distinct(phrases.table(["in order to b", "in order to c", "b"], 1))
    assert set(table.phrases) == {"in order", "b", "to b", "to c"}
    assert set(phrases.distinct(phrases.differences(["a", "b"], ["b", "a"], 1)).phrases) == {"a", "b"}  # signs count


def test_clusters_are_counted_once_a_phrase():
    table = phrases.table(["a b", "a", "a b", "b"], 1)
    counts = dict(zip(table.phrases, phrases.num_clusters_with(table, np.array([0, 0, 0, 5])).tolist(), strict=True))
    assert counts == {"a": 1, "b": 2, "a b": 1}
    kept = table.keep(np.array([phrase == "b" for phrase in table.phrases]))
    assert (kept.phrases, kept.row.tolist(), set(kept.phrase.tolist())) == (("b",), [0, 2, 3], {0})


def planted_table(seed, size=200):
    generator = np.random.default_rng(seed)
    dense = generator.choice([-1.0, 0, 0, 1], size=(size, 6))
    row, phrase = np.nonzero(dense)
    table = phrases.Table(num_rows=size, phrases=tuple("abcdef"), row=row, phrase=phrase, value=dense[row, phrase])
    known = np.column_stack([np.ones(size), generator.normal(size=size)])
    target = (generator.random(size) < 1 / (1 + np.exp(-known @ [0.5, 1.0]))).astype(float)

    def loss(weights):
        return np.logaddexp(0, -(2 * target - 1) * (known @ weights)).sum()

    fitted = 0.9 * scipy.optimize.minimize(loss, np.zeros(2), tol=1e-12).x  # shrunk, as by a penalty
    expected = 1 / (1 + np.exp(-known @ fitted))
    return dense, table, known, target, expected, generator.integers(size // 3, size=size)


@pytest.mark.parametrize("seed", range(4))
def test_score_tests_match_a_dense_computation(seed):
    dense, table, known, target, expected, clusters = planted_table(seed)
    weight = np.diag(expected * (1 - expected))
    found = phrases.score_tests(table, target, expected, known, clusters).z
    for column, z in zip(dense.T, found, strict=True):
        rest = column - known @ np.linalg.solve(known.T @ weight @ known, known.T @ weight @ column)
        scores = rest * (target - expected)
        robust = sum(scores[clusters == cluster].sum() ** 2 for cluster in set(clusters.tolist()))
        assert z == pytest.approx(scores.sum() / math.sqrt(max(robust, rest @ weight @ rest)), rel=1e-6)


def test_a_phrase_that_met_no_surprise_in_a_few_pairs_is_no_discovery():
    size = 2000
    target = np.ones(size)
    target[:100] = 0
    table = phrases.Table(
        num_rows=size, phrases=("a",), row=np.arange(500, 530), phrase=np.zeros(30, int), value=np.ones(30)
    )
    share = np.full(size, target.mean())
    (z,) = phrases.score_tests(table, target, share, np.ones((size, 1)), np.arange(size)).z
    assert 0 < z < 1.96  # right 30 times out of 30, where 95 % are


def test_pairs_of_one_prompt_are_not_independent_evidence():
    target = np.tile([1.0, 0.0], 500)
    found = phrases.Table(
        num_rows=1000, phrases=("a",), row=np.arange(0, 80, 2), phrase=np.zeros(40, int), value=np.ones(40)
    )
    share, known = np.full(1000, 0.5), np.ones((1000, 1))
    (apart,) = phrases.score_tests(found, target, share, known, np.arange(1000)).z
    (together,) = phrases.score_tests(found, target, share, known, np.repeat(np.arange(25), 40)).z
    assert apart > 6
    assert abs(together) < 2.1


@given(st.floats(-30, 30))
def test_two_sided_probabilities_match_scipy(z):
    assert phrases.two_sided(np.array([z]))[0] == pytest.approx(2 * scipy.stats.norm.sf(abs(z)), rel=1e-9)


def test_words_are_the_phrases_of_one_word():
    texts = ["one two one", "two", ""]
    reading = phrases.read(texts)
    rows = reading.words(texts)
    assert rows.shape == reading.rows(texts).shape
    found = [{reading.name(column): int(row[column]) for column in np.flatnonzero(row)} for row in rows.toarray()]
    assert found == [{"one": 2, "two": 1}, {"two": 1}, {}]
