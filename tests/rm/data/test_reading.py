"""Sources that workers read in parts, against the same sources read whole in one process."""

import functools
import json
import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rm import storage
from rm.data import quarantine, reading, sources, store
from rm.data.config import IngestConfig
from rm.data.sources import Source
from rm.engine.engines import LOCAL
from rm.errors import DataError


class Workers:
    """An engine that passes shards and results on as bytes, as to and from other machines, and takes three ahead."""

    is_here = False

    def __init__(self):
        self.shards = []

    def map(self, make, shards, *, on_gpus=False):
        function = pickle.loads(pickle.dumps(make))()
        waiting = []
        for name, shard in shards:
            self.shards.append(name)
            waiting.append(pickle.dumps(function(pickle.loads(pickle.dumps(shard)))))
            if len(waiting) == 3:
                yield pickle.loads(waiting.pop(0))
        yield from map(pickle.loads, waiting)


def row(number):
    return {
        "prompt": f"prompt {number} é",
        "chosen": f"good {number}",
        "rejected": "bad",
        "annotator": f"a{number % 3}",
    }


def lines(number):
    """Rows, blank lines, rows that cannot be used, one that comes twice, and no end of the last line."""
    written = [json.dumps(row(place), ensure_ascii=place % 2 == 0) for place in range(number)]
    for place in range(3, number, 17):
        written[place] = (
            "",
            "  ",
            "{",
            '{"prompt": 1}',
            json.dumps(row(0)),
            json.dumps(row(place) | {"chosen": "bad"}),
        )[place % 6]
    return "\n".join(written)


def both(names, tmp_path, workers):
    """What is staged and stored of sources, read whole and in parts."""
    found = []
    config = IngestConfig(max_quarantined_share=1)
    for side, engine in (("whole", LOCAL), ("parts", workers)):
        report = store.append(names, tmp_path / side, config, engine=engine)
        bad = quarantine.rows(tmp_path / side) if any(each.num_quarantined for each in report.sources) else []
        opened = [each for each in reading.opened(names, engine) if isinstance(each, Source)]
        (folder := tmp_path / f"staged {side}").mkdir()
        staged = [rows_of(each) for each in reading.staged(opened, config, folder, engine)]
        found.append(((report.sources, report.refused, report.table.digest), staged, bad))
    return found


def rows_of(staged):
    """The rows of both files, in their order, with the counts; or the error."""
    if isinstance(staged, DataError):
        return str(staged)
    files = [pa.ipc.open_file(str(path)).read_all().to_pylist() for path in (staged.judgements, staged.quarantine)]
    return files, staged[2:]


@pytest.fixture
def workers(monkeypatch):
    monkeypatch.setattr(sources, "PART_SIZE", 1000)
    monkeypatch.setattr("rm.data.json_rows._LINES_AT_ONCE", 700)
    return Workers()


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".ndjson"])
@pytest.mark.parametrize("change", ["", "BOM", "CRLF", "end"])
def test_lines_in_parts_are_stored_as_whole_files_are(tmp_path, workers, ending, change):
    text = lines(200)
    text = {"BOM": "\ufeff" + text, "CRLF": text.replace("\n", "\r\n"), "end": text + "\n"}.get(change, text)
    paths = [tmp_path / f"{place}{ending}" for place in range(3)]
    for path, content in zip(paths, (text, lines(4), text.replace("good", "fine")), strict=True):
        path.write_bytes(content.encode())
    whole, parts = both([str(path) for path in paths], tmp_path, workers)
    assert parts == whole
    assert whole[-1] != []
    numbers = [workers.shards.count(str(path)) for path in paths]
    assert numbers[0] > 10 and numbers[1] == 4 and numbers[2] > 10  # twice opened, and read in one or more parts


def test_row_groups_in_parts_are_stored_as_whole_files_are(tmp_path, workers):
    table = pa.Table.from_pylist(
        [row(number) | ({"chosen": None} if number % 13 == 5 else {}) for number in range(300)]
    )
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=40)
    whole, parts = both([str(tmp_path / "a.parquet")], tmp_path, workers)
    assert parts == whole
    assert len(whole[-1]) == 23
    assert workers.shards.count(str(tmp_path / "a.parquet")) > 3


@pytest.mark.parametrize("name", ["array.json", "object.json", "one.json", "a.jsonl.gz", "a.csv", "no.parquet"])
def test_what_has_to_be_read_from_its_beginning_is_not_divided(tmp_path, workers, name):
    many = [row(number) for number in range(100)]
    content = {
        "array.json": json.dumps(many).encode(),
        "object.json": json.dumps({"data": many}, indent=1).encode(),
        "one.json": json.dumps(many[0] | {"id": "x" * 3000}).encode(),
        "a.jsonl.gz": pa.compress(lines(100).encode(), codec="gzip", asbytes=True),
        "a.csv": b"prompt,chosen,rejected\n" + b"".join(b"p%d,c,r\n" % number for number in range(300)),
        "no.parquet": b"PAR1" + b"x" * 3000,
    }
    (tmp_path / "first.jsonl").write_text(lines(5))
    (tmp_path / name).write_bytes(content[name])
    whole, parts = both([str(tmp_path / "first.jsonl"), str(tmp_path / name)], tmp_path, workers)
    assert parts == whole
    assert workers.shards.count(str(tmp_path / name)) <= 4


def test_an_object_is_divided_as_a_file_is(tmp_path, bucket, workers):
    storage.write_text(bucket / "a.jsonl", lines(200))
    whole, parts = both([f"{bucket}/a.jsonl"], tmp_path, workers)
    assert parts == whole
    assert workers.shards.count(f"{bucket}/a.jsonl") > 10


def test_a_part_that_breaks_off_refuses_its_source_alone(tmp_path, workers, monkeypatch):
    for name in "ab":
        (tmp_path / f"{name}.jsonl").write_text(lines(100).replace("good", f"good {name}"))
    read = sources.json_rows.rows_of_part

    def breaks(opened, part):
        yield from read(opened, part)
        if part.before == 40 or (part.before > 40 and not changed):
            changed.append(part)
            (tmp_path / "a.jsonl").touch()

    changed = []
    monkeypatch.setitem(sources._DIVIDED, ".jsonl", (sources.json_rows.parts, functools.partial(breaks)))
    names = [str(tmp_path / f"{name}.jsonl") for name in "ab"]
    report = store.append(names, tmp_path / "table", IngestConfig(max_quarantined_share=1), engine=workers)
    assert report.refused == (f"{names[0]}: changed while it was read; expected a file that nobody writes to any more",)
    assert [each.source for each in report.sources] == names[1:]
