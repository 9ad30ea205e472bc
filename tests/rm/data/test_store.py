import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import unicodedata
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rm
from rm.data import annotation_table, quarantine, sources, store, tables
from rm.data.config import IngestConfig
from rm.data.preferences import Judgement, Message
from rm.errors import DataError
from rm.files import sha256_file
from tests.processes import unmeasured

ANY_SHARE = IngestConfig(max_quarantined_share=1.0)


def row(number=0, **changes):
    return {"prompt": f"prompt {number}", "first": "good", "second": "bad", "preference": 1.0, **changes}


def write(path, rows):
    lines = [each if isinstance(each, str) else json.dumps(each) for each in rows]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(path)


def append(folder, *names, config=IngestConfig()):  # noqa: B008 - frozen
    return store.append(names, folder / "table", config)


def stored(folder):
    return list(annotation_table.judgements(annotation_table.current(folder / "table")))


def quarantined(folder):
    return quarantine.rows(folder / "table")


# Every row is accounted for


def good(number):
    return row(number)


def swapped(number):
    return row(number, first="bad", second="good", preference=0.0)


def reasoned(number):
    return row(number, annotator="ann")


def broken(number):
    return f'{{"prompt": "prompt {number}"'


def unusable(number):
    return row(number, second="good")


KINDS = {good: "same", swapped: "same", reasoned: "by ann", broken: None, unusable: None}


@settings(max_examples=15)
@given(st.lists(st.tuples(st.sampled_from(list(KINDS)), st.integers(0, 4)), max_size=20))
def test_rows_in_are_rows_stored_duplicate_or_quarantined(tmp_path_factory, plan):
    folder = tmp_path_factory.mktemp("store")
    path = write(folder / "a.jsonl", [kind(number) for kind, number in plan])
    (counts,) = append(folder, path, config=ANY_SHARE).sources
    wanted = [(KINDS[kind], number) for kind, number in plan if KINDS[kind]]
    assert counts.num_rows == len(plan)
    assert counts.num_stored == len(set(wanted)) == len(stored(folder))
    assert counts.num_duplicates == len(wanted) - len(set(wanted))
    assert counts.num_quarantined == len(plan) - len(wanted) == len(quarantined(folder))
    (again,) = append(folder, path, config=ANY_SHARE).sources
    assert (again.num_stored, again.num_quarantined) == (0, counts.num_quarantined)
    assert len(stored(folder)) == counts.num_stored
    assert len(quarantined(folder)) == counts.num_quarantined


def test_rows_of_several_files_are_counted_file_by_file(tmp_path):
    first = write(tmp_path / "a.jsonl", [good(0), good(1), good(1)])
    second = write(tmp_path / "b.jsonl", [swapped(1), good(2), "{"])
    report = append(tmp_path, first, second, config=ANY_SHARE)
    counts = [(each.num_rows, each.num_stored, each.num_duplicates, each.num_quarantined) for each in report.sources]
    assert counts == [(3, 2, 1, 0), (3, 1, 1, 1)]
    assert (report.num_stored, report.table.num_judgements) == (3, 3)
    assert [(each.source, each.digest) for each in report.sources] == [
        (first, sha256_file(tmp_path / "a.jsonl")),
        (second, sha256_file(tmp_path / "b.jsonl")),
    ]


def test_a_report_says_when_and_comes_back_from_its_json(tmp_path):
    report = append(tmp_path, write(tmp_path / "a.jsonl", [good(0)]))
    assert timedelta(0) <= datetime.now(UTC) - datetime.fromisoformat(report.ingested_at) < timedelta(minutes=1)
    assert store.IngestReport.model_validate_json(report.model_dump_json()) == report


def test_a_file_without_rows_adds_nothing_and_makes_the_table(tmp_path):
    (counts,) = append(tmp_path, write(tmp_path / "a.jsonl", [])).sources
    assert (counts.num_rows, counts.num_stored, counts.num_quarantined) == (0, 0, 0)
    assert stored(tmp_path) == quarantined(tmp_path) == []


def test_the_same_content_under_another_name_adds_nothing(tmp_path):
    rows = [good(number) for number in range(5)]
    append(tmp_path, write(tmp_path / "a.jsonl", rows))
    (tmp_path / "b.json").write_text(json.dumps(rows))
    (counts,) = append(tmp_path, str(tmp_path / "b.json")).sources
    assert (counts.num_stored, counts.num_duplicates) == (0, 5)


def test_a_file_that_grew_adds_its_new_rows_only(tmp_path):
    append(tmp_path, write(tmp_path / "a.jsonl", [good(0), good(1)]))
    (counts,) = append(tmp_path, write(tmp_path / "a.jsonl", [good(0), good(1), good(2)])).sources
    assert (counts.num_stored, counts.num_duplicates) == (1, 2)


# What is stored


HARD_TEXTS = [
    "👩‍👩‍👧 \U0010ffff",
    "a\0b",
    "\r\n\tline\u2028separators\x85\x1c",
    "  kept as it came \n",
    unicodedata.normalize("NFD", "é"),
    '"quoted" \\ \\ud800 {"json": 1}',
    "long " * 50_000,
    "'; drop table annotations; --",
]


def test_every_text_comes_back_as_it_was(tmp_path):
    rows = [row(0, prompt=text, first=f"{text}1", second=f"2{text}", domain=text) for text in HARD_TEXTS]
    assert append(tmp_path, write(tmp_path / "a.jsonl", rows)).num_stored == len(HARD_TEXTS)
    found = {judgement.prompt[0].content: judgement for judgement in stored(tmp_path)}
    assert set(found) == set(HARD_TEXTS)
    for text, judgement in found.items():
        assert (judgement.first, judgement.second, judgement.domain) == (f"{text}1", f"2{text}", text)


ANY_TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).filter(str.strip)
ANY_ATTRIBUTES = st.dictionaries(ANY_TEXT, st.just(0.0) | st.floats(1e-100, 1e6) | st.floats(-1e6, -1e-100), max_size=3)
ANY_JUDGEMENT = st.builds(
    Judgement,
    prompt=st.lists(st.builds(Message, st.sampled_from(["system", "user", "assistant"]), ANY_TEXT), max_size=2).map(
        lambda turns: (*turns, Message("user", "?"))
    ),
    first=ANY_TEXT.map(lambda text: f"1{text}"),
    second=ANY_TEXT.map(lambda text: f"2{text}"),
    preference=st.floats(0, 1),
    target_margin=st.floats(0, 1e3),
    weight=st.floats(1e-6, 1e6),
    sampling_probability=st.none() | st.floats(1e-9, 1),
    attributes_first=ANY_ATTRIBUTES,
    attributes_second=ANY_ATTRIBUTES,
    annotator=st.none() | ANY_TEXT,
    created_at=st.none() | ANY_TEXT,
    domain=st.none() | ANY_TEXT,
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(ANY_JUDGEMENT, min_size=1, max_size=15, unique_by=lambda judgement: judgement.judgement_id))
def test_judgements_come_back_to_the_last_bit_and_keep_their_ids(tmp_path_factory, judgements):
    folder = tmp_path_factory.mktemp("store")
    rows = [
        {name: getattr(each, name) for name in Judgement.__dataclass_fields__}
        | {"prompt": [message._asdict() for message in each.prompt]}
        for each in judgements
    ]
    append(folder, write(folder / "a.jsonl", rows))
    by_id = {judgement.judgement_id: judgement for judgement in judgements}
    assert {judgement.judgement_id: judgement for judgement in stored(folder)} == by_id


def test_a_file_that_grew_is_listed_with_every_content_that_was_read(tmp_path):
    path, other = write(tmp_path / "a.jsonl", [good(0)]), write(tmp_path / "b.jsonl", [good(9)])
    digests = [sha256_file(tmp_path / "a.jsonl")]
    table = append(tmp_path, path, other).table
    assert annotation_table.source_digests(table) == {path: digests[0], other: sha256_file(tmp_path / "b.jsonl")}
    write(tmp_path / "a.jsonl", [good(0), good(1)])
    digests.append(sha256_file(tmp_path / "a.jsonl"))
    grown = annotation_table.source_digests(append(tmp_path, path).table)
    assert sorted(grown.values()) == sorted([*digests, sha256_file(tmp_path / "b.jsonl")])
    assert {name.split(" @ ")[0] for name in grown} == {path, other}
    assert annotation_table.source_digests(table) == {path: digests[0], other: sha256_file(tmp_path / "b.jsonl")}


def test_an_older_version_of_the_table_stays_as_it_was(tmp_path):
    before = append(tmp_path, write(tmp_path / "a.jsonl", [good(0)])).table
    after = append(tmp_path, write(tmp_path / "b.jsonl", [good(1), good(2)])).table
    assert (before.num_judgements, after.num_judgements) == (1, 3)
    assert after.version > before.version
    assert [judgement.prompt[0].content for judgement in annotation_table.judgements(before)] == ["prompt 0"]
    assert annotation_table.current(tmp_path / "table") == after


def test_the_digest_of_a_table_depends_on_its_judgements_not_on_their_order_or_source(tmp_path):
    here, there, more = tmp_path / "here", tmp_path / "there", tmp_path / "more"
    names = [write(tmp_path / f"{number}.jsonl", [good(number), reasoned(number)]) for number in range(3)]
    everything = write(tmp_path / "all.jsonl", [swapped(2), swapped(1), reasoned(0), reasoned(1), reasoned(2), good(0)])
    digests = [
        append(here, *names).table.digest,
        append(there, everything).table.digest,
        append(more, *names, write(tmp_path / "3.jsonl", [good(3)])).table.digest,
    ]
    assert digests[0] == digests[1] != digests[2]


def test_the_digest_of_a_table_sees_which_response_has_which_attributes_whichever_stood_first(tmp_path):
    one, other = {"helpfulness": 1, "verbosity": 2}, {"verbosity": 2, "helpfulness": 3}
    tie = {"preference": 0.5}
    rows = {
        "plain": row(0, **tie),
        "given": row(0, **tie, attributes_first=one, attributes_second=other),
        "turned": row(0, **tie, first="bad", second="good", attributes_first=other, attributes_second=one),
        "exchanged": row(0, **tie, attributes_first=other, attributes_second=one),
        "one only": row(0, **tie, attributes_first=one),
        "other only": row(0, **tie, attributes_second=one),
    }
    digests = {
        name: append(tmp_path / name, write(tmp_path / "a.jsonl", [each, row(1)])).table.digest
        for name, each in rows.items()
    }
    assert digests["given"] == digests["turned"]
    assert len(set(digests.values())) == len(rows) - 1


def test_attributes_come_from_a_struct_column_where_a_value_may_be_null(tmp_path):
    rows = [
        row(0, attributes_first={"a": 1, "b": None}, attributes_second=None),
        row(1, attributes_first={"b": 2}, attributes_second={"c": 3}),
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    append(tmp_path, str(tmp_path / "a.parquet"))
    found = {each.prompt[0].content: (each.attributes_first, each.attributes_second) for each in stored(tmp_path)}
    assert found == {"prompt 0": ({"a": 1.0}, {}), "prompt 1": ({"b": 2.0}, {"c": 3.0})}


def test_attributes_that_were_read_first_stay(tmp_path):
    first = row(0, attributes_first={"helpfulness": 4})
    append(tmp_path, write(tmp_path / "a.jsonl", [first, row(1)]))
    corrected = [row(0, attributes_first={"helpfulness": 1}), row(1, attributes_first={"helpfulness": 2})]
    (counts,) = append(tmp_path, write(tmp_path / "b.jsonl", corrected)).sources
    assert (counts.num_stored, counts.num_duplicates) == (0, 2)
    found = {each.prompt[0].content: each.attributes_first for each in stored(tmp_path)}
    assert found == {"prompt 0": {"helpfulness": 4.0}, "prompt 1": {}}


# Tables written before responses had attributes and pairs a sampling probability


@pytest.fixture
def old_table(tmp_path):
    """A folder whose table lacks the columns, with two judgements, and its digest when it was written."""
    digest = append(tmp_path / "new", write(tmp_path / "old.jsonl", [good(0), good(1)])).table.digest
    rows = DeltaTable(tmp_path / "new" / "table" / "annotations").to_pyarrow_table()
    columns = rows.drop_columns(["attributes_first", "attributes_second", "sampling_probability"])
    write_deltalake(tmp_path / "table" / "annotations", columns)
    return tmp_path, digest


def test_an_older_table_is_read_as_one_without_attributes(old_table):
    folder, digest = old_table
    assert annotation_table.current(folder / "table").digest == digest
    assert [(each.attributes_first, each.attributes_second) for each in stored(folder)] == [({}, {})] * 2


def test_an_older_table_takes_judgements_with_attributes(old_table):
    folder, digest = old_table
    before = annotation_table.current(folder / "table")
    rows = [good(0), row(2, attributes_second={"helpfulness": 3}), row(3)]
    report = append(folder, write(folder / "a.jsonl", rows))
    assert (report.num_stored, report.sources[0].num_duplicates) == (2, 1)
    found = {each.prompt[0].content: (each.attributes_first, each.attributes_second) for each in stored(folder)}
    nothing = ({}, {})
    assert found == {
        "prompt 0": nothing,
        "prompt 1": nothing,
        "prompt 2": ({}, {"helpfulness": 3.0}),
        "prompt 3": nothing,
    }
    assert len(list(annotation_table.judgements(before))) == 2
    assert before.digest == digest != report.table.digest


def test_an_older_table_has_the_digest_of_a_new_one_with_the_same_judgements(old_table):
    folder, _ = old_table
    path = write(folder / "a.jsonl", [row(2, attributes_first={"helpfulness": 3})])
    digests = {append(folder, path).table.digest, append(folder / "new", path).table.digest}
    assert len(digests) == 1


def test_an_older_table_takes_sampling_probabilities_which_its_digest_sees(old_table):
    folder, digest = old_table
    sampled = [write(folder / f"{each}.jsonl", [row(2, sampling_probability=each)]) for each in (0.5, 0.25)]
    found = [append(folder / place, name).table for place, name in (("new", sampled[0]), ("", sampled[1]))]
    assert len({digest, *(table.digest for table in found)}) == 3
    assert annotation_table.current(folder / "table") == found[1]
    known = {each.prompt[0].content: each.sampling_probability for each in stored(folder)}
    assert known == {"prompt 0": None, "prompt 1": None, "prompt 2": 0.25}


def test_a_table_is_read_as_deltalake_reads_it(old_table):
    folder, _ = old_table
    append(folder, write(folder / "a.jsonl", [row(2, attributes_first={"helpfulness": 3}, domain="é"), row(3)]))
    path = folder / "table" / "annotations"
    large = pa.table({"first": pa.array(["a", None], pa.large_string()), "line": pa.array([1, 2])})
    write_deltalake(path, large, mode="append", schema_mode="merge")
    table = DeltaTable(path)
    names = ["line", "attributes_first", "first", "prompt", "domain", "no such column"]
    found = pa.Table.from_batches(tables.batches(table, path, names))
    expected = table.to_pyarrow_table(columns=names[:-1])
    assert found.schema.names == names[:-1]
    assert sorted(map(repr, found.to_pylist())) == sorted(map(repr, expected.to_pylist()))


def test_a_table_of_another_program_that_its_files_do_not_tell_is_refused(tmp_path):
    append(tmp_path, write(tmp_path / "a.jsonl", [good(0)]))
    path = tmp_path / "table" / "annotations"
    rows = DeltaTable(path).to_pyarrow_table()
    write_deltalake(path, rows, mode="overwrite", schema_mode="overwrite", partition_by=["domain"])
    with pytest.raises(DataError, match="expected a Delta table of reader version 1 without partitions"):
        annotation_table.current(tmp_path / "table")


def test_writers_that_start_together_on_an_older_table_lose_no_attribute(old_table):
    folder, _ = old_table
    names = [
        write(folder / f"{name}.jsonl", [row(f"{name} {place}", attributes_first={name: place}) for place in range(5)])
        for name in "abc"
    ]
    start, errors = threading.Barrier(3), []

    def writer(name):
        start.wait()
        try:
            append(folder, name)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=writer, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    found = {each.prompt[0].content: each.attributes_first for each in stored(folder)}
    expected = {f"prompt {name} {place}": {name: float(place)} for name in "abc" for place in range(5)}
    assert found == expected | {"prompt 0": {}, "prompt 1": {}}


def test_a_folder_without_annotations_says_how_to_get_some(tmp_path):
    with pytest.raises(DataError, match=r"annotations: no annotations yet; set ingest\.sources"):
        annotation_table.current(tmp_path)


def test_a_folder_with_an_odd_name_is_a_folder(tmp_path):
    folder = tmp_path / "ä b=c #1?"
    folder.mkdir()
    append(folder, write(folder / "a.jsonl", [good(0), "{"]), config=ANY_SHARE)
    assert (len(stored(folder)), len(quarantined(folder))) == (1, 1)


@pytest.mark.parametrize("name", ["a[1]", "a^b", "a|b"])
def test_a_folder_that_deltalake_cannot_write_to_is_named(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(DataError, match="deltalake cannot write below a folder with"):
        append(tmp_path / name, write(tmp_path / "a.jsonl", [good(0)]))


# Quarantine


def test_quarantine_keeps_source_line_reason_and_raw_content(tmp_path):
    text = '{"prompt": "é", "first": 3, "second": "b", "preference": 1}'
    path = write(tmp_path / "a.jsonl", [good(0), "", text, '{"cut', good(1)])
    append(tmp_path, path, config=ANY_SHARE)
    found = [(each["source"], each["line"], each["reason"], each["raw"]) for each in quarantined(tmp_path)]
    assert found == [
        (path, 3, "first: expected text or a list of messages, got int 3", text),
        (path, 4, "not JSON at column 2: Unterminated string starting at", '{"cut'),
    ]


def test_rows_with_unusable_attributes_are_quarantined_with_what_is_wrong(tmp_path):
    lines = [
        json.dumps(row(0, attributes_first={"helpfulness": 4})),
        json.dumps(row(1, attributes_first={"helpfulness": "four"})),
        '{"prompt": "p", "first": "a", "second": "b", "preference": 1, "attributes_second": {"x": NaN}}',
        json.dumps(row(2, attributes_second={"": 4})),
        json.dumps(row(3, attributes_second=[4])),
    ]
    path = write(tmp_path / "a.jsonl", lines)
    append(tmp_path, path, config=ANY_SHARE)
    assert [each.attributes_first for each in stored(tmp_path)] == [{"helpfulness": 4.0}]
    assert [(each["source"], each["line"], each["reason"]) for each in quarantined(tmp_path)] == [
        (path, 2, "attributes_first.helpfulness: expected a finite number, got str 'four'"),
        (path, 3, "attributes_second.x: expected a finite number, got float nan"),
        (path, 4, "attributes_second: expected a name for each value, got ''"),
        (path, 5, "attributes_second: expected an object of named numbers, got list [4]"),
    ]


def test_equal_bad_rows_in_two_places_are_two_rows_in_quarantine(tmp_path):
    for name in ("a.jsonl", "b.jsonl"):
        append(tmp_path, write(tmp_path / name, ["{", "{"]), config=ANY_SHARE)
    assert [each["line"] for each in quarantined(tmp_path)] == [1, 2, 1, 2]


def test_half_surrogate_pairs_are_kept_in_quarantine_as_escapes(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([row(0, first="a\ud83d"), row(1, annotator="\udc00"), {"\ud800": 1}]))
    write(tmp_path / "b.jsonl", [row(2, prompt=[{"role": "\ud800", "content": "x"}, {"role": "user", "content": "y"}])])
    (tmp_path / "c.jsonl").write_bytes(b'{"prompt": "\xed\xa0\x80 \xff"}\n')
    names = [str(tmp_path / name) for name in ("a.json", "b.jsonl", "c.jsonl")]
    report = append(tmp_path, *names, config=ANY_SHARE)
    assert sum(counts.num_quarantined for counts in report.sources) == 5
    rows = quarantined(tmp_path)
    for each, escape in zip(rows, ["\\ud83d", "\\udc00", "\\ud800", "\\ud800", "\\xff"], strict=True):
        assert escape in each["raw"]
    assert append(tmp_path, *names, config=ANY_SHARE).num_stored == 0
    assert quarantined(tmp_path) == rows


@pytest.mark.parametrize(("num_bad", "allowed"), [(0, True), (1, True), (2, False), (20, False)])
def test_too_many_unusable_rows_are_an_error_and_nothing_is_stored(tmp_path, num_bad, allowed):
    path = write(tmp_path / "a.jsonl", [*(good(number) for number in range(20 - num_bad)), *["{"] * num_bad])
    if allowed:
        assert append(tmp_path, path).num_stored == 20 - num_bad
    else:
        with pytest.raises(DataError) as caught:
            append(tmp_path, path)
        assert str(caught.value).startswith(f"{path}: {num_bad} of 20 rows are unusable")
        assert f"The first, line {21 - num_bad}: not JSON" in str(caught.value)
        with pytest.raises(DataError, match="no annotations yet"):
            annotation_table.current(tmp_path / "table")
    assert len(quarantined(tmp_path)) == num_bad


def test_a_refused_source_leaves_the_others_and_can_be_read_once_more_is_allowed(tmp_path):
    before, after = (write(tmp_path / f"{name}.jsonl", [good(number)]) for number, name in enumerate("ac"))
    refused = write(tmp_path / "b.jsonl", [good(2), "{"])
    for num_stored in (2, 0):
        report = append(tmp_path, before, refused, str(tmp_path / "*.none"), after)
        assert (report.num_stored, [counts.source for counts in report.sources]) == (num_stored, [before, after])
        assert sorted("b.jsonl: 1 of 2 rows" in reason for reason in report.refused) == [False, True]
        assert (len(stored(tmp_path)), len(quarantined(tmp_path))) == (2, 1)
    assert append(tmp_path, refused, config=ANY_SHARE).num_stored == 1
    assert len(quarantined(tmp_path)) == 1


def test_a_source_that_breaks_off_adds_nothing(tmp_path):
    append(tmp_path, write(tmp_path / "a.jsonl", [good(0)]))
    before = annotation_table.current(tmp_path / "table")
    (tmp_path / "b.json").write_text(json.dumps([good(number) for number in range(10)])[:-20])
    whole = gzip.compress(b"".join(json.dumps(good(number)).encode() + b"\n" for number in range(2000)))
    (tmp_path / "c.jsonl.gz").write_bytes(whole[:-30])
    for name in ("b.json", "c.jsonl.gz"):
        (reason,) = append(tmp_path, str(tmp_path / name), config=ANY_SHARE).refused
        assert name in reason
    assert annotation_table.current(tmp_path / "table") == before
    assert quarantined(tmp_path) == []
    assert not list((tmp_path / "table").glob(".reading-*"))


# Reading again


def test_a_source_that_is_stored_is_not_read_again_unless_it_or_its_reading_changed(tmp_path, monkeypatch):
    path = write(tmp_path / "a.jsonl", [good(0), good(1), good(1), "{"])
    first = append(tmp_path, path, config=ANY_SHARE).sources[0]
    assert (first.num_stored, first.num_duplicates, first.formats) == (2, 1, {"judgement": 3})
    read = []
    monkeypatch.setattr(store.staging, "stage", lambda *given, real=store.staging.stage: read.append(1) or real(*given))
    again = append(tmp_path, path, config=ANY_SHARE).sources[0]
    assert again == first.model_copy(update={"num_stored": 0, "num_duplicates": 3, "formats": {}})
    assert read == []
    append(tmp_path, path, config=ANY_SHARE.model_copy(update={"ignore": ("notes",)}))
    write(tmp_path / "a.jsonl", [good(0), good(2), "{"])
    assert append(tmp_path, path, config=ANY_SHARE).num_stored == 1
    assert len(read) == 2


def test_a_source_is_read_again_if_another_program_has_written_since(tmp_path):
    one, other = (write(tmp_path / f"{name}.jsonl", [good(number), "{"]) for number, name in enumerate("ab"))
    append(tmp_path, one, config=ANY_SHARE)
    append(tmp_path, other, config=ANY_SHARE)
    table = DeltaTable(str(tmp_path / "table" / "annotations"))
    table.restore(1)
    assert len(stored(tmp_path)) == 1
    assert append(tmp_path, one, other, config=ANY_SHARE).num_stored == 1
    assert append(tmp_path, one, other, config=ANY_SHARE).num_stored == 0
    DeltaTable(str(tmp_path / "table" / "annotations")).delete()
    assert append(tmp_path, one, other, config=ANY_SHARE).num_stored == 2
    shutil.rmtree(tmp_path / "table" / "quarantine")
    append(tmp_path, one, config=ANY_SHARE)
    assert len(quarantined(tmp_path)) == 1


def test_preferences_in_another_code_refuse_the_whole_source(tmp_path):
    rows = [
        *(row(number, preference=1) for number in range(97)),
        *(row(number, preference=2) for number in range(97, 100)),
    ]
    with pytest.raises(
        DataError, match=r"coded in another way than 1 for the first.*line 98: preference 2.0 is not in"
    ):
        append(tmp_path, write(tmp_path / "a.jsonl", rows), config=ANY_SHARE)


def test_a_folder_of_a_killed_reading_is_removed_after_a_day(tmp_path):
    path = write(tmp_path / "a.jsonl", [good(0)])
    append(tmp_path, path)
    for name, age in (("old", 2 * 86_400), ("young", 60)):
        left = tmp_path / "table" / f".reading-{name}"
        left.mkdir()
        os.utime(left, (time.time() - age, time.time() - age))
    append(tmp_path, path)
    assert [left.name for left in (tmp_path / "table").glob(".reading-*")] == [".reading-young"]


def test_long_texts_are_written_before_they_fill_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(store.staging, "_LARGEST_CHUNK", 1000)
    rows = [row(number, first="x" * 900, second=str(number)) for number in range(5)]
    source = sources.open_source(write(tmp_path / "a.jsonl", rows))
    staged = store.staging.stage(source, IngestConfig(), tmp_path)
    with pa.ipc.open_file(str(staged.judgements)) as file:
        assert file.num_record_batches >= 3
        assert file.read_all().num_rows == 5


# The table's digest


def test_a_digest_that_was_added_to_is_that_of_the_whole(tmp_path):
    for number in range(3):
        rows = [row(number, attributes_first={"helpfulness": number}), good(10 + number)]
        append(tmp_path, write(tmp_path / f"{number}.jsonl", rows))
    path = tmp_path / "table" / "annotations"
    table = DeltaTable(str(path))
    added = tables.digest(table, path, annotation_table.content)
    table.alter.set_table_properties({"delta.logRetentionDuration": "interval 60 days"})  # a commit of another program
    whole = DeltaTable(str(path))
    assert tables._kept_sum(whole, path) is None
    assert tables.digest(whole, path, annotation_table.content) == added
    assert annotation_table.current(tmp_path / "table").digest == added


def test_the_sum_of_digests_is_the_sum_of_each_rows_own():
    rows = [b"a", b"bc"]
    one, other = (int.from_bytes(hashlib.shake_128(row).digest(256), "little") for row in rows)
    assert [tables._expanded(row) for row in rows] == [one, other] and one != other


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=12), st.lists(st.integers(0, 3), max_size=4))
def test_new_rows_are_those_whose_id_is_nowhere_before(tmp_path_factory, staged, there):
    def name(number):
        return hashlib.sha256(str(number).encode()).hexdigest()

    folder = tmp_path_factory.mktemp("new")
    path, schema = folder / "table", pa.schema([("key", pa.string()), ("value", pa.int64())])
    write_deltalake(str(path), pa.table({"key": [name(n) for n in there], "value": [-1] * len(there)}, schema=schema))
    rows = {"key": [name(key) for key, _ in staged], "value": list(range(len(staged)))}
    with pa.ipc.new_file(str(folder / "staged.arrow"), schema) as file:
        file.write_table(pa.table(rows, schema=schema), max_chunksize=5)
    seen, expected = set(there), []
    for place, (key, _) in enumerate(staged):
        if key not in seen:
            seen.add(key)
            expected.append(place)
    found = tables._new_rows(DeltaTable(str(path)), path, [folder / "staged.arrow"], "key")
    assert np.flatnonzero(found).tolist() == expected


# Many small files


def test_many_small_files_become_one_and_nothing_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "_MAX_FILES", 4)
    monkeypatch.setattr(store, "_ROWS_AT_ONCE", 1)
    files = [write(tmp_path / f"{number}.jsonl", [good(number)]) for number in range(7)]
    append(tmp_path, *files)
    path = tmp_path / "table" / "annotations"
    assert len(DeltaTable(str(path)).file_uris()) <= 4
    whole = append(tmp_path, *files)
    assert (whole.num_stored, whole.table.num_judgements) == (0, 7)
    assert whole.table.digest == append(tmp_path / "other", *files).table.digest


def test_cleaning_removes_what_no_recent_version_has_and_keeps_every_row(tmp_path):
    for number in range(3):
        append(tmp_path, write(tmp_path / f"{number}.jsonl", [good(number)]))
    path = tmp_path / "table" / "annotations"
    before = annotation_table.current(tmp_path / "table")
    orphan = path / "part-killed.parquet"
    orphan.write_bytes(b"half")
    assert tables.clean(path, 0, dry_run=True) == [] and len(DeltaTable(str(path)).file_uris()) == 3
    assert len(tables.clean(path, 0, dry_run=False)) == 3
    assert len(list(path.glob("*.parquet"))) == 2  # one with all rows, and the orphan, too young to be known as one
    after = annotation_table.current(tmp_path / "table")
    assert (after.digest, after.num_judgements) == (before.digest, 3)


# Several writers


@pytest.mark.parametrize("attempt", range(6))
def test_writers_that_start_together_on_a_new_table_leave_no_duplicate(tmp_path, attempt):
    names = [
        write(tmp_path / f"{number}.jsonl", [*(good(number * 10 + place) for place in range(20)), "{"])
        for number in range(3)
    ]
    start, counts, errors = threading.Barrier(4), [], []

    def writer(name):
        start.wait()
        try:
            counts.extend(append(tmp_path, name, config=ANY_SHARE).sources)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=writer, args=(name,)) for name in (*names, names[0])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert Counter(judgement.prompt[0].content for judgement in stored(tmp_path)) == Counter(
        f"prompt {number}" for number in range(40)
    )
    assert sum(each.num_stored for each in counts) == 40
    assert len(quarantined(tmp_path)) == 3


def test_writing_processes_leave_no_duplicate_and_end_cleanly(tmp_path):
    path = write(tmp_path / "a.jsonl", [good(number) for number in range(30)])
    code = f"""if True:
        import sys, time
        from pathlib import Path
        from rm.data import store
        from rm.data.config import IngestConfig
        print("ready", flush=True)
        sys.stdin.readline()
        report = store.append(({path!r},), Path({str(tmp_path / "table")!r}), IngestConfig())
        print(report.num_stored)
    """
    root = Path(rm.__file__).parents[1]
    writers = [
        subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, stderr=-1, text=True, cwd=root)
        for _ in range(3)
    ]
    for process in writers:
        assert process.stdout.readline() == "ready\n"
    for process in writers:
        process.stdin.write("\n")
        process.stdin.flush()
    outputs = [process.communicate() for process in writers]
    assert [process.returncode for process in writers] == [0, 0, 0], outputs
    assert sorted(int(output) for output, _ in outputs) == [0, 0, 30]
    assert len(stored(tmp_path)) == 30


def test_a_process_that_reads_the_table_last_ends_cleanly(tmp_path):
    # With deltalake's own file system about one in four of these processes aborted as it ended.
    for number in range(8):
        append(tmp_path, write(tmp_path / "a.jsonl", [good(number)]))
    table = str(tmp_path / "table")
    code = f"from pathlib import Path; from rm.data.annotation_table import current; print(current(Path({table!r})))"
    root = Path(rm.__file__).parents[1]
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=root)
        assert (done.returncode, done.stderr) == (0, "")


# Real annotations


def test_real_hh_transcripts_are_stored_but_for_nine(shared_data, tmp_path):
    path = shared_data / "hh_rlhf" / "harmless_base_test.jsonl.gz"
    (counts,) = append(tmp_path, str(path)).sources
    assert (counts.num_rows, counts.num_stored, counts.num_duplicates, counts.num_quarantined) == (2312, 2303, 0, 9)
    reasons = Counter(each["reason"].split(",")[0] for each in quarantined(tmp_path))
    assert reasons == {
        "chosen and rejected differ before their last message": 5,
        "the first response is empty": 4,
    }
    with gzip.open(path, "rt", encoding="utf-8") as file:
        published = {json.loads(line)["chosen"] for line in file}
    roles = {"user": "Human", "assistant": "Assistant"}
    squeezed = {"".join(text.split()) for text in published}
    for judgement in stored(tmp_path):
        turns = [*judgement.prompt, Message("assistant", judgement.first)]
        transcript = "".join(f"{roles[role]}:{content}" for role, content in turns)
        assert "".join(transcript.split()) in squeezed
        assert judgement.preference == 1.0


def test_real_alpaca_eval_annotations_are_stored_as_published(shared_data, tmp_path):
    path = shared_data / "alpaca_eval" / "vicuna-13b.json.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        published = json.load(file)
    unusable_rows = [
        each
        for each in published
        if each["output_1"].strip() == each["output_2"].strip() or not each["output_1"].strip() * len(each["output_2"])
    ]
    (counts,) = append(tmp_path, str(path)).sources
    assert (counts.num_rows, counts.num_quarantined) == (len(published), len(unusable_rows)) == (805, 2)
    usable = [each for each in published if each not in unusable_rows]
    verdicts = {(each["instruction"], each["output_1"], each["output_2"], 2 - each["preference"]) for each in usable}
    found = stored(tmp_path)
    assert {(each.prompt[0].content, each.first, each.second, each.preference) for each in found} == verdicts
    assert counts.num_stored == len(found) == len(verdicts)
    assert {each.domain for each in found} == {each["dataset"] for each in usable}


SMALL_DISK = """
import resource, sys
from pathlib import Path
from rm.data.config import IngestConfig
from rm.data.store import append
from rm.errors import StorageError

source, folder, limit = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
try:
    append([source], Path(folder, "table"), IngestConfig())
except StorageError as error:
    print(error, end="")
"""


@pytest.mark.parametrize("limit", [0, 1000, 30_000, 200_000])
def test_a_disk_that_is_full_is_told_and_nothing_of_the_source_is_stored(tmp_path, limit):
    source = write(tmp_path / "a.jsonl", [good(number) | {"notes": number} for number in range(2000)])
    folder = tmp_path / "store"
    command = [sys.executable, "-c", SMALL_DISK, source, str(folder), str(limit)]
    result = subprocess.run(command, env=unmeasured(), capture_output=True, text=True, check=True)
    assert result.stdout == f"{folder / 'table'}: cannot be written: File too large"
    assert not list(tmp_path.rglob(".reading-*"))
    assert append(folder, source).num_stored == 2000


@pytest.mark.parametrize("pattern", ["_delta_log/*1.json", "*.parquet"])
@pytest.mark.parametrize("damage", ["broken", "gone"])
def test_a_table_whose_files_are_broken_or_gone_is_told_in_one_sentence(tmp_path, pattern, damage):
    source = write(tmp_path / "a.jsonl", [row(number) for number in range(3)])
    table = append(tmp_path, source).table
    (file,) = table.path.glob(pattern)
    file.write_bytes(b"{broken") if damage == "broken" else file.unlink()
    with pytest.raises(DataError) as caught:
        list(annotation_table.judgements(table))
    assert str(caught.value).startswith(f"{table.path}: the table cannot be read: ")
    assert "\n" not in str(caught.value)
