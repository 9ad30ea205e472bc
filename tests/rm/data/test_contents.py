import glob
import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm import storage
from rm.data import annotation_table, contents, sources, store
from rm.data.config import IngestConfig
from rm.errors import DataError
from rm.files import sha256_file
from tests.storage_servers import refusing_server

VALUES = [{"place": place, "text": "word " * place} for place in range(40)]


def as_lines(values=VALUES):
    return "".join(json.dumps(value) + "\n" for value in values).encode()


def put(url, content):
    with storage.connected(url).open_output_stream(url.path, compression=None) as stream:
        stream.write(content)
    return str(url)


def read(*names):
    return [row.value for name in names for path in sources.expanded(name) for row in sources.open_source(path).rows]


def refusal(*names):
    with pytest.raises(DataError) as caught:
        read(*names)
    return str(caught.value)


def as_parquet(values=VALUES):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(values), sink)
    return sink.getvalue().to_pybytes()


CONTENTS = {
    "a.jsonl": as_lines(),
    "a.jsonl.gz": gzip.compress(as_lines()),
    "a.json": json.dumps(VALUES).encode(),
    "a.parquet": as_parquet(),
    "a.parquet.gz": gzip.compress(as_parquet()),
    "a.csv": b"place,text\n1,word\n",
    "empty.jsonl": b"",
}


@pytest.mark.parametrize("name", CONTENTS)
def test_an_object_is_read_and_digested_as_the_file_of_the_same_bytes(bucket, tmp_path, name):
    (tmp_path / name).write_bytes(CONTENTS[name])
    remote, local = sources.open_source(put(bucket / name, CONTENTS[name])), sources.open_file(tmp_path / name)
    assert (remote.name, remote.digest) == (f"{bucket}/{name}", sha256_file(tmp_path / name))
    assert list(remote.rows) == list(local.rows)


def test_objects_match_a_pattern_as_files_do(bucket, tmp_path):
    names = [
        "b.jsonl",
        "a.jsonl",
        "deep/er/c.jsonl",
        "deep/no.txt",
        ".hidden.jsonl",
        "deep/.h/d.jsonl",
        "votes[1].jsonl",
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(as_lines([{"name": name}]))
        put(bucket / name, as_lines([{"name": name}]))
    for pattern in ("*.jsonl", "**/*.jsonl", "[b]*", "deep/*", "deep/**/c.jsonl", "d??p/er/?.jsonl", "**", ".*"):
        local = sorted(glob.glob(f"{tmp_path}/{pattern}", recursive=True))
        expected = [path.removeprefix(f"{tmp_path}/") for path in local if not path.endswith(("/", "deep", "er"))]
        assert [name.removeprefix(f"{bucket}/") for name in sources.expanded(f"{bucket}/{pattern}")] == expected, (
            pattern
        )
    assert read(f"{bucket}/votes[1].jsonl") == [{"name": "votes[1].jsonl"}]


ANY_PART = st.text("ab.", min_size=1, max_size=3).filter(lambda part: part.strip("."))


@given(
    st.sets(st.lists(ANY_PART, min_size=1, max_size=3).map("/".join), min_size=1, max_size=5),
    st.lists(st.sampled_from(["*", "**", "a*", "?", "[!a]*", ".*", "a", "b"]), min_size=1, max_size=3).map("/".join),
)
def test_any_pattern_matches_the_files_that_glob_finds(tmp_path_factory, names, pattern):
    folder = tmp_path_factory.mktemp("glob")
    kept = {name for name in names if not any(other.startswith(f"{name}/") for other in names)}
    for name in kept:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    expected = {name for name in glob.glob(pattern, root_dir=folder, recursive=True) if (folder / name).is_file()}
    assert {name for name in kept if contents._matches(name.split("/"), pattern.split("/"))} == expected


# What goes wrong


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("{bucket}/none.jsonl", "no such file"),
        ("{bucket}/*.jsonl", "no file matches this pattern"),
        ("{bucket}/deep/*.jsonl", "no file matches this pattern"),
        ("{bucket}/folder", "a folder, expected a file or a glob"),
        ("s3://no-such-bucket/a.jsonl", "there is no bucket 'no-such-bucket'"),
        ("s3://no-such-bucket/*.jsonl", "there is no bucket 'no-such-bucket'"),
        ("s3://no-such-bucket/deep/*.jsonl", "there is no bucket 'no-such-bucket'"),
    ],
)
def test_what_is_not_there_is_named(bucket, name, reason):
    put(bucket / "folder" / "a.jsonl", as_lines())
    named = name.format(bucket=bucket)
    assert refusal(named) == f"{named}: {reason}"


@pytest.mark.parametrize("name", ["s3://private-1/a.jsonl", "s3://private-2/*.jsonl"])
def test_who_has_no_credentials_is_told_where_they_come_from(monkeypatch, name):
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    for variable in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(variable, "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with refusing_server() as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        said = refusal(name)
    assert "access was denied, or no credentials were found in the environment: AWS_ACCESS_KEY_ID" in said


def test_azure_without_an_account_is_told_what_to_set(monkeypatch):
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    assert "no credentials were found in the environment: AZURE_STORAGE_ACCOUNT_NAME" in refusal("az://c/a.jsonl")


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
@pytest.mark.parametrize("place", ["bucket", "folder"])
def test_what_changed_while_it_was_read_is_refused(bucket, tmp_path, name, place):
    other = {"a.jsonl": as_lines(VALUES[::-1]), "a.csv": b"place,text\n2,word\n", "a.parquet": as_parquet(VALUES[::-1])}

    def write(content):
        if place == "bucket":
            return put(bucket / name, content)
        (tmp_path / name).write_bytes(content)
        return str(tmp_path / name)

    source = sources.open_source(write(CONTENTS[name]))
    next(source.rows)
    write(other[name])
    with pytest.raises(DataError, match=f"{name}: changed while it was read"):
        list(source.rows)
    assert len(read(write(other[name]))) in {1, len(VALUES)}


def test_an_object_that_changed_between_digest_and_reading_is_refused(bucket):
    source = sources.open_source(put(bucket / "a.jsonl", as_lines()))
    put(bucket / "a.jsonl", as_lines(VALUES[::-1]))
    with pytest.raises(DataError, match="changed while it was read"):
        list(source.rows)


def test_sources_at_urls_are_stored_by_their_url_and_not_read_again(bucket, tmp_path, monkeypatch):
    for number in range(3):
        row = {"prompt": f"prompt {number}", "first": "good", "second": "bad", "preference": 1.0}
        put(bucket / "raw" / f"{number}.jsonl", as_lines([row]))
    report = store.append([f"{bucket}/raw/*.jsonl", f"{bucket}/none/*"], tmp_path / "table", IngestConfig())
    assert [counts.source for counts in report.sources] == [f"{bucket}/raw/{number}.jsonl" for number in range(3)]
    assert (report.num_stored, report.refused) == (3, (f"{bucket}/none/*: no file matches this pattern",))
    assert set(annotation_table.source_digests(report.table)) == {counts.source for counts in report.sources}
    monkeypatch.setattr("rm.data.staging.stage", None)
    assert store.append([f"{bucket}/raw/*.jsonl"], tmp_path / "table", IngestConfig()).num_stored == 0
