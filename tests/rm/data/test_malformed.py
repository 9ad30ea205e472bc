"""Malformed rows and files from a seeded generator: no traceback, no hang, and each row is accounted for."""

import copy
import gzip
import json
import random
import sys
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rm.data import explanation, quarantine, sources, store
from rm.data.config import IngestConfig
from rm.data.formats.catalog import FORMATS
from rm.errors import DataError, printable

ANY_SHARE = IngestConfig(max_quarantined_share=1.0, on_bad_source="skip")
HOSTILE = [
    *(None, True, False, 0, -1, 1.5, 1e300, 1e-300, 10**400, 2**63, -(2**63) - 1, float("nan"), float("inf")),
    *("", " ", "\x1b]0;x\x07", "\u202e", "\ud800", "\x00", "a" * 3000, " " * 20_000 + "x", "1" * 20_000 + "x", "NaN"),
    *("\n\nHuman: a\n\nAssistant:" * 300, "<|im_start|>user\n" * 300, "[INST]" * 300, "### Human:" * 300),
    *("{" * 2000, "[" * 2000, '[{"role": "user", "content": "x"}]', "[{'role': 'user'}]", "<extra_id_1>User\n" * 50),
    *([], {}, [[]], [{}], {"": None}, [None], ["a", 1], {"role": "user"}, [{"role": "\x1b", "content": []}]),
    *([{"from": "human", "value": 3}], {"a": {"b": {"c": [1, {"d": None}]}}}, [[["x"] * 3] * 3], "2026-99-99", "A>B"),
]
NAMES = ["", " ", "chosen", "rejected", "prompt", "images", "tools", "weight", "created_at", "\ud800", "\x1b[2J", "a.b"]


tell = sys.stdout.write
"""Shown by ``pytest -s``."""


def places(value, path=()):
    """The paths of all values in a value."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from places(each, (*path, key))


def damaged(row, draw):
    """The row with one to three changes, each at any depth."""
    row = copy.deepcopy(row)
    for _ in range(draw.randint(1, 3)):
        path = draw.choice(list(places(row))[1:] or [()])
        if not path:
            return draw.choice(HOSTILE)
        *above, last = path
        parent = row
        for key in above:
            parent = parent[key]
        kind = draw.randrange(5)
        if kind == 0:
            del parent[last]
        elif kind == 1 and isinstance(parent, dict):
            parent[draw.choice(NAMES)] = parent.pop(last)
        elif kind == 2 and isinstance(parent, dict):
            parent[draw.choice(NAMES)] = draw.choice(HOSTILE)
        else:
            parent[last] = copy.deepcopy(draw.choice(HOSTILE))
    return row


def line(draw):
    """A line of JSON that is most often damaged: in its values, then perhaps in its text or its bytes."""
    row = dict(draw.choice(FORMATS).example)
    text = json.dumps(damaged(row, draw) if draw.random() < 0.9 else row, ensure_ascii=draw.random() < 0.5)
    raw = text.encode("utf-8", "surrogatepass")
    kind = draw.randrange(12)
    if kind == 0:
        raw = raw[: draw.randrange(len(raw) + 1)]
    elif kind == 1 and raw:
        place = draw.randrange(len(raw))
        raw = raw[:place] + bytes([draw.randrange(256)]) + raw[place + 1 :]
    elif kind == 2:
        raw = raw.replace(b"{", b'{"prompt": "twice", "prompt": "twice", ', 1)
    return raw.replace(b"\n", b" ")


@pytest.mark.parametrize("num_rows", [8000])
def test_each_malformed_row_is_stored_a_duplicate_or_in_quarantine_with_a_reason(tmp_path, num_rows):
    draw = random.Random(num_rows)
    expected = {}
    for number in range(num_rows // 100):
        lines = [line(draw) for _ in range(100)]
        path = tmp_path / f"{number}.jsonl"
        path.write_bytes(b'{"no": "row"}\n' + b"\n".join(lines) + b"\n")
        expected[str(path)] = 1 + sum(bool(each.removeprefix(b"\xef\xbb\xbf").strip()) for each in lines)
    report = store.append(list(expected), tmp_path / "table", ANY_SHARE)
    found = quarantine.rows(tmp_path / "table")
    outcomes = Counter(row["reason"].partition(":")[0][:30] for row in found)
    by_source = Counter(row["source"] for row in found)
    refused = {reason.partition(": nothing of this source was stored")[0] for reason in report.refused}
    assert {counts.source: counts.num_rows for counts in report.sources} == {
        name: num_rows for name, num_rows in expected.items() if name not in refused
    }
    assert len(report.sources) + len(refused) == len(expected)
    for counts in report.sources:
        assert counts.num_rows == sum(counts.formats.values()) + counts.num_quarantined
        assert counts.num_judgements == counts.num_stored + counts.num_duplicates
        assert by_source[counts.source] == counts.num_quarantined
    for row in found:
        assert row["reason"]
        assert row["reason"] == printable(row["reason"])
        assert len(row["reason"]) <= 1003
    read = sum(sum(counts.formats.values()) for counts in report.sources)
    num_duplicates = sum(counts.num_duplicates for counts in report.sources)
    tell(f"{sum(expected.values())} rows = {read} read + {len(found)} in quarantine + rest of {len(refused)} ")
    tell(f"refused files; {len(outcomes)} kinds of reasons; ")
    tell(f"{report.num_stored} judgements stored, {num_duplicates} duplicates\n")
    assert read > 0.02 * num_rows
    assert len(found) > 0.3 * num_rows


def as_csv(rows):
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names, *([row.get(name) for name in names] for row in rows)]
    return "".join(",".join(json.dumps(str(cell)) for cell in line_) + "\n" for line_ in cells).encode(
        "utf-8", "surrogatepass"
    )


def as_parquet(rows):
    sink = pa.BufferOutputStream()
    try:
        pq.write_table(pa.Table.from_pylist(rows), sink)
    except (pa.ArrowException, OverflowError, ValueError, TypeError):  # no column holds all of these values
        pq.write_table(pa.table({"a": [json.dumps(row, default=str) for row in rows]}), sink)
    return sink.getvalue().to_pybytes()


def as_zst(content):
    return pa.Codec("zstd").compress(content, asbytes=True)


def wrecked(content, draw):
    """The bytes of a file with some of them changed, cut off, doubled, or filled in."""
    kind = draw.randrange(6)
    place = draw.randrange(len(content) + 1)
    if kind == 0:
        return content[:place]
    if kind == 1:
        return content[:place] + draw.randbytes(draw.randrange(40)) + content[place:]
    if kind == 2:
        return content[:place] + content[draw.randrange(len(content) + 1) :]
    if kind == 3:
        return content + content[:place]
    changed = bytearray(content)
    for _ in range(draw.randint(1, 8)):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def file(draw):
    """Name and content of a file that is most often broken."""
    row = dict(draw.choice(FORMATS).example)
    rows = [damaged(row, draw) if draw.random() < 0.5 else row for _ in range(draw.randrange(1, 6))]
    objects = [each for each in rows if isinstance(each, dict)] or [row]
    writers = {
        "jsonl": lambda: b"\n".join(json.dumps(each).encode() for each in rows),
        "json": lambda: json.dumps(
            draw.choice([rows, {"data": rows}, rows[0]]), indent=draw.choice([None, 1])
        ).encode(),
        "csv": lambda: as_csv(objects),
        "parquet": lambda: as_parquet(objects),
    }
    ending = draw.choice(list(writers))
    content = writers[ending]()
    if draw.random() < 0.5:
        content = wrecked(content, draw)
    packed = draw.choice(["", "", ".gz", ".zst"])
    content = {"": bytes, ".gz": gzip.compress, ".zst": as_zst}[packed](content)
    return f"{ending}{packed}", wrecked(content, draw) if draw.random() < 0.5 else content


@pytest.mark.parametrize("num_files", [2000])
def test_each_malformed_file_is_read_or_refused_in_one_sentence_with_its_name(tmp_path, num_files):
    draw = random.Random(num_files)
    outcomes = Counter()
    for number in range(num_files):
        ending, content = file(draw)
        path = tmp_path / f"{number}.{ending}"
        path.write_bytes(content)
        try:
            found = explanation.explain(sources.open_file(path), ANY_SHARE)
        except DataError as error:
            outcomes["refused"] += 1
            assert str(error).startswith(f"{path}: ")
            assert len(str(error)) < len(str(path)) + 1500
            continue
        outcomes["read"] += 1
        outcomes["rows that can be used"] += sum(found.formats.values())
        outcomes["rows that cannot"] += sum(found.problems.values())
        assert found.num_rows == sum(found.formats.values()) + sum(found.problems.values())
    tell(f"{num_files} files: {dict(outcomes)}\n")
    assert outcomes["refused"] > 0.2 * num_files
    assert outcomes["read"] > 0.2 * num_files
