import codecs
import gzip
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm.data import sources, unpacking
from rm.data.source_row import MAX_ROW
from rm.data.unpacking import Unpacked
from rm.errors import DataError
from rm.files import sha256_file
from tests.hub_server import hub_server

VALUES = [
    {"prompt": "Hi 👍", "first": "é\n\n\u2028x", "second": 'quote " and \\', "preference": 0.25},
    {"prompt": "nul \0", "first": "tab\tcr\r", "second": "\u0085", "preference": 1.0},
    {"prompt": " ", "first": "[1]", "second": "{}", "preference": -3.5e-8},
]


def as_lines(values):
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values).encode("utf-8")


def as_array(values):
    return json.dumps(values, indent=1, ensure_ascii=False).encode("utf-8")


def as_parquet(values):
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(values), buffer)
    return buffer.getvalue().to_pybytes()


def as_zst(content):
    """A stream without its length in the header, as the command line tool writes it."""
    buffer = pa.BufferOutputStream()
    with pa.CompressedOutputStream(buffer, "zstd") as stream:
        stream.write(content)
    return buffer.getvalue().to_pybytes()


LAYOUTS = {"lines.jsonl": as_lines, "array.json": as_array, "lines.json": as_lines, "table.parquet": as_parquet}
COMPRESSIONS = {"": bytes, ".gz": gzip.compress, ".zst": as_zst}


def write(path, content):
    path.write_bytes(content)
    return str(path)


def read(*names):
    return [row for name in names for path in sources.expanded(name) for row in sources.open_source(path).rows]


def read_bytes(folder, name, content):
    return read(write(folder / name, content))


def refusal(*names):
    with pytest.raises(DataError) as caught:
        read(*names)
    return str(caught.value)


# What was written is what is read


@pytest.mark.parametrize("ending", COMPRESSIONS)
@pytest.mark.parametrize("name", LAYOUTS)
def test_every_ending_and_compression_gives_the_rows_that_were_written(tmp_path, name, ending):
    rows = read_bytes(tmp_path, name + ending, COMPRESSIONS[ending](LAYOUTS[name](VALUES)))
    assert [row.value for row in rows] == VALUES
    assert [row.line for row in rows] == [1, 2, 3]
    assert [json.loads(row.raw) for row in rows] == VALUES
    assert [row.error for row in rows] == [None, None, None]


@pytest.mark.parametrize("ending", COMPRESSIONS)
@pytest.mark.parametrize("name", LAYOUTS)
def test_many_rows_come_whole_and_in_order(tmp_path, name, ending):
    values = [{"number": number, "text": "x" * (number % 97)} for number in range(2500)]
    rows = read_bytes(tmp_path, name + ending, COMPRESSIONS[ending](LAYOUTS[name](values)))
    assert [row.value for row in rows] == values
    assert [row.line for row in rows] == list(range(1, 2501))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(JSON, min_size=1, max_size=4), st.booleans(), st.sampled_from(["\n", "\r\n", "\n\n", "\n \t\r\n"]))
def test_any_json_comes_back_from_lines_however_they_end(tmp_path_factory, values, ascii_only, end):
    first = {"so that": "the file does not begin like an array"}
    text = end.join(json.dumps(value, ensure_ascii=ascii_only) for value in [first, *values])
    rows = read_bytes(tmp_path_factory.getbasetemp(), "any.jsonl", text.encode("utf-8"))
    assert [row.value for row in rows] == [first, *values]


@given(st.lists(JSON, max_size=4), st.sampled_from([None, 0, 3]), st.sampled_from([b"", codecs.BOM_UTF8, b" \r\n"]))
def test_any_json_comes_back_from_an_array_however_indented(tmp_path_factory, values, indent, head):
    content = head + json.dumps(values, indent=indent).encode("utf-8")
    rows = read_bytes(tmp_path_factory.getbasetemp(), "any.json", content)
    assert [row.value for row in rows] == values
    assert [row.line for row in rows] == list(range(1, len(values) + 1))


def test_files_glued_together_after_compression_are_read_to_their_end(tmp_path):
    parts = [as_lines(VALUES[:1]), as_lines(VALUES[1:])]
    for ending in (".gz", ".zst"):
        rows = read_bytes(tmp_path, f"a.jsonl{ending}", b"".join(COMPRESSIONS[ending](part) for part in parts))
        assert [row.value for row in rows] == VALUES


def test_blank_lines_are_no_rows_but_count_as_lines(tmp_path):
    rows = read_bytes(tmp_path, "a.jsonl", b'\n{"a": 1}\r\n\r\n \t \n{"a": 2}\n\n{"a": 3}')
    assert [(row.line, row.value["a"]) for row in rows] == [(2, 1), (5, 2), (7, 3)]


@pytest.mark.parametrize("name", ["lines.jsonl", "array.json", "lines.json"])
def test_a_byte_order_mark_is_no_content(tmp_path, name):
    rows = read_bytes(tmp_path, name, codecs.BOM_UTF8 + LAYOUTS[name](VALUES))
    assert [row.value for row in rows] == VALUES
    assert not rows[0].raw.startswith("\ufeff")


def test_an_empty_file_has_no_rows(tmp_path):
    for name in ("a.jsonl", "a.json"):
        assert read_bytes(tmp_path, name, b"") == []
        assert read_bytes(tmp_path, name, b" \n\n") == []
    assert read_bytes(tmp_path, "b.json", b"[]") == []
    assert read_bytes(tmp_path, "c.jsonl.gz", gzip.compress(b"")) == []


def test_a_source_is_named_and_digested_as_it_lies_on_disk(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(as_lines(VALUES)))
    source = sources.open_source(str(path))
    assert (source.name, source.digest) == (str(path), sha256_file(path))


# Rows that cannot be read


@pytest.mark.parametrize(
    ("line", "raw", "error"),
    [
        (b'{"a": 1', '{"a": 1', "not JSON at column 8: Expecting ',' delimiter"),
        (b"{'a': 1}", "{'a': 1}", "not JSON at column 2"),
        (b'{"a": 1} {"a": 2}', '{"a": 1} {"a": 2}', "not JSON at column 10: Extra data"),
        (b'{"a": "\x01"}', '{"a": "\x01"}', "not JSON at column 8: Invalid control character"),
        (b'{"a": "caf\xe9"}', '{"a": "caf\\xe9"}', "not UTF-8 at byte 11 of the line"),
        (b"\xff\xfe{\x00", "\\xff\\xfe{\x00", "not "),
        (b"9" * 5000, "9" * 5000, "JSON that Python cannot hold"),
        (b'{"a":' * 10**5 + b"1" + b"}" * 10**5, '{"a":' * 10**5 + "1" + "}" * 10**5, "JSON that Python cannot hold"),
    ],
    ids=["cut off", "quotes", "two objects", "control", "latin 1", "utf-16", "5000 digits", "100000 deep"],
)
def test_a_line_that_cannot_be_read_is_kept_raw_with_its_place_and_reason(tmp_path, line, raw, error):
    before, bad, after = read_bytes(tmp_path, "a.jsonl", b'{"a": 0}\n' + line + b'\n{"a": 2}\n')
    assert (before.value, after.value) == ({"a": 0}, {"a": 2})
    assert (bad.line, bad.value, bad.raw) == (2, None, raw)
    assert error in bad.error


def test_a_file_cut_off_in_its_last_line_loses_that_line_only(tmp_path):
    rows = read_bytes(tmp_path, "a.jsonl", as_lines(VALUES)[:-5])
    assert [row.error is None for row in rows] == [True, True, False]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.jsonl", "".join(f'{{"a": {n}}}\n' for n in range(5)).encode("utf-16"), "text in UTF-16; save it as UTF-8"),
        ("a.csv", "a,b\n1,2\n".encode("utf-16-be").join([b"\xfe\xff", b""]), "text in UTF-16; save it as UTF-8"),
        ("a.jsonl", gzip.compress(b'{"a": 1}'), "gzip data; add .gz to its name"),
        ("a.jsonl", as_zst(b'{"a": 1}'), "zstd data; add .zst to its name"),
        ("a.json", as_parquet([{"a": 1}]), "Parquet; name it .parquet"),
        ("a.csv", b"PK\x03\x04...", "a zip archive; unpack it"),
    ],
    ids=["utf-16", "utf-16 big-endian", "gzip", "zstd", "parquet", "zip"],
)
def test_a_file_that_begins_as_another_kind_of_file_is_named_as_that(tmp_path, name, content, expected):
    assert refusal(write(tmp_path / name, content)).endswith(f"expected what its name says, got {expected}")


@pytest.mark.parametrize("ending", [".JSONL", ".ndjson", ".Jsonl.GZ"])
def test_endings_are_read_in_any_case(tmp_path, ending):
    content = as_lines(VALUES)
    path = write(tmp_path / f"a{ending}", gzip.compress(content) if ending.endswith("GZ") else content)
    assert [row.value for row in read(path)] == VALUES


@pytest.mark.parametrize("key", ["data", "rows"])
@pytest.mark.parametrize("indent", [None, 1])
def test_rows_in_an_object_are_rows(tmp_path, key, indent):
    path = write(tmp_path / "a.json", json.dumps({"version": "1", key: VALUES}, indent=indent).encode())
    assert [(row.line, row.value) for row in read(path)] == list(enumerate(VALUES, start=1))


def test_one_object_alone_is_one_row_also_over_several_lines(tmp_path):
    row = {"prompt": "Hi", "messages": [{"role": "user"}]}
    path = write(tmp_path / "a.json", json.dumps(row, indent=1).encode())
    assert [row.value for row in read(path)] == [row]


@pytest.mark.parametrize("beside", [{"examples": [{"a": 1}]}, {"system": "Be brief."}])
def test_rows_in_an_object_that_holds_more_are_refused(tmp_path, beside):
    path = write(tmp_path / "a.json", json.dumps({"data": [{"a": 1}], **beside}, indent=1).encode())
    assert f"got {next(iter(beside))} beside it" in refusal(path)


def test_two_columns_of_one_name_in_parquet_are_an_error(tmp_path):
    table = pa.table([pa.array(["a"]), pa.array(["b"])], names=["prompt", "prompt"])
    pq.write_table(table, tmp_path / "a.parquet")
    assert "two are named 'prompt'" in refusal(str(tmp_path / "a.parquet"))


@pytest.mark.parametrize("line", [b'{"a": 1, "a": 2}', b'{"b": {"a": 1, "a": 2}}'])
def test_a_key_that_comes_twice_is_an_error_since_one_value_would_be_lost(tmp_path, line):
    _, bad, _ = read_bytes(tmp_path, "a.jsonl", b'{"a": 0}\n' + line + b'\n{"a": 2}\n')
    assert bad.error == "expected each key once, got 'a' twice"
    good, bad, last = read_bytes(tmp_path, "b.json", b'[{"a": 0}, ' + line + b', {"a": 2}]')
    assert (good.value, last.value) == ({"a": 0}, {"a": 2})
    assert (bad.line, bad.raw, bad.error) == (2, line.decode(), "expected each key once, got 'a' twice")
    assert "got 'data' twice" in refusal(write(tmp_path / "c.json", b'{"data": [], "data": []}'))


@pytest.mark.parametrize(("name", "delimiter"), [("a.csv", ";"), ("a.tsv", "\t"), ("b.csv", "\t")])
def test_columns_may_be_parted_by_semicolons_and_tabs(tmp_path, name, delimiter):
    content = delimiter.join(["prompt", "chosen"]) + "\n" + delimiter.join(['"Hi, you; there"', "Hello."]) + "\n"
    (row,) = read_bytes(tmp_path, name, content.encode())
    assert row.value == {"prompt": "Hi, you; there", "chosen": "Hello."}


@pytest.mark.parametrize("text", ['he said "hi" twice', '"hi"', 'a "b"', '"a" b, "c"\n"d"'])
def test_quotes_behind_a_backslash_are_quotes(tmp_path, text):
    written = text.replace('"', '\\"')
    content = f'prompt,chosen\n"Hi","{written}"\n"He said \\"a\\" too","b"\n'
    first, second = read_bytes(tmp_path, "a.csv", content.encode())
    assert (first.value["chosen"], second.value["prompt"]) == (text, 'He said "a" too')


def test_a_backslash_at_the_end_of_a_cell_stays_one(tmp_path):
    (row,) = read_bytes(tmp_path, "a.csv", b'prompt,chosen\n"C:\\","a ""b"""\n')
    assert row.value == {"prompt": "C:\\", "chosen": 'a "b"'}


def test_numbers_that_json_does_not_have_are_read_and_left_to_the_formats(tmp_path):
    for name, content in (("a.jsonl", b'{"a": NaN, "b": 1e999}'), ("a.json", b'[{"a": NaN, "b": 1e999}]')):
        (row,) = read_bytes(tmp_path, name, content)
        assert math.isnan(row.value["a"])
        assert row.value["b"] == math.inf


def test_half_surrogate_pairs_are_read_and_left_to_the_formats(tmp_path):
    for name, content in (("a.jsonl", b'{"a": "\\ud800"}'), ("a.json", b'[{"a": "\\ud800"}]')):
        (row,) = read_bytes(tmp_path, name, content)
        assert row.value == {"a": "\ud800"}


# Files that cannot be read


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_a_compressed_file_cut_off_anywhere_is_an_error_that_names_it(tmp_path, ending):
    whole = COMPRESSIONS[ending](as_lines([{"number": number, "square": number**2} for number in range(300)]))
    for length in [*range(0, len(whole), len(whole) // 15), len(whole) - 1]:
        path = write(tmp_path / f"cut.jsonl{ending}", whole[:length])
        assert refusal(path).startswith(f"{path}: cannot be read"), length


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "a.parquet", "a.parquet.gz"])
def test_a_file_that_is_not_what_its_name_says_is_an_error_that_names_it(tmp_path, name):
    path = write(tmp_path / name, as_lines(VALUES))
    assert refusal(path).startswith(f"{path}: cannot be read")


@pytest.mark.parametrize("length", [0, 4, 100, -1])
def test_a_parquet_file_cut_off_is_an_error_that_names_it(tmp_path, length):
    path = write(tmp_path / "a.parquet", as_parquet(VALUES)[:length])
    assert refusal(path).startswith(f"{path}: cannot be read")


def test_a_parquet_file_with_a_damaged_page_is_an_error_that_names_it(tmp_path):
    content = bytearray(as_parquet([{"text": "word " * 50} for _ in range(500)]))
    content[4:60] = b"\xff" * 56
    path = write(tmp_path / "a.parquet", bytes(content))
    assert refusal(path).startswith(f"{path}: cannot be read")


def test_an_array_that_breaks_off_is_an_error_with_its_place(tmp_path):
    path = write(tmp_path / "a.json", b'[{"a": 1},\n {"a"')
    assert refusal(path) == f"{path}: not JSON at line 2, column 6: Expecting ':' delimiter"


def test_an_array_cut_off_anywhere_is_an_error_that_names_it(tmp_path):
    whole = as_array(VALUES)
    for length in range(1, len(whole), 5):
        path = write(tmp_path / "a.json", whole[:length])
        assert refusal(path).startswith(f"{path}: "), length


@pytest.mark.parametrize(
    "content",
    [b'[{"a": "caf\xe9"}]', b"[" + b"9" * 5000 + b"]", b"[" * 10**5 + b"]" * 10**5, b"[1] [2]", b"[1]\n[2]\n"],
    ids=["latin 1", "5000 digits", "100000 deep", "two arrays", "lines of arrays"],
)
def test_an_array_that_python_cannot_hold_is_an_error_that_names_the_file(tmp_path, content):
    path = write(tmp_path / "a.json", content)
    assert refusal(path).startswith(f"{path}: ")


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl.bz2", "a.gz", "a", "jsonl", "a.jsonl.gz.gz"])
def test_an_unknown_ending_lists_the_known_ones(tmp_path, name):
    path = write(tmp_path / name, as_lines(VALUES))
    known = ".json, .jsonl, .ndjson, .parquet, .csv, .tsv"
    assert refusal(path) == f"{path}: expected {known}, plain or with .gz or .zst, got {name!r}"


def test_a_folder_and_a_missing_file_are_told_apart(tmp_path):
    assert refusal(str(tmp_path)) == f"{tmp_path}: a folder, expected a file or a glob"
    assert refusal(str(tmp_path / "gone.jsonl")) == f"{tmp_path / 'gone.jsonl'}: no such file"


# Names and globs


def test_a_glob_reads_every_match_in_the_order_of_their_names(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for place, name in enumerate(["b.jsonl", "a.jsonl", "deep/er/c.jsonl", "deep/no.txt"]):
        write(tmp_path / name, as_lines([{"place": place}]))
    assert [row.value["place"] for row in read(f"{tmp_path}/*.jsonl")] == [1, 0]
    assert [row.value["place"] for row in read(f"{tmp_path}/**/*.jsonl")] == [1, 0, 2]
    assert [row.value["place"] for row in read(f"{tmp_path}/[b]*", f"{tmp_path}/a.jsonl")] == [0, 1]


def test_a_glob_that_matches_nothing_is_named(tmp_path):
    assert refusal(f"{tmp_path}/*.jsonl") == f"{tmp_path}/*.jsonl: no file matches this pattern"


def test_a_file_whose_name_looks_like_a_glob_is_read_as_that_file(tmp_path):
    path = write(tmp_path / "votes[1].jsonl", as_lines(VALUES))
    write(tmp_path / "votes1.jsonl", as_lines(VALUES[:1]))
    assert [row.value for row in read(path)] == VALUES


def test_no_names_are_no_sources():
    assert read() == []


# The hub


def test_a_hub_name_reads_the_split_it_names(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "hub").mkdir()
    for split in ("train", "test"):
        write(tmp_path / "hub" / f"{split}.jsonl", as_lines([{"split": split, "place": place} for place in (1, 2)]))
    for name, split in ((f"hf:{tmp_path}/hub", "train"), (f"hf:{tmp_path}/hub:test", "test")):
        source = sources.open_source(name)
        assert source.name == name
        rows = list(source.rows)
        assert [row.value for row in rows] == [{"split": split, "place": 1}, {"split": split, "place": 2}]
        assert [row.line for row in rows] == [1, 2]


CONFIGURATIONS = """---
configs:
- config_name: preference
  data_files:
  - {split: train, path: a.jsonl}
  - {split: test, path: b.jsonl}
- config_name: feedback
  data_files:
  - {split: train, path: b.jsonl}
---
"""


@pytest.fixture
def configured(tmp_path, monkeypatch):
    """A data set with configurations, of which nothing may be copied to the disk."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "hub").mkdir()
    write(tmp_path / "hub" / "README.md", CONFIGURATIONS.encode())
    for name in "ab":
        write(tmp_path / "hub" / f"{name}.jsonl", as_lines([{"name": name, "place": place} for place in range(3)]))
    yield tmp_path / "hub"
    assert not list((tmp_path / "cache").rglob("*.arrow"))


@pytest.mark.parametrize(
    ("named", "read_from"),
    [("preference", "a"), ("preference:train", "a"), ("preference:test", "b"), ("feedback", "b")],
)
def test_a_hub_name_with_a_configuration_streams_its_split(configured, named, read_from):
    source = sources.open_source(f"hf:{configured}/{named}")
    assert [row.value for row in source.rows] == [{"name": read_from, "place": place} for place in range(3)]


def test_the_digest_of_a_streamed_split_is_of_its_content(configured):
    def digest(named):
        return sources.open_source(f"hf:{configured}/{named}").digest

    before = digest("preference")
    assert len({before, digest("preference:test"), digest("feedback")}) == 3
    content = (configured / "a.jsonl").read_bytes()
    os.utime(configured / "a.jsonl", (0, 0))
    assert digest("preference") == before
    write(configured / "a.jsonl", content + b'{"name": "c"}\n')
    assert digest("preference") != before


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        ("other", "BuilderConfig 'other' not found"),
        ("preference:validation", "Bad split: validation. Available splits: ['train', 'test']"),
        ("preference:train[:2]", "Bad split: train[:2]"),
    ],
)
def test_a_configuration_or_split_that_is_not_there_is_named(configured, named, reason):
    said = refusal(f"hf:{configured}/{named}")
    assert said.startswith(f"hf:{configured}/{named}: cannot be loaded from the hub: ")
    assert reason in said


def test_a_streamed_split_that_breaks_off_is_named(configured):
    write(configured / "a.jsonl", as_lines(VALUES) + b'{"a": [1, 2\n')
    assert refusal(f"hf:{configured}/preference").startswith(f"hf:{configured}/preference: cannot be read from the hub")


def test_a_configuration_is_streamed_from_a_hub_at_the_commit_that_is_asked_for(tmp_path):
    old, new = "1" * 40, "2" * 40
    page = CONFIGURATIONS.encode()
    files = {old: {"README.md": page, "a.jsonl": b'{"a": 1}\n', "b.jsonl": b'{"b": 1}\n'}}
    files[new] = {**files[old], "a.jsonl": b'{"a": 2}\n'}
    names = [
        f"hf:our/votes/{rest}" for rest in ("preference", f"preference:train@{old}", f"preference@{new}", "feedback")
    ]
    code = """if True:
        import json, sys
        from rm.data import sources, unpacking
        found = [sources.open_source(name) for name in sys.argv[1:]]
        print(json.dumps([[source.digest, [row.value for row in source.rows]] for source in found]))
    """
    with hub_server("our/votes", files) as (address, asked):
        ended = subprocess.run(
            [sys.executable, "-c", code, *names],
            env={**os.environ, "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": address, "HF_HOME": str(tmp_path)},
            cwd=Path(sources.__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
    assert ended.returncode == 0, (ended.stderr[-3000:], asked)
    digests, rows = zip(*json.loads(ended.stdout), strict=True)
    assert rows == ([{"a": 2}], [{"a": 1}], [{"a": 2}], [{"b": 1}])
    assert digests[0] == digests[2]
    assert len(set(digests)) == 3
    assert not list(tmp_path.rglob("*.arrow"))


def test_a_hub_name_that_stands_for_nothing_is_named():
    assert refusal("hf:nobody/nothing").startswith("hf:nobody/nothing: cannot be loaded from the hub")


def test_reading_files_does_not_load_the_hub_library(tmp_path):
    path = write(tmp_path / "a.jsonl", as_lines(VALUES))
    code = f"import sys; from rm.data import sources; list(sources.open_source({path!r}).rows)"
    code += "; print('datasets' in sys.modules)"
    root = Path(sources.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.split() == ["False"]


def test_a_data_set_is_read_through_datasets_by_name_and_split(tmp_path):
    # A folder stands for a hub name: datasets resolves both, and only the download is left out.
    for split in ("train", "test"):
        rows = [{"prompt": f"{split} {number}", "chosen": "yes", "rejected": "no"} for number in range(3)]
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    default = sources.open_source(f"hf:{tmp_path}")
    named = sources.open_source(f"hf:{tmp_path}:test")
    assert [row.value["prompt"] for row in default.rows] == ["train 0", "train 1", "train 2"]
    assert [(row.line, row.value["prompt"]) for row in named.rows] == [(1, "test 0"), (2, "test 1"), (3, "test 2")]
    assert default.digest != named.digest


def test_a_hub_name_that_cannot_be_loaded_is_named(tmp_path):
    with pytest.raises(DataError, match="hf:nobody/nothing: cannot be loaded"):
        sources.open_source("hf:nobody/nothing")


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_comma_separated_values_are_text_or_null(tmp_path, compression):
    long = "x" * 2_000_000
    content = f'\ufeffa,b,c\r\n1,"two, ""2""\nlines",\r\n,é,{long}\n'.encode()
    path = write(tmp_path / f"a.csv{compression}", COMPRESSIONS[compression](content))
    expected = [{"a": "1", "b": 'two, "2"\nlines', "c": None}, {"a": None, "b": "é", "c": long}]
    assert [(row.line, row.value, row.error) for row in read(path)] == [(1, expected[0], None), (2, expected[1], None)]


def test_the_names_of_the_columns_again_are_no_row(tmp_path):
    again = b"a,b\n1,2\na,b\n3,b\n"  # two files, one behind the other
    assert [(row.line, row.value, row.error) for row in read_bytes(tmp_path, "a.csv", again)] == [
        (1, {"a": "1", "b": "2"}, None),
        (2, None, "the names of the columns again"),
        (3, {"a": "3", "b": "b"}, None),
    ]


def test_a_line_with_another_number_of_cells_is_kept_with_its_place_and_reason(tmp_path):
    rows = read_bytes(tmp_path, "a.csv", b"a,b\n1,2\n1,2,3\n\n4\n5,6\n")
    assert [row.value for row in rows] == [{"a": "1", "b": "2"}, None, None, {"a": "5", "b": "6"}]
    assert [(row.line, row.error, row.raw) for row in rows[1:3]] == [
        (2, "expected 2 cells, got 3", '["1", "2", "3"]'),
        (3, "expected 2 cells, got 1", '["4"]'),
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'a,b\n"1" x,2\n', "',' expected after"),
        (b"a,a\n1,2\n", "two are named 'a'"),
        (b"a,b\n1,caf\xe9\n", "invalid continuation byte"),
    ],
)
def test_broken_comma_separated_values_are_an_error_that_names_the_file(tmp_path, content, reason):
    path = write(tmp_path / "a.csv", content)
    assert refusal(path).startswith(f"{path}: cannot be read: ")
    assert reason in refusal(path)


def test_a_table_of_nothing_has_no_rows(tmp_path):
    assert read(write(tmp_path / "a.csv", b"")) == []
    assert read(write(tmp_path / "b.csv", b"a,b\n")) == []


# Rows that are too large, and small files that unpack to huge ones

LARGE = "x" * (MAX_ROW + 1)
TOO_LARGE = "expected a row of at most 16 MiB, got a larger one"


@pytest.mark.parametrize("ending", COMPRESSIONS)
def test_a_line_that_is_too_large_is_one_bad_row_of_which_the_beginning_is_kept(tmp_path, ending):
    content = as_lines([{"a": 1}, {"a": LARGE}, {"a": 3}])
    first, bad, last = read_bytes(tmp_path, f"a.jsonl{ending}", COMPRESSIONS[ending](content))
    assert (first.value, last.value) == ({"a": 1}, {"a": 3})
    assert (bad.line, bad.value, bad.error, bad.raw) == (2, None, TOO_LARGE, '{"a": "' + "x" * 993)


def test_the_largest_row_is_read_and_an_array_of_one_long_line_too(tmp_path):
    fits = {"a": "x" * (MAX_ROW - 20)}
    assert [row.value for row in read_bytes(tmp_path, "a.jsonl", as_lines([fits, fits]))] == [fits, fits]
    assert [row.value for row in read_bytes(tmp_path, "a.json", as_array([fits, fits]))] == [fits, fits]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.json", as_array([{"a": 1}, {"a": LARGE}]), f"row 2: {TOO_LARGE}"),
        ("c.json", b'{\n"a": "%b",\n"b": "%b"}' % ((LARGE[::2].encode() + b"x",) * 2), f"row 1: {TOO_LARGE}"),
        ("a.csv", b"a\n" + LARGE.encode() + b"\n", f"line 2: {TOO_LARGE}"),
        ("b.csv", b'a,b\n1,2\n1,"' + b"xxxxxxx\n" * (MAX_ROW // 8) + b'"\n', f"row 2: {TOO_LARGE}; is there a quote"),
    ],
)
def test_a_row_that_is_too_large_in_the_middle_of_a_text_is_named(tmp_path, name, content, sentence):
    path = write(tmp_path / name, content)
    assert refusal(path).startswith(f"{path}: ")
    assert sentence in refusal(path)


def test_a_cell_of_parquet_that_is_too_large_is_one_bad_row(tmp_path):
    table = pa.table({"a": ["b", LARGE, "c"] * 3, "n": range(9)})
    pq.write_table(table, tmp_path / "a.parquet", use_dictionary=False, compression="none")
    rows = read(str(tmp_path / "a.parquet"))
    assert [row.error for row in rows] == [None, TOO_LARGE, None] * 3
    assert [row.value["n"] for row in rows if row.value] == [0, 2, 3, 5, 6, 8]


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"a": [LARGE[:100] * 300_000]}, "row group 0: expected rows of at most 16 MiB, got 30,0"),
        ({"a": [LARGE[: 1 << 20]] * 100}, "expected at most 200 times its size, got 104,8"),
        ({"a": pa.repeat(pa.scalar("b"), 1 << 20)}, "expected fewer rows than bytes, got 1,048,576 rows in"),
    ],
)
@pytest.mark.parametrize("ending", COMPRESSIONS)
def test_parquet_that_unpacks_to_far_more_than_it_is_is_refused_unread(tmp_path, columns, sentence, ending):
    pq.write_table(
        pa.table(columns), tmp_path / "a.parquet", compression="zstd", use_dictionary="rows than" in sentence
    )
    path = write(tmp_path / f"b.parquet{ending}", COMPRESSIONS[ending]((tmp_path / "a.parquet").read_bytes()))
    assert sentence in refusal(path)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_stream_that_unpacks_to_too_much_stops(compression, monkeypatch):
    monkeypatch.setattr(unpacking, "ALLOWED", 1 << 20)
    fits, beyond = (pa.Codec(compression).compress(b"x" * size, asbytes=True) for size in (1 << 20, (1 << 20) + 1))
    assert len(Unpacked(pa.BufferReader(fits), compression, 100).read()) == 1 << 20
    assert len(Unpacked(pa.BufferReader(beyond), compression, 1 << 14).read()) == (1 << 20) + 1
    with pytest.raises(ValueError, match="unpacks to at most 200 times its size or"):
        Unpacked(pa.BufferReader(beyond), compression, 100).read()


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        (pa.timestamp("us"), 2**62, "got timestamp[us]: date value out of range"),
        (pa.date32(), 2**31 - 1, "got date32[day]: days=2147483647"),
        (pa.timestamp("us", tz="Mars/Olympus"), 1, "got timestamp[us, tz=Mars/Olympus]: 'Mars/Olympus'"),
    ],
)
def test_a_cell_that_python_cannot_hold_is_one_bad_row_and_names_its_column(tmp_path, kind, value, reason):
    table = pa.table({"a": ["x", "y", "z"], "t": pa.array([None, value, None], kind)})
    pq.write_table(table, tmp_path / "a.parquet")
    first, bad, last = read(str(tmp_path / "a.parquet"))
    assert (first.value["a"], last.value["a"]) == ("x", "z")
    assert bad.error.startswith(f"t: expected a value that Python can hold, {reason}")
    assert bad.raw == '{"a": "y"}'


# Damage

CHECKED = bytes.fromhex(
    "28b52ffd64f4002d030032450f13b0198b018f2fa30f95462bbbbb97e9bd642e06c042c3c3fbaeeb798ee3f76ddb75fd3f0fc3ae6a26e29d"
    "59d5030b098324074243904113084350414a26a81140f6fe6fd073351014a11748f0016911160806a049afe7749da02cc0c01ab060ab019d"
    "101bd1"
)
"""20 lines of JSON as ``zstd`` writes them: with the length of their text and its checksum."""


def test_a_checked_stream_is_read_and_each_byte_that_differs_is_seen_or_changes_nothing(tmp_path):
    good = [row.value for row in read_bytes(tmp_path, "a.jsonl.zst", CHECKED)]
    assert good == [{"a": number, "b": f"text {number}"} for number in range(20)]
    num_refused = 0
    for place in range(len(CHECKED)):
        flipped = bytes(byte ^ 4 if place == number else byte for number, byte in enumerate(CHECKED))
        path = write(tmp_path / "b.jsonl.zst", flipped)
        try:
            assert [row.value for row in read(path)] == good
        except DataError:
            num_refused += 1
    assert num_refused > len(CHECKED) * 0.9


@pytest.mark.parametrize(
    "change", [lambda z: z[:-1], lambda z: z[: len(z) // 2], lambda z: z + b"more", lambda z: z + z[:9]]
)
@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_a_stream_that_is_cut_off_or_has_more_behind_it_is_refused(tmp_path, ending, change):
    packed = COMPRESSIONS[ending](as_lines(VALUES))
    assert "cannot be read: " in refusal(write(tmp_path / f"a.jsonl{ending}", change(packed)))


def test_a_stream_whose_length_is_not_that_of_its_header_is_refused(tmp_path):
    assert CHECKED[4] & 0x20  # a single segment: the length follows this byte
    path = write(tmp_path / "a.jsonl.zst", CHECKED[:5] + bytes([CHECKED[5] ^ 1]) + CHECKED[6:])
    assert "cannot be read: " in refusal(path)
