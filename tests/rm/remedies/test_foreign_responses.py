"""Partners are other prompts, of about the same length, drawn alike on both sides."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm.remedies.foreign_responses import partners


@given(st.lists(st.integers(-1, 40), max_size=30), st.floats(0, 1), st.integers(0, 5))
def test_a_partner_is_another_prompt_that_has_a_preferred_response(lengths, share, seed):
    num_tokens = np.array(lengths, dtype=np.int64)
    found = partners(num_tokens, share, seed)
    assert (found == partners(num_tokens, share, seed)).all()
    for index, partner in enumerate(found.tolist()):
        assert partner != index
        assert partner == -1 or (num_tokens[partner] >= 0 and num_tokens[index] >= 0)


def test_every_prompt_has_one_if_all_are_asked_for():
    assert (partners(np.array([3, 9]), 1.0, 0) == [1, 0]).all()
    num_tokens = np.random.default_rng(0).integers(5, 300, 1000)
    assert (partners(num_tokens, 1.0, 0) >= 0).all()
    assert (partners(num_tokens, 0.25, 0) >= 0).mean() == pytest.approx(0.25, abs=0.05)


def test_lengths_are_matched_and_neither_side_is_longer():
    num_tokens = np.exp(np.random.default_rng(1).normal(4, 1, 5000)).astype(int) + 2
    found = partners(num_tokens, 1.0, 0)
    apart = np.log(num_tokens[found] / num_tokens)
    assert (
        np.abs(apart).mean()
        < 0.03 * np.abs(np.log(np.random.default_rng(2).permutation(num_tokens) / num_tokens)).mean()
    )
    assert abs((apart > 0).mean() - (apart < 0).mean()) < 0.03
