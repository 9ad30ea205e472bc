import math

import numpy as np
import pytest

from rm.labels import drift, marks
from tests.rm.labels import world


def measured(pairs):
    return drift.measure(pairs, *marks.read(pairs), 200, 0)


def old_and_new(seed, longer_wins=0.5, words=(6, 40), count=400):
    """Random pairs of which the last half is new, with votes for the longer response and a length of its own there."""
    rng = np.random.default_rng(seed)
    half = count // 2
    sides = [
        [world.text(rng, 6, 40) for _ in range(half)] + [world.text(rng, *words) for _ in range(half)] for _ in range(2)
    ]
    longer = np.array([len(one) > len(other) for one, other in zip(*sides, strict=True)])
    share = np.where(np.arange(count) < half, 0.5, longer_wins)
    return world.pairs(*sides, (rng.random(count) < share) == longer, is_new=np.arange(count) >= half)


def bound(row):
    return max(row.change.low, -row.change.high)


def test_votes_that_turned_to_length_are_found():
    rows = {row.name: row for row in measured(old_and_new(0, longer_wins=0.9))}
    row = rows["votes for the longer response"]
    assert row.old == pytest.approx(0.5, abs=0.1)
    assert row.new == pytest.approx(0.9, abs=0.07)
    assert row.change.value == pytest.approx((row.new - row.old) / 0.5, rel=0.05)  # a coin has a deviation of one half
    assert bound(row) > 0.2
    assert max(bound(each) for each in rows.values() if each is not row) < 0.2


def test_responses_that_grew_are_found():
    rows = measured(old_and_new(1, words=(60, 90)))
    lengths = {row.name for row in rows if bound(row) > 0.2}
    assert {"log characters", "log words"} <= lengths
    assert "votes for the longer response" not in lengths


def test_nothing_is_found_where_nothing_changed():
    assert sum(max(map(bound, measured(old_and_new(seed)))) > 0 for seed in range(20)) <= 3


@pytest.mark.parametrize("value", [math.log(2), math.log(4), 0.1])
def test_what_is_the_same_in_all_pairs_has_not_drifted(value):
    """The mean of 150 equal numbers is not that number, nor their deviation 0."""
    pairs = world.pairs(["one"] * 210, ["two"] * 210, np.arange(210) % 2, is_new=np.arange(210) >= 150)
    same = np.full((210, len(marks.MARKS)), value)
    assert np.std(same[:150, 0]) > 0
    assert not {mark.name for mark in marks.MARKS} & {row.name for row in drift.measure(pairs, same, same, 200, 0)}


def test_what_no_older_pair_has_is_a_change():
    """200 older pairs without ties or marks, and 200 newer ones, all bold with a list, of which half are ties."""
    rng, new = np.random.default_rng(4), np.arange(400) >= 200
    plain = [[world.text(rng, 6, 40) for _ in range(400)] for _ in range(2)]
    sides = [
        [f"**{text}**\n\n- item" if is_new else text for text, is_new in zip(side, new, strict=True)] for side in plain
    ]
    preference = np.where(new & (np.arange(400) % 2 == 0), 0.5, rng.integers(0, 2, 400))
    rows = {row.name: row for row in measured(world.pairs(*sides, preference, is_new=new))}
    for name, old, later, change in (("bold", 0, math.log(2), 2), ("ties", 0, 0.5, 0.5 / math.sqrt(0.25 * 0.75))):
        row = rows[name]
        assert (row.old, row.new) == pytest.approx((old, later))
        assert row.change.value == pytest.approx(change)  # in deviations of all 400
        assert bound(row) > 0.2
    assert bound(rows["list items"]) > 0.2


SELDOM = (
    "**so**",
    "Really?",
    "No!",
    "`x = 1`",
    '"quoted"',
    "(aside)",
    "\n# Title\n",
    "\n- item\n",
    "2026",
    "I am sorry.",
)


def seldom_marked(seed, num_new, per_prompt, num_old=480):
    """Random pairs; to all responses of a tenth of the prompts something is added, for each of ten things.

    The last prompts are new, and no different.
    """
    rng = np.random.default_rng(seed)
    prompts = np.repeat(np.arange(num_old + num_new), per_prompt)
    added = [
        " ".join(mark for mark, there in zip(SELDOM, row, strict=True) if there)
        for row in rng.random((num_old + num_new, len(SELDOM))) < 0.1
    ]
    first, second = ([f"{world.text(rng, 6, 20)} {added[one]}" for one in prompts] for _ in range(2))
    return world.pairs(
        first, second, rng.integers(0, 2, len(prompts)), [f"prompt {one}" for one in prompts], is_new=prompts >= num_old
    )


@pytest.mark.parametrize("per_prompt", [1, 5])
def test_marks_that_few_new_prompts_happen_to_lack_have_not_drifted(per_prompt):
    """One of eight draws of twenty prompts lacks a thing that a tenth has, however many pairs these prompts have."""
    beyond = [max(map(bound, measured(seldom_marked(seed, 20, per_prompt)))) > 0.2 for seed in range(12)]
    assert sum(beyond) <= 1


def test_few_new_prompts_say_nothing():
    pairs = old_and_new(2, longer_wins=1.0)
    few = world.pairs(pairs.first, pairs.second, pairs.preference, is_new=np.arange(400) < drift.MIN_CLUSTERS - 1)
    assert measured(few) == ()


def test_the_change_turns_its_sign_with_the_sides_of_time():
    pairs = old_and_new(3, longer_wins=0.8)
    back = world.pairs(pairs.first, pairs.second, pairs.preference, is_new=1 - pairs.is_new)
    one, other = ({row.name: row for row in measured(each)} for each in (pairs, back))
    row, again = one["log words"], other["log words"]
    assert (row.old, row.new) == pytest.approx((again.new, again.old))
