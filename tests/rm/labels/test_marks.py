import numpy as np
import pytest

from rm.features.responses import Responses
from rm.labels import marks
from rm.labels.marks import HIDDEN
from rm.stats.clustered import wilson_interval
from tests.rm.labels import world


def bold_wins(votes):
    """Pairs of equal length, of which the first is bold."""
    pairs = world.pairs(["**one**"] * len(votes), ["two two"] * len(votes), votes)
    first, second = marks.read(pairs)
    found = {row.feature: row for row in marks.measure(pairs, first - second, 200, 0)}
    return found["bold"].more_wins


def test_how_often_more_of_a_mark_wins_has_the_interval_of_a_share():
    found, bounds = bold_wins(np.repeat([1.0, 0.0], [18, 2])), wilson_interval(18, 20)
    assert (found.value, found.low, found.high) == pytest.approx((0.9, bounds.low, bounds.high))


def effect(first, second, preference):
    pairs = world.pairs(first, second, preference)
    one, other = marks.read(pairs)
    found = {row.feature: row for row in marks.measure(pairs, one - other, 200, 0)}
    return found["question marks"].effect


@pytest.mark.parametrize("share", [0.5, 0.9, 1.0])
def test_of_pairs_of_one_length_the_order_of_the_sides_says_nothing(share):
    """The same votes, with all sides in one order, in the other, and mixed: the mark wins by as much as it wins."""
    votes = (np.arange(200) < share * 200).astype(np.float64)
    asks, tells = ["AAAA?"] * 200, ["BBBB!"] * 200
    turned = np.arange(200) % 3 == 0
    mixed = [[*np.where(turned, one, other)] for one, other in ((tells, asks), (asks, tells))]
    found = [
        effect(asks, tells, votes),
        effect(tells, asks, 1 - votes),
        effect(*mixed, np.where(turned, 1 - votes, votes)),
    ]
    assert [each.value for each in found] == pytest.approx([share - 0.5] * 3)
    assert [each.high - each.low for each in found] == pytest.approx([found[0].high - found[0].low] * 3)


def test_what_no_reader_sees_is_read_from_the_responses_as_they_came():
    texts = Responses(["one\r\ntwo", "one\ntwo", " one", "one\n"], ["Why?"] * 4)
    found = {feature.name: feature.read(texts).tolist() for feature in HIDDEN}
    assert found == {
        "starts with white space": [0, 0, 1, 0],
        "ends with white space": [0, 0, 0, 1],
        "carriage returns": [1, 0, 0, 0],
        "invisible characters": [0, 0, 0, 0],
    }
