import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from rm.data.config import IngestConfig
from rm.errors import ConfigError
from rm.locations import SCHEMES, Location, Url, is_url, without_secrets
from rm.pipeline.load import ingest_settings

PART = st.text("abcdefgh-_.*0123456789 éß", min_size=1, max_size=8)


@given(st.sampled_from(SCHEMES), st.text("abc019", min_size=1, max_size=9), st.lists(PART, max_size=4))
def test_a_url_is_read_as_it_is_written_and_divides_like_a_path(scheme, bucket, parts):
    text = "/".join([f"{scheme}://{bucket}", *parts])
    url = Url.parse(text)
    assert (str(url), url.path, url.scheme) == (text, "/".join([bucket, *parts]), scheme)
    assert (url / "last").parent == url
    assert (url / "last").name == "last"
    assert Url.parse(f"{text}/") == url


class Holder(BaseModel):
    at: Location


@pytest.mark.parametrize("at", [Path("a/b"), Path("/a b"), Url("s3", "bucket", "a/b"), Url("az", "c", "")])
def test_a_location_comes_back_from_its_json(at):
    held = Holder(at=at)
    assert json.loads(held.model_dump_json()) == {"at": str(at)}
    assert Holder.model_validate_json(held.model_dump_json()) == held == Holder(at=str(at))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("http://host/a.jsonl", "expected a URL that begins with s3://, gs://, az://; got http://host/a.jsonl"),
        ("S3://bucket/a", "begins with s3://"),
        ("s3:///a.jsonl", "expected the name of a bucket behind s3://; got s3:///a.jsonl"),
        ("s3://buck*/a.jsonl", "expected the name of a bucket"),
        ("s3://me:hunter2@bucket/a.jsonl", "without login, key or other settings, which come from the environment"),
        ("az://container@account/a.jsonl", "without login"),
        ("s3://bucket/a.jsonl?secret_key=hunter2", "without login"),
        ("az://c/a.jsonl?sig=hunter2&se=2027", "without login"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_repeating_its_secrets(name, reason):
    with pytest.raises(ValueError, match="expected") as refused:
        Url.parse(name)
    with pytest.raises(ConfigError) as configured:
        ingest_settings([f"ingest.sources={json.dumps([name])}"])
    for said in (str(refused.value), str(configured.value)):
        assert reason in said
        assert "hunter2" not in said


@pytest.mark.parametrize("name", ["a.jsonl", "/a/b", "hf:owner/name", "a:b", "C:/a.jsonl", "./s3:/a"])
def test_a_path_is_no_url(name):
    assert not is_url(name)
    assert without_secrets(name) == name
    assert IngestConfig(sources=(name,)).sources == (name,)


def test_a_pattern_with_question_marks_is_no_secret():
    assert Url.parse("s3://bucket/a?.json?").key == "a?.json?"
