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


def test_what_no_reader_sees_is_read_from_the_responses_as_they_came():
    texts = Responses(["one\r\ntwo", "one\ntwo", " one", "one\n"], ["Why?"] * 4)
    found = {feature.name: feature.read(texts).tolist() for feature in HIDDEN}
    assert found == {
        "starts with white space": [0, 0, 1, 0],
        "ends with white space": [0, 0, 0, 1],
        "carriage returns": [1, 0, 0, 0],
        "invisible characters": [0, 0, 0, 0],
    }
