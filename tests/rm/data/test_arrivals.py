"""Files are given once they are whole."""

import os

import pytest
from pyarrow import fs

from rm.data.arrivals import Arrivals
from rm.storage import connected


@pytest.fixture
def arrivals(tmp_path):
    return Arrivals([str(tmp_path / "*.jsonl"), "hf:owner/name"], ".error.txt")


def test_a_file_is_given_once_when_it_has_not_changed_for_three_seconds(arrivals, tmp_path):
    file = tmp_path / "a.jsonl"
    assert arrivals.settled(0.0) == []
    file.write_text("{}")
    assert [arrivals.settled(now) for now in (1.0, 3.0)] == [[], []]
    file.write_text("{}\n{}")  # still being written
    assert [arrivals.settled(now) for now in (4.1, 7.0)] == [[], []]
    assert arrivals.settled(7.1) == [str(file)]
    assert [arrivals.settled(now) for now in (8.0, 20.0)] == [[], []]


def test_a_changed_file_is_given_again_also_at_the_same_size(arrivals, tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text("1")
    os.utime(file, ns=(1, 1))
    arrivals.settled(0.0)
    assert arrivals.settled(5.0) == [str(file)]
    file.write_text("2")
    assert arrivals.settled(6.0) == []
    assert arrivals.settled(9.0) == [str(file)]


def test_reasons_beside_files_are_no_annotations_and_gone_files_are_no_error(tmp_path):
    arrivals = Arrivals([str(tmp_path / "*")], ".error.txt")
    (tmp_path / "a.jsonl.error.txt").write_text("why")
    (tmp_path / "b.jsonl").write_text("{}")
    arrivals.settled(0.0)
    (tmp_path / "b.jsonl").unlink()
    assert arrivals.settled(5.0) == []


def test_objects_of_a_bucket_are_given_too(bucket):
    arrivals = Arrivals([f"{bucket}/drop/*.jsonl"], ".error.txt")
    assert arrivals.settled(0.0) == []
    with connected(bucket).open_output_stream(f"{bucket.path}/drop/a.jsonl") as stream:
        stream.write(b"{}")
    assert arrivals.settled(1.0) == []
    assert arrivals.settled(4.0) == [f"{bucket}/drop/a.jsonl"]
    assert isinstance(connected(bucket), fs.S3FileSystem)
