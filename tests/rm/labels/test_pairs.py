from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from rm.labels import giveaways, guessing, length, marks
from rm.stats.config import BootstrapConfig
from rm.stats.measurements import Measurements
from tests.rm.labels import world

MARKS = [mark.name for mark in marks.MARKS]


def findings(add, pairs, *more):
    collected = Measurements(pairs.num_clusters, BootstrapConfig(num_resamples=100))
    add(collected, *more, pairs)
    return {one.name: one for one in collected.findings().values()}


def turned(pairs):
    """The same pairs with their sides exchanged."""
    return world.pairs(pairs.second, pairs.first, 1 - pairs.preference, pairs.prompts)


def measured(pairs):
    first, second = marks.read(pairs)
    return marks.measure(pairs, first - second, 200, 0)


def found_giveaways(pairs):
    first, second = marks.read(pairs)
    return giveaways.find(pairs, first - second)


# Length


def test_the_share_and_the_odds_of_length_have_closed_forms():
    # One response is twice as long but for the one character that the log adds; it wins three of four votes.
    pairs = world.pairs(["a" * 199] * 400, ["a" * 99] * 400, [1.0, 1.0, 1.0, 0.0] * 100)
    found = findings(length.add, pairs)
    assert found["label_longer_wins"].estimate == pytest.approx(0.75)
    assert found["label_length_odds"].estimate == pytest.approx(3, rel=0.02)  # the penalty weighs as much as four pairs


def test_equal_lengths_say_nothing_of_length():
    pairs = world.pairs(["aa", "bbb", "cc"] * 40, ["zz", "y", "xx"] * 40, [1.0, 0.0, 1.0] * 40)
    found = findings(length.add, pairs)
    assert found["label_longer_wins"].num_pairs == 40
    assert found["label_longer_wins"].estimate == 0.0


def test_a_snapshot_that_has_the_better_one_first_is_seen():
    assert findings(length.add, world.random_pairs(100, 0, np.ones(100)))["label_order"].estimate == 1.0
    fair = findings(length.add, world.random_pairs(400, 0))["label_order"]
    assert fair.ci_low < 0.5 < fair.ci_high


def test_a_text_that_answers_many_prompts_is_no_coin():
    fair = world.random_pairs(400, 4)
    refusal = ["I cannot answer that."] * 400  # its digest puts it first, and annotators like it
    pairs = world.pairs(
        [*fair.first, *refusal],
        [*fair.second, *(f"{text} again" for text in fair.first)],
        np.concatenate([fair.preference, np.ones(400)]),
        [*fair.prompts, *(f"{prompt}?" for prompt in fair.prompts)],
    )
    found = findings(length.add, pairs)["label_order"]
    assert found.num_pairs == 400
    assert found.estimate == pytest.approx(fair.preference.mean())
    only = world.pairs(["Yes"] * 50, ["No"] * 50, [1.0] * 50, [f"prompt {number}" for number in range(50)])
    assert findings(length.add, only)["label_order"].num_pairs == 0


def test_equal_clusters_have_the_interval_of_wilson():
    found = findings(length.add, world.random_pairs(50, 1, np.arange(50) < 45))["label_order"]
    expected = scipy.stats.binomtest(45, 50).proportion_ci(method="wilson")
    assert (found.ci_low, found.ci_high) == pytest.approx((expected.low, expected.high))


def test_pairs_of_one_prompt_are_no_more_than_a_prompt():
    """20 prompts with 10 pairs each say as much as 20 pairs; one with 101 beside 99 others as much as 4."""
    once = world.random_pairs(20, 2, np.arange(20) < 18)
    prompts = [f"prompt {number}" for number in np.arange(200) % 20]
    often = world.pairs(once.first * 10, once.second * 10, np.tile(once.preference, 10), prompts)
    one, other = (findings(length.add, each)["label_order"] for each in (once, often))
    assert (one.ci_low, one.ci_high) == pytest.approx((other.ci_low, other.ci_high))
    uneven = world.random_pairs(200, 3, np.ones(200))
    uneven = world.pairs(uneven.first, uneven.second, uneven.preference, np.minimum(np.arange(200), 99).astype(str))
    expected = 1 / (1 + scipy.stats.chi2.isf(0.05, 1) / (200**2 / (101**2 + 99)))
    assert findings(length.add, uneven)["label_order"].ci_low == pytest.approx(expected)


@pytest.mark.parametrize("count", [3, 5, 8, 14, 20, 30])
def test_random_labels_of_few_prompts_stop_nothing(count):
    """All shares are bounded on both sides or not at all; 200 draws of each size, at most three beyond a limit."""
    rng = np.random.default_rng(count)
    pairs = world.random_pairs(count, count)
    stopped = 0
    for _ in range(200):
        drawn = replace(pairs, preference=rng.integers(0, 2, count).astype(np.float64))
        found = findings(length.add, drawn)["label_order"]
        stopped += max(found.ci_low - 0.5, 0.5 - found.ci_high) > 0.1
    assert stopped <= 3


@settings(max_examples=10)
@given(st.integers(0, 1000))
def test_length_and_marks_do_not_depend_on_the_sides(seed):
    pairs = world.random_pairs(60, seed)
    one, other = (findings(length.add, each) for each in (pairs, turned(pairs)))
    for name in ("label_longer_wins", "label_length_odds"):
        assert one[name].estimate == pytest.approx(other[name].estimate)
    rows, again = ({row.feature: row for row in measured(each)} for each in (pairs, turned(pairs)))
    assert rows.keys() == again.keys()
    for feature, row in rows.items():
        assert row.effect.value == pytest.approx(again[feature].effect.value, abs=1e-9, nan_ok=True)
        assert row.more_wins.value == pytest.approx(again[feature].more_wins.value)


# Marks


def with_mark(count, seed, share):
    """Random texts, in half of which one side is bold and wins with a probability."""
    rng = np.random.default_rng(seed)
    plain = world.random_pairs(count, seed)
    bold = rng.integers(0, 2, count)
    first = [f"**{text}**" if is_bold else text for text, is_bold in zip(plain.first, bold, strict=True)]
    preference = np.where(bold, rng.random(count) < share, plain.preference)
    return world.pairs(first, plain.second, preference)


def test_a_planted_mark_is_found_with_its_size():
    rows = {row.feature: row for row in measured(with_mark(1000, 1, 0.9))}
    bold = rows["bold"]
    assert bold.more_wins.value == pytest.approx(0.9, abs=0.04)
    # Bold in half of the pairs, and the usual difference is that of one bold passage: 0.9 - 0.5 beside length.
    assert bold.effect.value == pytest.approx(0.4, abs=0.06)
    assert marks.least(bold.effect) > 0.25
    assert all(abs(row.effect.value) < 0.6 for row in rows.values() if not np.isnan(row.effect.value))


def test_no_mark_is_found_where_none_is():
    """All intervals together are wrong in one of twenty sets: in none or few of these twenty."""
    wrong = sum(marks.least(measured(world.random_pairs(300, seed))[0].effect) > 0 for seed in range(20))
    assert wrong <= 3


def test_a_mark_is_not_charged_with_length():
    """Line breaks come with length here, and votes follow length alone."""
    rng = np.random.default_rng(2)
    sides = [[world.text(rng, 6, 60) for _ in range(800)] for _ in range(2)]
    broken = [
        ["".join(rng.choice([" ", "\n"]) if one == " " else one for one in text) for text in side] for side in sides
    ]
    odds = 1 / (1 + np.exp(-1.5 * world.pairs(*broken, np.zeros(800)).log_length))
    pairs = world.pairs(*broken, (rng.random(800) < odds).astype(float))
    row = {row.feature: row for row in measured(pairs)}["line breaks"]
    assert row.more_wins.value > 0.7
    assert row.effect.low < 0 < row.effect.high


def test_labels_that_length_decides_leave_nothing_to_marks():
    pairs = world.random_pairs(100, 3)
    always = world.pairs(pairs.first, pairs.second, (pairs.log_length > 0).astype(float))
    assert all(np.isnan(row.effect.value) for row in measured(always) if row.num_pairs)


# Leaks


def leaking(count, seed, chosen, rejected):
    """Random pairs; what is written on a response says whether it was chosen."""
    plain = world.random_pairs(count, seed)
    sides = zip(plain.first, plain.second, plain.preference, strict=True)
    texts = [(chosen(one), rejected(other)) if wins else (rejected(one), chosen(other)) for one, other, wins in sides]
    return world.pairs(*zip(*texts, strict=True), plain.preference)


LEAKS = {
    "the label as a word": (lambda text: f"{text} accepted", lambda text: f"{text} refused", "phrase"),
    "ids that differ": (lambda text: f"a17 {text}", lambda text: f"b17 {text}", "phrase"),
    "white space at the end": (lambda text: f"{text}\n", lambda text: text, "mark ends with white space"),
    "an invisible character": (lambda text: text, lambda text: f"{text}\u200b", "mark invisible characters"),
}


@pytest.mark.parametrize("name", LEAKS)
def test_a_planted_leak_is_found(name):
    chosen, rejected, expected = LEAKS[name]
    found = found_giveaways(leaking(400, 4, chosen, rejected))
    assert any(one.name.startswith(expected) and one.num_pairs == 400 for one in found)


def test_words_that_tell_the_label_are_guessed_from():
    chosen, rejected, _ = LEAKS["ids that differ"]
    found = findings(guessing.add, leaking(400, 5, chosen, rejected))
    assert found["label_words_accuracy"].estimate > 0.99
    fair = findings(guessing.add, world.random_pairs(600, 5))
    for name in ("label_words_accuracy", "label_style_accuracy"):
        assert fair[name].ci_low - 0.02 < 0.5 < fair[name].ci_high + 0.02


def test_a_mark_that_annotators_merely_like_is_no_leak():
    assert found_giveaways(with_mark(1000, 6, 0.9)) == ()
    assert found_giveaways(world.random_pairs(400, 6)) == ()


def test_few_pairs_decide_nothing():
    chosen, rejected, _ = LEAKS["ids that differ"]
    assert found_giveaways(leaking(20, 7, chosen, rejected)) == ()


# The swap control


def swapped(train, heldout):
    collected = Measurements(heldout.num_clusters, BootstrapConfig(num_resamples=100))
    guessing.add_swap(collected, train, heldout)
    return {one.name: one.estimate for one in collected.findings().values()}


def test_a_model_of_flipped_labels_has_one_minus_the_accuracy():
    train, heldout = with_mark(400, 8, 0.9), with_mark(200, 9, 0.9)
    assert swapped(train, heldout) == {"label_swap_style": 0.0, "label_swap_words": 0.0}


def test_what_is_read_of_a_pair_by_its_sides_is_found(monkeypatch):
    """Planted: rows that say which side is the chosen one, as a column that is read in the wrong order would."""

    def rows(*sides):
        return [np.ones((len(chosen), 1)) for chosen, _ in sides]

    kinds = tuple(kind._replace(rows=rows) for kind in guessing._KINDS[:1])
    monkeypatch.setattr(guessing, "_KINDS", kinds)
    found = swapped(world.random_pairs(100, 10), world.random_pairs(100, 11))
    assert found["label_swap_style"] == pytest.approx(1.0)
