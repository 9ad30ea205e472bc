import numpy as np
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st

from rm import style

PLAIN = "the answer is no"


def counts(text):
    """Features by name, counts undone from their logarithms."""
    found = dict(zip(style.FEATURE_NAMES, style.features(text), strict=True))
    characters = (found.pop("characters"), found.pop("log characters"))
    return {name: round(float(np.expm1(value)), 6) for name, value in found.items()}, characters


def test_plain_text_has_its_length_and_nothing_else():
    found, characters = counts(PLAIN)
    assert set(found.values()) == {0}
    assert characters == (16, pytest.approx(np.log(17)))
    assert style.features("") == [0.0] * len(style.FEATURE_NAMES)


@pytest.mark.parametrize(
    ("text", "name", "count"),
    [
        ("- one\n* two\n• three\n1. four\n 2) five", "list items", 5),
        ("3-4 - no list, 1.5 neither", "list items", 0),
        ("**one** and **two words**, 2 ** 3", "bold", 2),
        ("# One\n### Two\n#hashtag\nnot # this", "headers", 2),
        ("`one` and `two`", "code", 2),
        ("http://a and https://b and [c](d)", "links", 3),
        ("Yes!! No!", "exclamation marks", 3),
        ("Why? Who?", "question marks", 2),
        ("a\n\nb\n", "line breaks", 3),
        ("  Of course, it is.", "affirmative opener", 1),
        ("SURE thing", "affirmative opener", 1),
        ("Surely not. Sure.", "affirmative opener", 0),
        ("Maybe it might, I think, possibly.", "hedges", 4),
        ("mighty", "hedges", 0),
        ("I'm sorry, but as an AI I cannot.", "refusal", 3),
    ],
)
def test_a_feature_counts_what_its_name_says(text, name, count):
    assert counts(text)[0][name] == count


def test_differences_are_of_the_chosen_minus_the_rejected_response():
    chosen, rejected = ["**a**!", "b"], ["a", "b\n- c"]
    found = style.differences(chosen, rejected)
    assert found.shape == (2, len(style.FEATURE_NAMES))
    assert found[0, 0] == 5
    np.testing.assert_array_equal(style.differences(rejected, chosen), -found)
    assert style.differences([], []).shape == (0, len(style.FEATURE_NAMES))


def lengths(*values):
    """Feature differences of pairs that differ in length only."""
    rows = np.zeros((len(values), len(style.FEATURE_NAMES)))
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
    assert style.length_floor(lengths(*train), lengths(7, -7, 0)).tolist() == correct


@pytest.fixture(scope="module")
def noisy():
    """Training pairs whose label follows some features and held-out pairs."""
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(400, len(style.FEATURE_NAMES))) * generator.uniform(0.1, 50, len(style.FEATURE_NAMES))
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
    found = style.style_floor(*noisy)
    np.testing.assert_array_equal(found, expected)
    assert found.mean() > 0.6


def test_swapping_a_pair_swaps_the_verdict_of_both_floors(noisy):
    train, heldout = noisy
    for floor in (style.length_floor, style.style_floor):
        np.testing.assert_array_equal(floor(train, -heldout), 1 - floor(train, heldout))
        np.testing.assert_array_equal(floor(-train, heldout), 1 - floor(train, heldout))


def test_the_style_floor_does_not_depend_on_a_features_unit(noisy):
    train, heldout = noisy
    unit = np.geomspace(1e-3, 1e3, train.shape[1])
    np.testing.assert_array_equal(style.style_floor(train * unit, heldout * unit), style.style_floor(train, heldout))


@given(st.sampled_from(["**", "!", "- "]), st.booleans())
def test_the_style_floor_finds_a_planted_preference(mark, likes):
    marked = {"**": "**yes**", "!": "yes!", "- ": "- yes\n- no"}[mark]
    generator = np.random.default_rng(0)
    fillers = [" word" * count for count in generator.integers(1, 30, 200)]
    styled, plain = [marked + filler for filler in fillers], ["yes" + filler for filler in reversed(fillers)]
    pairs = style.differences(styled, plain) if likes else style.differences(plain, styled)
    assert style.style_floor(pairs[:100], pairs[100:]).mean() == 1


@pytest.mark.parametrize("seed", range(5))
def test_the_style_floor_knows_what_the_length_floor_knows(seed):
    generator = np.random.default_rng(seed)
    chosen, rejected = [], []
    for sizes in generator.integers(1, 100, size=(1200, 2)):
        longer_first = sorted(sizes.tolist(), reverse=generator.random() < 0.7)  # whatever the difference
        marks = ["**so** ", "so "] if generator.random() < 0.6 else ["so ", "**so** "]
        for side, size, mark in zip((chosen, rejected), longer_first, marks, strict=True):
            side.append(mark + "word " * size)
    pairs = style.differences(chosen, rejected)
    by_length, by_style = (floor(pairs[:600], pairs[600:]).mean() for floor in (style.length_floor, style.style_floor))
    assert by_length > 0.6
    assert by_style >= by_length - 0.01


def test_style_that_says_nothing_is_a_coin():
    generator = np.random.default_rng(1)
    rows = generator.normal(size=(3000, len(style.FEATURE_NAMES)))
    assert style.style_floor(rows[:1000], rows[1000:]).mean() == pytest.approx(0.5, abs=0.05)
    same = np.zeros((10, len(style.FEATURE_NAMES)))
    assert style.style_floor(rows[:100], same).tolist() == [0.5] * 10


def test_without_decided_training_pairs_the_floors_are_undefined():
    nothing = style.differences([], [])
    for floor in (style.length_floor, style.style_floor):
        assert np.isnan(floor(nothing, lengths(1, -1))).all()
