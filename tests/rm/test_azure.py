"""What the tests of S3 show of sources and copies, shown again with Azurite for Azure.

``npm install azurite``, its programs on the path. Tables are left out: deltalake lists a table's log with a parameter,
``startFrom``, that Azurite 3.35 ignores, so that deltalake refuses the second commit as an invalid version.
"""

import shutil
from itertools import count

import pytest

from rm import storage
from rm.locations import Url
from tests.rm.data.test_contents import (
    refusal,
    test_an_object_is_read_and_digested_as_the_file_of_the_same_bytes,
    test_objects_match_a_pattern_as_files_do,
    test_what_changed_while_it_was_read_is_refused,
)
from tests.rm.test_copies import (
    test_a_copy_that_is_fetched_is_the_stage_that_was_uploaded,
    test_a_damaged_copy_is_not_used_and_can_be_made_again,
    test_an_unfinished_folder_is_replaced_by_a_copy,
    test_the_manifest_comes_last_and_an_upload_that_broke_off_is_done_again,
    test_two_machines_that_finish_a_stage_at_once_mix_no_files,
)
from tests.storage_servers import azure_server

__all__ = (
    "test_a_copy_that_is_fetched_is_the_stage_that_was_uploaded",
    "test_a_damaged_copy_is_not_used_and_can_be_made_again",
    "test_an_object_is_read_and_digested_as_the_file_of_the_same_bytes",
    "test_an_unfinished_folder_is_replaced_by_a_copy",
    "test_objects_match_a_pattern_as_files_do",
    "test_the_manifest_comes_last_and_an_upload_that_broke_off_is_done_again",
    "test_two_machines_that_finish_a_stage_at_once_mix_no_files",
    "test_what_changed_while_it_was_read_is_refused",
)
pytestmark = pytest.mark.slow
_CONTAINERS = count()
_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Azurite's only account, as its documentation prints it."""


@pytest.fixture(scope="module")
def _address(tmp_path_factory):
    if (program := shutil.which("azurite-blob")) is None:
        pytest.skip("azurite-blob is not on the path; npm install azurite")
    with azure_server(program, tmp_path_factory.mktemp("azure") / "log") as address:
        yield address


@pytest.fixture
def bucket(_address, monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", _ACCOUNT)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", _KEY)
    monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", f"{_address}/{_ACCOUNT}")
    monkeypatch.setenv("AZURE_ALLOW_HTTP", "true")
    storage._azure.cache_clear()
    container = Url("az", f"container-{next(_CONTAINERS)}", "")
    storage.connected(container).create_dir(container.bucket)
    yield container
    storage._azure.cache_clear()


@pytest.mark.parametrize("name", ["az://no-such/a.jsonl", "az://no-such/*.jsonl"])
def test_a_container_that_is_not_there_is_named(bucket, name):
    assert refusal(name) == f"{name}: there is no bucket 'no-such'"
