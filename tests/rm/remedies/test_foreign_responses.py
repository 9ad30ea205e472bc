"""Partners are other prompts, of about the same length, drawn alike on both sides."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm.remedies.foreign_responses import FirstPairs, partners


def pairs(preferred, longer=None, room=None):
    preferred = np.asarray(preferred, dtype=np.int64)
    longer = np.maximum(preferred, 1) if longer is None else np.asarray(longer)
    return FirstPairs(preferred, longer, np.full(len(preferred), 10_000) if room is None else np.asarray(room))


@given(st.lists(st.integers(-1, 40), max_size=30), st.floats(0, 1), st.integers(0, 5))
def test_a_partner_is_another_prompt_that_has_a_preferred_response(lengths, share, seed):
    given = pairs(lengths)
    found = partners(given, share, seed)
    assert (found == partners(given, share, seed)).all()
    for index, partner in enumerate(found.tolist()):
        assert partner != index
        assert partner == -1 or (lengths[partner] >= 0 and lengths[index] >= 0)


def test_every_prompt_has_one_if_all_are_asked_for():
    assert (partners(pairs([3, 9]), 1.0, 0) == [1, 0]).all()
    num_tokens = np.random.default_rng(0).integers(5, 300, 1000)
    assert (partners(pairs(num_tokens), 1.0, 0) >= 0).all()
    assert (partners(pairs(num_tokens), 0.25, 0) >= 0).mean() == pytest.approx(0.25, abs=0.05)


def drawn(count=5000):
    random = np.random.default_rng(1)
    preferred = np.exp(random.normal(4, 1, count)).astype(int) + 2
    return preferred, np.maximum(preferred, np.exp(random.normal(4, 1, count)).astype(int) + 2), random


def longer_wins(preferred, found):
    """Share of the foreign preferred responses that are shorter, among those that differ in length."""
    has_one = found >= 0
    apart = preferred[has_one] - preferred[found[has_one]]
    return (apart > 0).sum() / (apart != 0).sum()


def test_lengths_are_matched_and_neither_side_is_longer():
    preferred, longer, random = drawn()
    found = partners(pairs(preferred, longer), 1.0, 0)
    apart = np.abs(np.log(preferred[found] / preferred)).mean()
    assert apart < 0.03 * np.abs(np.log(random.permutation(preferred) / preferred)).mean()
    assert longer_wins(preferred, found) == pytest.approx(0.5, abs=0.02)


def test_little_room_does_not_choose_shorter_partners():
    """Prompts that were cut have just the room that their own responses need."""
    preferred, longer, random = drawn()
    cut = random.random(len(preferred)) < 0.5
    found = partners(pairs(preferred, longer, np.where(cut, longer, 10_000)), 1.0, 0)
    has_one = found >= 0
    assert has_one[~cut].all() and 0 < has_one[cut].mean() < 0.3
    assert longer_wins(preferred, found) == pytest.approx(0.5, abs=0.02)
    assert longer_wins(preferred, np.where(cut, found, -1)) == pytest.approx(0.5, abs=0.1)
    assert (longer[found[has_one]] <= np.where(cut, longer, 10_000)[has_one]).all()
