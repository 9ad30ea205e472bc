"""Arrow arrays of Python values; ``pyarrow.array`` loads pandas, which takes longer than a small source."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def texts(values: Sequence[str | None]) -> pa.StringArray:
    """An array of texts, None where there is none.

    Raises
    ------
    UnicodeEncodeError
        If a text holds half a surrogate pair.
    """
    if values.count(None) == len(values):
        return pa.nulls(len(values), pa.string())
    encoded = [b"" if value is None else value.encode() for value in values]
    data = pa.py_buffer(b"".join(encoded))
    return pa.StringArray.from_buffers(len(values), _offsets([len(each) for each in encoded]), data, _valid(values))


def repeated(text: str, times: int) -> pa.StringArray:
    """An array of one text many times."""
    encoded = text.encode()
    offsets = pa.py_buffer(np.arange(times + 1, dtype=np.int32) * np.int32(len(encoded)))
    return pa.StringArray.from_buffers(times, offsets, pa.py_buffer(encoded * times))


def floats(values: Sequence[float | None], places: NDArray[np.intp]) -> pa.DoubleArray:
    """An array of the numbers at some places of others, shape (N,), None where there is none."""
    data = np.array([0.0 if value is None else value for value in values], dtype=np.float64)[places]
    valid = _bits(np.array([value is not None for value in values])[places]) if None in values else None
    return pa.Array.from_buffers(pa.float64(), len(places), [valid, pa.py_buffer(data)])


def integers(values: Sequence[int]) -> pa.Int64Array:
    """An array of whole numbers."""
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(np.array(values, dtype=np.int64))])


def booleans(values: NDArray[np.bool_]) -> pa.BooleanArray:
    """An array of truth values, from one of shape (N,)."""
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, _bits(values)])


def lists(sizes: Sequence[int], values: pa.Array) -> pa.ListArray:
    """An array of lists: how long each is, and the values of all."""
    return pa.Array.from_buffers(pa.list_(values.type), len(sizes), [None, _offsets(sizes)], children=[values])


def structs(kind: pa.StructType, children: Sequence[pa.Array]) -> pa.StructArray:
    """An array of structs of a type, from the arrays of its fields."""
    return pa.Array.from_buffers(kind, len(children[0]), [None], children=list(children))


def _offsets(sizes: Sequence[int]) -> pa.Buffer:
    return pa.py_buffer(np.cumsum([0, *sizes], dtype=np.int32))


def _valid(values: Sequence[object]) -> pa.Buffer | None:
    return _bits(np.array([value is not None for value in values])) if None in values else None


def _bits(values: NDArray[np.bool_]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little"))
