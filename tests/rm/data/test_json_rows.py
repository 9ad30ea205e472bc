"""Lines of JSON as orjson reads them, against Python's own parser with each pair of an object in view."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm.data import json_rows

NUMBERS = ["0", "-0", "-0.0", "1e5", "1E400", "1e-400", "9" * 25, str(2**63), str(2**64), str(-(2**63) - 1), "1" * 5000]
WORDS = ["NaN", "-Infinity", "true", "null", "tru", '"a', "01", "'a'", ""]
STRINGS = ['""', '"a"', '"b"', '"\\u00e9"', '"é"', '"\\ud83d"', '"\\ud83d\\udc4d"', '"a\\"b"', '"a\\\\"', '"\\":"']
STRINGS += ['" : "', '"{\\"a\\": 1}"', '"\x7f"', '"\t"', '"a:b"', '"\\u0000"']
SPACE = st.sampled_from(["", " ", "\t", "  "])
SCALARS = st.sampled_from(NUMBERS + WORDS + STRINGS)


def written(values):
    pairs = st.lists(st.tuples(st.sampled_from(STRINGS), SPACE, values), max_size=3)
    objects = pairs.map(lambda each: "{" + ", ".join(f"{key}{space}:{value}" for key, space, value in each) + "}")
    return objects | st.lists(values, max_size=3).map(lambda each: "[" + ",".join(each) + "]")


LINES = st.recursive(SCALARS, written, max_leaves=6)


@given(st.lists(LINES.map(str.encode) | st.sampled_from([b'"caf\xe9"', b'"\xed\xa0\x80"', b"\x00", b"\r"]), max_size=5))
def test_lines_are_read_as_pythons_parser_reads_them(lines):
    content = b'{"first": 1}\n' + b"\n".join(lines) + b"\n{}"
    found = list(json_rows.json_rows(lambda: io.BufferedReader(io.BytesIO(content))))
    numbered = enumerate(content.split(b"\n"), start=1)
    expected = [json_rows._strictly(number, line.strip()) for number, line in numbered if line.strip()]
    assert repr(found) == repr(expected)


def test_plain_lines_are_read_by_orjson_alone(monkeypatch):
    monkeypatch.setattr(json_rows, "_strictly", None)
    values = [{"prompt": f"{number}: é", "said": {"role": "user", "loss": [0.5, 4.0]}} for number in range(3000)]
    content = "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values).encode()
    found = list(json_rows.json_rows(lambda: io.BufferedReader(io.BytesIO(content))))
    assert [row.value for row in found] == values
    assert [row.line for row in found] == list(range(1, 3001))


@pytest.mark.parametrize(
    "line", [b'{"a" : 1, "a"\t:2}', b'[{"b": {"a": 1, "a": 2}}]', b'{"a": {}, "b": {"a": {}}, "a": 1}']
)
def test_equal_keys_are_seen_wherever_they_stand(line):
    rows = json_rows.json_rows(lambda: io.BufferedReader(io.BytesIO(b'{"a": 1}\n' + line + b"\n")))
    assert [row.error and row.error[:30] for row in rows] == [None, "expected each key once, got 'a"]
