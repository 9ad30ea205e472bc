"""The direction of length: planted ones are found, whatever the labels say of length, and go out of the head."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rm.remedies.projection import length_direction, without

numbers = st.floats(-3, 3, width=32)
vectors = st.lists(numbers, min_size=4, max_size=4)


@given(vectors, vectors, vectors, numbers)
def test_a_head_without_a_direction_does_not_see_it_and_is_else_the_same(head, direction, state, amount):
    w, v, h = (torch.tensor(each, dtype=torch.float64) for each in (head, direction, state))
    if v.norm() < 0.1:
        return
    [projected] = without(w[None], v)
    assert (h + amount * v) @ projected == pytest.approx((h @ projected).item(), abs=1e-9)
    across = h - (h @ v) / (v @ v) * v
    assert (across @ projected).item() == pytest.approx((across @ w).item(), abs=1e-9)
    torch.testing.assert_close(without(projected[None], 7 * v)[0], projected)
    torch.testing.assert_close(without(torch.stack([w, -w]), v), torch.stack([projected, -projected]))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_planted_direction_is_found_whatever_share_of_the_longer_responses_is_better(share):
    """Quality lies along the first axis, length along the second, and the longer response is often the better one."""
    random = np.random.default_rng(0)
    is_better = random.random(4000) < share
    quality = np.where(is_better, 1, -1) * random.uniform(0.5, 1.5, 4000)
    length = random.uniform(0.2, 1.0, 4000)
    apart = torch.from_numpy(random.normal(size=(4000, 6)) * 0.3)
    apart[:, 0] += torch.from_numpy(3 * quality)
    apart[:, 1] += torch.from_numpy(length)
    found = length_direction(apart, torch.from_numpy(is_better))
    assert found[1] / found.norm() > 0.98
    head = torch.tensor([[1.0, 2.0, 0.1, 0.0, 0.0, -0.1]], dtype=torch.float64)
    [projected] = without(head, found)
    assert projected[0] == pytest.approx(1.0, abs=0.25) and abs(projected[1]) < 0.25
    plain = apart.mean(dim=0)  # without regard to the labels it is mostly quality, unless they balance
    assert share == 0.5 or plain[0].abs() > 2 * plain[1].abs()
