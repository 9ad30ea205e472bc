import hashlib
import importlib
import inspect
import json
import pkgutil
import re
import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

import rm
from rm.data.config import SampleConfig
from rm.data.manifests import DatasetManifest, SampleManifest
from rm.errors import ManifestError
from rm.manifests import MANIFEST_NAME, InputRef, is_whole
from rm.tokens.config import TokenizeConfig
from rm.tokens.manifests import TokenizedManifest

MODULES = [
    importlib.import_module(module.name)
    for module in pkgutil.walk_packages(rm.__path__, "rm.")
    if module.name.endswith(".manifests")
]
KINDS = [
    kind
    for module in MODULES
    for _, kind in inspect.getmembers(module, inspect.isclass)
    if kind.__module__ == module.__name__ and hasattr(kind, "KIND")
]


def sealed_sample(folder, text="one\ntwo\n", seed=0):
    (folder / "inner").mkdir(parents=True)
    (folder / "rows.jsonl").write_text(text)
    (folder / "inner" / "more.jsonl").write_text("three\n")
    return SampleManifest.seal(folder, inputs=(), config=SampleConfig(seed=seed), num_rows=3)


def test_kinds_have_names_of_their_own():
    assert len(KINDS) >= 7
    assert len({kind.KIND for kind in KINDS}) == len(KINDS)


def test_reading_gives_back_what_was_sealed(tmp_path):
    sample = sealed_sample(tmp_path / "sample")
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "dataset.parquet").write_bytes(b"PAR1")
    sealed = DatasetManifest.seal(
        tmp_path / "dataset",
        inputs=(sample,),
        config=SampleConfig(),
        num_rows=2,
        table_version=7,
        num_judgements=5,
        sources={"é.jsonl": "ab"},
        num_pairs={"train": 3, "heldout": 1},
    )
    read = DatasetManifest.read(tmp_path / "dataset")
    assert read == sealed
    assert (read.inputs[0].path, read.inputs[0].digest) == (sample.path, sample.digest)
    assert (read.table_version, read.num_pairs) == (7, {"train": 3, "heldout": 1})


def test_files_are_digested_by_their_name_in_the_folder(tmp_path):
    sealed = sealed_sample(tmp_path / "sample")
    assert sealed.files == {
        "inner/more.jsonl": hashlib.sha256(b"three\n").hexdigest(),
        "rows.jsonl": hashlib.sha256(b"one\ntwo\n").hexdigest(),
    }


def test_a_manifest_of_the_same_name_deeper_down_is_a_file_like_any_other(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / MANIFEST_NAME).write_text("{}")
    sealed = SampleManifest.seal(tmp_path, inputs=(), config=SampleConfig(), num_rows=0)
    assert list(sealed.files) == [f"inner/{MANIFEST_NAME}"]


def test_digest_does_not_depend_on_place_time_config_or_sealing_twice(tmp_path):
    here, there = sealed_sample(tmp_path / "here"), sealed_sample(tmp_path / "there", seed=1)
    again = SampleManifest.seal(tmp_path / "here", inputs=(there,), config=SampleConfig(), num_rows=3)
    assert here.digest == there.digest == again.digest
    assert here.config_digest == again.config_digest != there.config_digest


def test_digest_depends_on_content_and_on_names(tmp_path):
    digests = {sealed_sample(tmp_path / "a").digest, sealed_sample(tmp_path / "b", text="one\ntwO\n").digest}
    (tmp_path / "b" / "rows.jsonl").rename(tmp_path / "b" / "lines.jsonl")
    digests.add(SampleManifest.seal(tmp_path / "b", inputs=(), config=SampleConfig(), num_rows=3).digest)
    assert len(digests) == 3


def test_manifests_are_frozen_and_refuse_unknown_fields(tmp_path):
    sealed = sealed_sample(tmp_path / "sample")
    with pytest.raises(ValidationError, match="frozen"):
        sealed.digest = "other"
    with pytest.raises(ValidationError, match="num_row"):
        SampleManifest.seal(tmp_path / "sample", inputs=(), config=SampleConfig(), num_rows=3, num_row=3)


def test_what_a_killed_process_left_half_written_is_not_sealed(tmp_path):
    (tmp_path / "sample" / "inner").mkdir(parents=True)
    for name in ("rows.jsonl.partial", "inner/more.jsonl.partial"):
        (tmp_path / "sample" / name).write_text("hal")
    (tmp_path / "sample" / "rows.jsonl").write_text("whole\n")
    sealed = SampleManifest.seal(tmp_path / "sample", inputs=(), config=SampleConfig(), num_rows=1)
    assert list(sealed.files) == ["rows.jsonl"]
    assert not list(tmp_path.rglob("*.partial"))


def test_an_unfinished_folder_has_no_manifest_and_the_error_names_it(tmp_path):
    with pytest.raises(ManifestError, match=r"manifest\.json: no manifest; the stage .* has not finished") as caught:
        SampleManifest.read(tmp_path / "gone")
    assert str(tmp_path / "gone" / MANIFEST_NAME) in str(caught.value)


def test_a_file_where_a_folder_was_expected_is_a_manifest_error(tmp_path):
    sealed_sample(tmp_path / "sample")
    with pytest.raises(ManifestError, match="no manifest"):
        SampleManifest.read(tmp_path / "sample" / MANIFEST_NAME)


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"[]", b"{}", b"\xff\xfe\x00damaged", b'"\xed\xa0\x80"'])
def test_a_damaged_manifest_is_an_error_that_names_the_file(tmp_path, content):
    sealed_sample(tmp_path / "sample")
    (tmp_path / "sample" / MANIFEST_NAME).write_bytes(content)
    with pytest.raises(ManifestError, match="not a manifest of a sample") as caught:
        SampleManifest.read(tmp_path / "sample")
    assert str(tmp_path / "sample" / MANIFEST_NAME) in str(caught.value)
    assert not is_whole(tmp_path / "sample", SampleManifest)


@pytest.mark.parametrize(("field", "value"), [("schema_version", 1), ("files", {"a": 1}), ("colour", "red")])
def test_a_manifest_of_another_schema_is_refused_by_field(tmp_path, field, value):
    sealed_sample(tmp_path / "sample")
    path = tmp_path / "sample" / MANIFEST_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(ManifestError, match=field):
        SampleManifest.read(tmp_path / "sample")


def test_the_manifest_of_another_kind_is_refused_even_if_its_fields_fit(tmp_path):
    sealed_sample(tmp_path / "sample")
    path = tmp_path / "sample" / MANIFEST_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | {"kind": "dataset"}))
    with pytest.raises(ManifestError, match="expected the manifest of a sample, got that of a dataset"):
        SampleManifest.read(tmp_path / "sample")
    with pytest.raises(ManifestError, match="not a manifest of a tokenized"):
        TokenizedManifest.read(tmp_path / "sample")


def test_an_untouched_folder_is_whole(tmp_path):
    sealed = sealed_sample(tmp_path / "sample")
    sealed.check()
    assert is_whole(tmp_path / "sample", SampleManifest)
    assert not is_whole(tmp_path / "sample", DatasetManifest)
    assert not is_whole(tmp_path / "gone", SampleManifest)


@pytest.mark.parametrize("name", ["rows.jsonl", "inner/more.jsonl"])
@pytest.mark.parametrize("fault", ["gone", "changed", "emptied", "a folder"])
def test_check_finds_every_damaged_file_and_names_it(tmp_path, name, fault):
    sealed = sealed_sample(tmp_path / "sample")
    file = tmp_path / "sample" / name
    content = file.read_bytes()
    file.unlink()
    if fault == "changed":
        file.write_bytes(content[:-1] + b"\r")
    elif fault == "emptied":
        file.touch()
    elif fault == "a folder":
        file.mkdir()
    with pytest.raises(ManifestError) as caught:
        sealed.check()
    assert str(file) in str(caught.value)
    assert ("gone" in str(caught.value)) == (fault in ("gone", "a folder"))
    assert not is_whole(tmp_path / "sample", SampleManifest)


def test_a_copied_folder_is_checked_by_its_own_files(tmp_path):
    sealed_sample(tmp_path / "original")
    shutil.copytree(tmp_path / "original", tmp_path / "copy")
    (tmp_path / "copy" / "rows.jsonl").write_text("damaged\n")
    assert is_whole(tmp_path / "original", SampleManifest)
    assert not is_whole(tmp_path / "copy", SampleManifest)


def test_a_moved_folder_stays_whole_and_knows_its_new_place(tmp_path):
    sealed = sealed_sample(tmp_path / "before")
    (tmp_path / "before").rename(tmp_path / "after")
    assert is_whole(tmp_path / "after", SampleManifest)
    read = SampleManifest.read(tmp_path / "after")
    assert (read.path, read.digest) == (tmp_path / "after", sealed.digest)


def test_config_digest_sees_each_setting(tmp_path):
    configs = [TokenizeConfig(), TokenizeConfig(max_tokens=9), TokenizeConfig(overlong="drop")]
    digests = {SampleManifest.seal(tmp_path, inputs=(), config=config, num_rows=0).config_digest for config in configs}
    assert len(digests) == len(configs)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "inner/plugin.py", ".hidden", "elsewhere"])
def test_a_file_that_the_manifest_does_not_list_is_refused_by_name(tmp_path, name):
    sealed = sealed_sample(tmp_path / "sample")
    sealed.check()
    if name == "elsewhere":  # a link to a folder hides the files in it
        (tmp_path / "outside").mkdir()
        (sealed.path / name).symlink_to(tmp_path / "outside")
    else:
        (sealed.path / name).write_text("1\n")
    with pytest.raises(ManifestError, match=f"{re.escape(name)}: expected only the files of the manifest"):
        sealed.check()
    assert not is_whole(sealed.path, SampleManifest)


def test_two_manifests_are_the_same_wherever_their_folders_lie_and_differ_by_any_other_field(tmp_path):
    here = sealed_sample(tmp_path / "here")
    there = SampleManifest.read(Path(shutil.copytree(here.path, tmp_path / "there")))
    assert here != there
    assert here.is_same(there)
    for change in ({"num_rows": 4}, {"digest": "0"}, {"files": {}}, {"config_digest": "0"}):
        assert not here.is_same(there.model_copy(update=change))
    inputs = (InputRef(path=Path("/a"), digest="1"),)
    one, moved = (here.model_copy(update={"inputs": each}) for each in (inputs, (InputRef(path="/b", digest="1"),)))
    assert one.is_same(moved)
    assert not one.is_same(here.model_copy(update={"inputs": (InputRef(path="/a", digest="2"),)}))
