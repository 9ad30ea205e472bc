"""Lines of JSON as orjson reads them, against Python's own parser with each pair of an object in view."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm.data import json_rows, json_text
from rm.data.formats.row import json_value
from rm.data.source_row import MAX_ROW
from rm.data.sources import open_file
from rm.errors import DataError

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


def opened(text):
    return lambda: io.BufferedReader(
        io.BytesIO(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    )


def outcome(read):
    """What is read, or the error with its place."""
    try:
        return repr(read())
    except json.JSONDecodeError as error:
        return error.msg, error.lineno, error.colno
    except (ValueError, RecursionError) as error:
        return str(error)


ARRAYS = st.lists(LINES.filter(lambda line: line.strip()), max_size=4).flatmap(
    lambda values: st.sampled_from([",", ", ", " ,\n\n ", ",,", " "]).map(lambda comma: f"[{comma.join(values)}]")
)


@given(ARRAYS, st.sampled_from(["", "\n", " \ufeff", "]", " 1"]), st.integers(0, 60), st.integers(1, 9))
def test_an_array_is_read_as_pythons_parser_reads_it_whole(text, after, cut, at_once):
    for whole in (text + after, text[: len(text) - cut % (len(text) + 1)] or "["):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(json_text, "_AT_ONCE", at_once)
            found = outcome(lambda: [row.value for row in json_rows.json_rows(opened(whole))])  # noqa: B023
        expected = outcome(lambda: json_value(whole))  # noqa: B023
        if "trailing comma" not in expected[0]:  # Python 3.13 has a sentence of its own for it
            assert found == expected or ("4300" in found and "4300" in expected)


@pytest.mark.parametrize("array", ['[{"a": "%s"}]', '{"version": 1, "data": [{"a": "%s"}], "license": "x"}'])
def test_an_array_is_held_value_by_value(array, monkeypatch):
    monkeypatch.setattr(json_text, "_AT_ONCE", 100)
    held = []
    read = json_text.JsonText._read
    monkeypatch.setattr(json_text.JsonText, "_read", lambda self: read(self) or held.append(len(self._text)))
    start, end = array.split('{"a": "%s"}')
    content = start + ",\n".join(json.dumps({"a": f"{number}é" * 10}) for number in range(300)) + end
    assert [row.value["a"] for row in json_rows.json_rows(opened(content))] == [f"{n}é" * 10 for n in range(300)]
    assert max(held) < 1000 < len(content)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ('{"data": [{"a": 1}], "data": []}', "expected each key once, got 'data' twice"),
        ('{"data": [], "rows": [1]}', "under data alone, got rows beside it"),
        ('{"rows": [1, 2], "data": [3]}', "under data alone, got rows beside it"),
        (
            '{"rows": [], "prompt": "Hi"}',
            "under rows alone, got prompt beside it",
        ),
    ],
)
def test_what_stands_beside_rows_is_seen_wherever_it_stands(content, error):
    found = outcome(lambda: list(json_rows.json_rows(opened(content))))
    assert found.removeprefix("expected rows ").replace(" or one object per line,", "") == error


def test_an_object_without_rows_is_one_row_and_rows_that_break_off_are_an_error():
    (row,) = json_rows.json_rows(opened('{"data": {"a": 1}}'))
    assert row.value == {"data": {"a": 1}}
    assert not list(json_rows.json_rows(opened('{"rows": [], "data": null}')))
    broken = '{"rows": [{"a": 1},\n{"a": 2]}'
    assert outcome(lambda: list(json_rows.json_rows(opened(broken)))) == ("Expecting ',' delimiter", 2, 8)
    (line,) = json_rows.json_rows(opened(b'{"a": "caf\xe9"}'))
    assert line.error == "not UTF-8 at byte 11 of the line"


def test_the_byte_that_is_not_utf_8_is_counted_in_the_whole_array(monkeypatch):
    monkeypatch.setattr(json_text, "_AT_ONCE", 4)
    with pytest.raises(ValueError, match=r"not UTF-8 at byte 16$"):
        list(json_rows.json_rows(opened('["é", "é", "'.encode() + b'a\xe9"]')))


def test_a_mistake_in_a_long_array_is_told_with_its_place_although_the_file_is_larger_than_a_row(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b'[{"a": 1},\n{"a" 2},\n' + b'{"a": 3},\n' * 2_000_000 + b"{}]")
    assert path.stat().st_size > MAX_ROW
    with pytest.raises(DataError, match="not JSON at line 2, column 6: Expecting ':' delimiter"):
        list(open_file(path).rows)


@pytest.mark.parametrize("blank", [b"\n", b" \r\n", b"\t \n"])
def test_blank_lines_are_skipped_together_and_counted(blank):
    number = 3 * json_rows._LINES_AT_ONCE // len(blank)
    content = blank * number + b'{"first": 1}\n' + blank * number + b'{"second": 2}\n' + blank
    found = [(row.line, row.value) for row in json_rows.json_rows(lambda: io.BufferedReader(io.BytesIO(content)))]
    assert found == [(number + 1, {"first": 1}), (2 * number + 2, {"second": 2})]
    assert not list(json_rows.json_rows(lambda: io.BufferedReader(io.BytesIO(blank * number))))
