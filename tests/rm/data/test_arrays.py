import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm.data import arrays
from rm.data.columns import MESSAGES

TEXT = st.text(st.characters(codec="utf-8"))


def assert_same(found, expected):
    found.validate(full=True)
    assert found.type == expected.type
    assert found.equals(expected)


@given(st.lists(st.none() | TEXT))
def test_texts_are_those_of_pyarrow(values):
    assert_same(arrays.texts(values), pa.array(values, pa.string()))


@given(TEXT, st.integers(0, 5))
def test_a_repeated_text_is_that_of_pyarrow(text, times):
    assert_same(arrays.repeated(text, times), pa.array([text] * times, pa.string()))


@given(
    st.lists(st.none() | st.floats(allow_nan=False), min_size=1),
    st.lists(st.integers(0, 99)),
    st.lists(st.integers(-(2**63), 2**63 - 1)),
)
def test_numbers_are_those_of_pyarrow(values, places, whole):
    places = np.array(places, dtype=np.intp) % len(values)
    assert_same(arrays.floats(values, places), pa.array([values[place] for place in places], pa.float64()))
    assert_same(arrays.integers(whole), pa.array(whole, pa.int64()))


@given(st.lists(st.booleans(), min_size=1))
def test_truth_values_are_those_of_pyarrow(values):
    expected = pa.array(values)
    assert_same(arrays.booleans(expected.to_numpy(zero_copy_only=False)), expected)


@given(st.lists(st.lists(st.tuples(TEXT, TEXT), max_size=3), max_size=5))
def test_lists_of_structs_are_those_of_pyarrow(values):
    flat = [each for inner in values for each in inner]
    fields = [arrays.texts([each[place] for each in flat]) for place in (0, 1)]
    found = arrays.lists([len(inner) for inner in values], arrays.structs(MESSAGES.value_type, fields))
    assert_same(found, pa.array([[{"role": a, "content": b} for a, b in inner] for inner in values], MESSAGES))


def test_half_surrogate_pairs_are_no_text():
    with pytest.raises(UnicodeEncodeError):
        arrays.texts(["\ud83d"])
