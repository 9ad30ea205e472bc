import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer

from rm.audit import baselines, style_features


def lengths(*values):
    """Feature differences of pairs that differ in length only."""
    rows = np.zeros((len(values), len(style_features.FEATURE_NAMES)))
    rows[:, 0] = values
    return rows


@pytest.mark.parametrize(
    ("train", "correct"),
    [
        ([5, 5, -1], [1, 0, 0.5]),
        ([-1, -1, 50], [0, 1, 0.5]),  # counted by pairs, not by characters
        ([1, -1], [1, 0, 0.5]),
        ([0, 0], [1, 0, 0.5]),
    ],
)
def test_the_length_floor_prefers_what_was_right_more_often_in_training(train, correct):
    assert baselines.length_baseline(lengths(*train), lengths(7, -7, 0)).tolist() == correct


@pytest.fixture(scope="module")
def noisy():
    """Training pairs whose label follows some features and held-out pairs."""
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(400, len(style_features.FEATURE_NAMES))) * generator.uniform(
        0.1, 50, len(style_features.FEATURE_NAMES)
    )
    weights = generator.normal(size=rows.shape[1]) / rows.std(axis=0)
    rows[:, 4] = 0  # a feature that never differs
    labels = generator.random(len(rows)) < 1 / (1 + np.exp(-rows @ weights))
    rows *= np.where(labels, 1, -1)[:, None]
    return rows[:300], rows[300:]


def test_the_style_floor_matches_an_independent_fit(noisy):
    train, heldout = (np.c_[rows, np.sign(rows[:, 0])] for rows in noisy)
    scale = np.where(train.std(axis=0) > 0, train.std(axis=0), 1)

    def objective(weights):
        return 0.5 * weights @ weights + 2 * np.logaddexp(0, -(train / scale) @ weights).sum()

    weights = scipy.optimize.minimize(objective, np.zeros(train.shape[1]), method="BFGS").x
    expected = (np.sign(heldout / scale @ weights) + 1) / 2
    found = baselines.style_baseline(*noisy)
    np.testing.assert_array_equal(found, expected)
    assert found.mean() > 0.6


def test_swapping_a_pair_swaps_the_verdict_of_both_floors(noisy):
    train, heldout = noisy
    for baseline in (baselines.length_baseline, baselines.style_baseline):
        np.testing.assert_array_equal(baseline(train, -heldout), 1 - baseline(train, heldout))
        np.testing.assert_array_equal(baseline(-train, heldout), 1 - baseline(train, heldout))


def test_the_style_floor_does_not_depend_on_a_features_unit(noisy):
    train, heldout = noisy
    unit = np.geomspace(1e-3, 1e3, train.shape[1])
    np.testing.assert_array_equal(
        baselines.style_baseline(train * unit, heldout * unit), baselines.style_baseline(train, heldout)
    )


@given(st.sampled_from(["**", "!", "- "]), st.booleans())
def test_the_style_floor_finds_a_planted_preference(mark, likes):
    marked = {"**": "**yes**", "!": "yes!", "- ": "- yes\n- no"}[mark]
    generator = np.random.default_rng(0)
    fillers = [" word" * count for count in generator.integers(1, 30, 200)]
    styled, plain = [marked + filler for filler in fillers], ["yes" + filler for filler in reversed(fillers)]
    pairs = style_features.differences(styled, plain) if likes else style_features.differences(plain, styled)
    assert baselines.style_baseline(pairs[:100], pairs[100:]).mean() == 1


@pytest.mark.parametrize("seed", range(5))
def test_the_style_floor_knows_what_the_length_floor_knows(seed):
    generator = np.random.default_rng(seed)
    chosen, rejected = [], []
    for sizes in generator.integers(1, 100, size=(1200, 2)):
        longer_first = sorted(sizes.tolist(), reverse=generator.random() < 0.7)  # whatever the difference
        marks = ["**so** ", "so "] if generator.random() < 0.6 else ["so ", "**so** "]
        for side, size, mark in zip((chosen, rejected), longer_first, marks, strict=True):
            side.append(mark + "word " * size)
    pairs = style_features.differences(chosen, rejected)
    by_length, by_style = (
        baseline(pairs[:600], pairs[600:]).mean() for baseline in (baselines.length_baseline, baselines.style_baseline)
    )
    assert by_length > 0.6
    assert by_style >= by_length - 0.01


def test_the_style_floor_takes_pairs_that_are_all_alike():
    """The deviation of equal numbers is not always exactly 0, and rows over it are no numbers that can be solved."""
    row = style_features.differences(["\u200b!"], ["?"])
    assert baselines.style_baseline(row.repeat(21, axis=0), row.repeat(9, axis=0)).mean() == 1


def test_style_that_says_nothing_is_a_coin():
    generator = np.random.default_rng(1)
    rows = generator.normal(size=(3000, len(style_features.FEATURE_NAMES)))
    assert baselines.style_baseline(rows[:1000], rows[1000:]).mean() == pytest.approx(0.5, abs=0.05)
    same = np.zeros((10, len(style_features.FEATURE_NAMES)))
    assert baselines.style_baseline(rows[:100], same).tolist() == [0.5] * 10


def test_without_decided_training_pairs_the_floors_are_undefined():
    nothing = style_features.differences([], [])
    for baseline in (baselines.length_baseline, baselines.style_baseline):
        assert np.isnan(baseline(nothing, lengths(1, -1))).all()


def word_labels(count, seed):
    """Pairs in which the response with "kind" is chosen, and prompts of two pairs each."""
    generator = np.random.default_rng(seed)
    vocabulary = np.array([f"w{place}" for place in range(30)])
    sides = [[" ".join([*generator.choice(vocabulary, 8), mark]) for _ in range(count)] for mark in ("kind", "grim")]
    return baselines.word_rows(tuple(sides))[0], [f"prompt {place // 2}" for place in range(count)]


def test_the_words_floor_finds_a_word_and_swapping_a_pair_swaps_its_verdict():
    rows, _ = word_labels(120, seed=0)
    found = baselines.words_baseline(rows[:80], rows[80:])
    assert found.mean() == 1
    np.testing.assert_array_equal(baselines.words_baseline(rows[:80], -rows[80:]), 1 - found)
    np.testing.assert_array_equal(baselines.words_baseline(-rows[:80], rows[80:]), 1 - found)


def test_the_words_floor_matches_an_independent_fit():
    generator = np.random.default_rng(1)
    texts = [" ".join(generator.choice(list("abcdefgh"), 6)) for _ in range(300)]
    (rows,) = baselines.word_rows((texts[:150], texts[150:]))
    counter = CountVectorizer(ngram_range=(1, 2), token_pattern="[a-z]").fit(texts)
    inputs = (counter.transform(texts[:150]) - counter.transform(texts[150:])).toarray().astype(float)

    def objective(weights):
        return 0.5 * weights @ weights / 0.03 + 2 * np.logaddexp(0, -inputs[:100] @ weights).sum()

    weights = scipy.optimize.minimize(objective, np.zeros(inputs.shape[1]), method="BFGS").x
    margins = inputs[100:] @ weights
    sure = np.abs(margins) > 1e-4
    assert sure.sum() > 40
    np.testing.assert_array_equal(baselines.words_baseline(rows[:100], rows[100:])[sure], (margins > 0)[sure])


def test_the_words_floor_is_undecided_about_unknown_words_and_undefined_without_pairs():
    known, unknown, empty = baselines.word_rows((["yes"] * 9, ["no"] * 9), (["other"], ["others"]), (["!"], ["?"]))
    assert baselines.words_baseline(known, unknown).tolist() == [0.5]
    assert np.isnan(baselines.words_baseline(known[:0], known)).all()
    assert baselines.words_baseline(empty, known).tolist() == [0.5] * 9
    assert baselines.words_baseline(known, known[:2]).tolist() == [1.0, 1.0]  # texts that come again count each time


def test_folds_are_of_whole_prompts_and_do_not_depend_on_the_others():
    prompts = [f"prompt {place % 50}" for place in range(200)]
    found = baselines.folds(prompts)
    assert set(found.tolist()) == {0, 1, 2, 3, 4}
    np.testing.assert_array_equal(found[:50], found[50:100])
    np.testing.assert_array_equal(baselines.folds(prompts[7:20]), found[7:20])
    assert baselines.folds([]).tolist() == []


def test_without_training_pairs_no_floor_is_asked_about_a_prompt_it_was_fitted_on():
    _, prompts = word_labels(100, seed=2)
    asked = []

    def spy(train, heldout, weight):
        assert weight is None
        assert not {prompt for _, prompt in train} & {prompt for _, prompt in heldout}
        assert len(train) + len(heldout) == 100
        asked.extend(place for place, _ in heldout)
        return np.array([place / 100 for place, _ in heldout])

    numbered = np.array(list(enumerate(prompts)), dtype=object)
    found = baselines.judged(spy, None, numbered, baselines.folds(prompts))
    assert sorted(asked) == list(range(100))
    np.testing.assert_array_equal(found, np.arange(100) / 100)


def test_a_floor_that_memorised_its_pairs_knows_nothing_of_the_others():
    generator = np.random.default_rng(3)
    texts = [f"only{place} " + " ".join(generator.choice(list("abc"), 5)) for place in range(800)]
    (rows,), prompts = baselines.word_rows((texts[:400], texts[400:])), [str(place) for place in range(400)]
    assert baselines.words_baseline(rows, rows).mean() > 0.65
    found = baselines.judged(baselines.words_baseline, None, rows, baselines.folds(prompts))
    assert found.mean() == pytest.approx(0.5, abs=0.09)


def test_given_training_pairs_are_what_a_floor_is_fitted_on():
    rows, prompts = word_labels(60, seed=4)
    found = baselines.judged(baselines.words_baseline, -rows[:30], rows[30:], baselines.folds(prompts[30:]))
    assert found.mean() == 0


def few_rows_of_many_columns(scale):
    random = np.random.default_rng(7)
    counts = random.poisson(0.05, size=(60, 900)) - random.poisson(0.05, size=(60, 900))
    return scale * counts.astype(float), scale * (random.poisson(0.05, size=(40, 900)) - 0.05)


@pytest.mark.parametrize("kind", [np.asarray, scipy.sparse.csr_array])
@pytest.mark.parametrize("scale", [0.1, 1, 100])
def test_coefficients_found_by_rows_are_at_the_minimum(kind, scale):
    rows, _ = few_rows_of_many_columns(scale)
    weight = np.random.default_rng(8).exponential(size=60)
    found = baselines._coefficients_by_rows(kind(rows), 0.06, weight)
    slope = found / 0.06 - rows.T @ (weight * scipy.special.expit(-rows @ found))
    assert np.abs(slope).max() < 1e-8 * scale


def test_both_ways_to_the_coefficients_predict_the_same(monkeypatch):
    monkeypatch.setattr(baselines, "_TOLERANCE", 1e-11)
    rows, others = few_rows_of_many_columns(1)
    weight = np.random.default_rng(8).exponential(size=60)
    found = [way(rows, 0.06, weight) for way in (baselines._coefficients_by_rows, baselines._coefficients_by_columns)]
    assert np.abs(others @ found[0]).max() > 0.3
    np.testing.assert_allclose(others @ found[0], others @ found[1], rtol=0, atol=1e-8)


def test_rows_far_apart_are_separated_without_jumping_over_the_minimum():
    rows = scipy.sparse.csr_array(np.diag([1e3, 1.0, 1e-3]) @ np.ones((3, 5)))
    found = baselines._coefficients_by_rows(rows, 1e4, np.ones(3))
    slope = found / 1e4 - rows.T @ scipy.special.expit(-rows @ found)
    assert np.abs(slope).max() < 1e-6


def test_a_floor_is_fitted_on_weighted_pairs():
    rows = np.column_stack([[5.0, 5.0, -5.0], np.zeros((3, 4))])
    assert baselines.length_baseline(rows, rows).tolist() == [1.0, 1.0, 0.0]
    assert baselines.length_baseline(rows, rows, np.array([0.1, 0.1, 2.8])).tolist() == [0.0, 0.0, 1.0]
