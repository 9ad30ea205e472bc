import json
import re
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from deltalake import DeltaTable

from rm import storage
from rm.data import annotation_table, quarantine, snapshots, store, tables
from rm.data.config import IngestConfig, SnapshotConfig
from rm.data.manifests import DatasetManifest
from rm.errors import StorageError
from rm.locations import Url


def row(number=0, **changes):
    return {"prompt": f"prompt {number}", "first": "good", "second": "bad", "preference": 1.0, **changes}


def write(path, rows):
    path.write_text("".join(f"{json.dumps(each)}\n" for each in rows), encoding="utf-8")
    return str(path)


def append(at, work, *names, config=IngestConfig()):  # noqa: B008 - frozen
    return store.append(names, at, config, work)


ANY_SHARE = IngestConfig(max_quarantined_share=1.0)


def test_a_table_at_a_url_holds_what_the_same_table_in_a_folder_holds(bucket, tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "_MAX_FILES", 1)
    files = [
        write(tmp_path / f"{number}.jsonl", [row(number), row(9), row(9), {"prompt": "no more"}]) for number in range(2)
    ]
    remote, local = bucket / "tables" / "mine", tmp_path / "local"
    for name in files:
        there = append(remote, tmp_path / "work", name, config=ANY_SHARE)
        here = append(local, None, name, config=ANY_SHARE)
        assert there.sources == here.sources
    assert there.table.path == remote / "annotations"
    assert there.table.model_copy(update={"path": here.table.path}) == here.table
    assert store.IngestReport.model_validate_json(there.model_dump_json()) == there
    assert set(annotation_table.judgements(there.table)) == set(annotation_table.judgements(here.table))
    assert quarantine.rows(remote) == quarantine.rows(local) != []
    assert annotation_table.source_digests(there.table) == annotation_table.source_digests(here.table)
    assert len(DeltaTable(str(there.table.path)).file_uris()) == 1
    assert append(remote, tmp_path / "work", *files, config=ANY_SHARE).num_stored == 0
    assert tables.clean(there.table.path, 0, dry_run=False)
    assert annotation_table.current(remote).digest == here.table.digest
    assert list((tmp_path / "work").iterdir()) == []


def test_a_snapshot_of_a_table_at_a_url_names_the_url_and_has_the_same_content(bucket, tmp_path):
    name = write(tmp_path / "a.jsonl", [row(number) for number in range(40)])
    there, here = (append(at, tmp_path / "work", name).table for at in (bucket, tmp_path / "local"))
    made = [
        snapshots.snapshot(table, SnapshotConfig(heldout_share=0.3), tmp_path / str(place))
        for place, table in enumerate((there, here))
    ]
    assert made[0].digest == made[1].digest
    assert made[0].inputs[0].path == Url("s3", bucket.bucket, "annotations")
    assert DatasetManifest.read(tmp_path / "0") == made[0]


@pytest.mark.parametrize("num_writers", [3, pytest.param(8, marks=pytest.mark.slow)])
def test_writers_at_once_lose_no_row_and_double_none(bucket, tmp_path, monkeypatch, num_writers):
    """Each has rows of its own and rows of all; all start where there is no table."""
    monkeypatch.setattr(tables.time, "sleep", lambda _: None)  # who lost looks again at once
    monkeypatch.setattr(tables, "_NUM_ATTEMPTS", 10 * num_writers)
    for writer in range(num_writers):
        rows = [row(1000 + writer), row(writer // 2), row(7), {"prompt": f"bad {writer}"}]
        write(tmp_path / f"{writer}.jsonl", rows)
    start = threading.Barrier(num_writers)

    def written(writer):
        start.wait()
        return append(bucket / "table", tmp_path / f"work {writer}", f"{tmp_path}/{writer}.jsonl", config=ANY_SHARE)

    with ThreadPoolExecutor(num_writers) as pool:
        reports = list(pool.map(written, range(num_writers)))
    table = annotation_table.current(bucket / "table")
    found = Counter(judgement.prompt[0].content for judgement in annotation_table.judgements(table))
    own = [1000 + writer for writer in range(num_writers)]
    shared = {writer // 2 for writer in range(num_writers)}
    assert found == Counter(f"prompt {number}" for number in [*own, *shared, 7])
    assert sum(report.num_stored for report in reports) == len(found) == table.num_judgements
    assert len(quarantine.rows(bucket / "table")) == num_writers
    everything = append(tmp_path / "local", None, f"{tmp_path}/*.jsonl", config=ANY_SHARE).table
    assert everything.digest == table.digest


def test_a_bucket_that_is_not_there_is_named(bucket, tmp_path):
    name = write(tmp_path / "a.jsonl", [row()])
    with pytest.raises(StorageError, match=r"^s3://no-such/t/annotations: there is no bucket 'no-such'$"):
        append(Url.parse("s3://no-such/t"), tmp_path / "work", name)


def test_a_storage_that_answers_in_other_words_is_shown_without_secrets():
    url = Url.parse("az://container/a")
    answer = OSError("\x1b[31m↳\x1b[0m odd\n GET https://x.net/a?sig=hunter2&b=c at https://me:hunter2@x.net")
    with pytest.raises(StorageError) as caught, storage.explained(url):
        raise answer
    assert str(caught.value) == "az://container/a: the storage failed: odd GET https://x.net/a?... at https://...@x.net"
    with pytest.raises(OSError, match=re.escape(str(answer))), storage.explained(Path("a")):
        raise answer
