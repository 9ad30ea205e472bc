import json
from itertools import chain

import pyarrow.parquet as pq
import pytest

from rm.data import annotation_table, by_prompt, snapshots, store
from rm.data.config import IngestConfig, SnapshotConfig
from rm.data.manifests import DatasetManifest


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    rows = [
        {"prompt": f"prompt {number % 61}", "first": f"a{number % 7}", "second": f"b{number % 5}", "preference": 1.0}
        | ({"annotator": f"k{number}"} if number % 3 else {"attributes_first": {"helpfulness": number}})
        for number in range(400)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return store.append([str(folder / "rows.jsonl")], folder / "table", IngestConfig()).table


@pytest.mark.parametrize("at_once", [400, 100, 7])
def test_parts_of_any_size_give_the_same_prompts_in_the_same_order(table, tmp_path, monkeypatch, at_once):
    (whole,) = by_prompt.groups(table, tmp_path)
    monkeypatch.setattr(by_prompt, "JUDGEMENTS_AT_ONCE", at_once)
    parts = list(by_prompt.groups(table, tmp_path))
    assert list(chain.from_iterable(parts)) == whole and len(parts) == -(-table.num_judgements // at_once)
    assert list(tmp_path.iterdir()) == []


def test_parts_of_which_everything_is_left_out_are_empty(table, tmp_path, monkeypatch):
    monkeypatch.setattr(by_prompt, "JUDGEMENTS_AT_ONCE", 100)
    ids = {judgement.judgement_id for judgement in annotation_table.judgements(table)}
    assert list(chain.from_iterable(by_prompt.groups(table, tmp_path, ids))) == []


def test_a_snapshot_in_parts_has_the_rows_of_one_in_one_piece(table, tmp_path, monkeypatch):
    for name, at_once in (("whole", 10_000), ("parts", 50)):
        monkeypatch.setattr(by_prompt, "JUDGEMENTS_AT_ONCE", at_once)
        (tmp_path / name).mkdir()
        snapshots.snapshot(table, SnapshotConfig(heldout_share=0.4), tmp_path / name)
    whole, parts = (pq.read_table(tmp_path / name / DatasetManifest.GROUPS_NAME) for name in ("whole", "parts"))
    assert whole.equals(parts)
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == sorted(
        path.name for path in (tmp_path / "whole").iterdir()
    )
