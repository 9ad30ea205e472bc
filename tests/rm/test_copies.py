import json
import logging
from typing import ClassVar

import pytest
from pyarrow import fs

from rm import copies, storage
from rm.errors import ManifestError, StorageError
from rm.locations import Url
from rm.manifests import Manifest, is_whole
from rm.section import Section


class ToyManifest(Manifest):
    KIND: ClassVar[str] = "toy"


class OtherManifest(Manifest):
    KIND: ClassVar[str] = "toy"
    more: int


FILES = {"a.txt": b"a" * 1000, "deep/er/b.json.gz": b"not really gzip", "empty": b""}


def sealed(home, stage="tokenize", files=FILES, inputs=(), key="0123"):
    folder = home / "stages" / stage / key
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return ToyManifest.seal(folder, inputs=inputs, config=Section(), num_rows=3)


def objects(url):
    found = storage.connected(url).get_file_info(fs.FileSelector(url.path, recursive=True, allow_not_found=True))
    return {info.path.removeprefix(f"{url.path}/") for info in found if info.is_file}


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_copy_that_is_fetched_is_the_stage_that_was_uploaded(bucket, tmp_path):
    here = sealed(tmp_path / "here")
    place, folder = bucket / "tokenize" / "0123", tmp_path / "there" / "stages" / "tokenize" / "0123"
    assert not copies.fetch(place, folder, ToyManifest)
    assert not folder.exists()
    assert copies.upload(here, place)
    assert objects(place) == {f"{here.digest}/{name}" for name in (*FILES, "manifest.json")}
    assert copies.fetch(place, folder, ToyManifest)
    assert is_whole(folder, ToyManifest)
    assert {name: content for name, content in contents(folder).items() if name != "manifest.json"} == FILES
    assert ToyManifest.read(folder) == here.model_copy(update={"path": folder})
    assert [path.name for path in folder.parent.iterdir()] == ["0123"]


def test_what_is_there_is_not_copied_again(bucket, tmp_path, monkeypatch):
    here = sealed(tmp_path)
    assert copies.upload(here, bucket / "k")
    monkeypatch.setattr(copies, "_created", None)
    assert not copies.upload(here, bucket / "k")


def test_the_manifest_comes_last_and_an_upload_that_broke_off_is_done_again(bucket, tmp_path, monkeypatch):
    here, place, folder = sealed(tmp_path / "here"), bucket / "k", tmp_path / "there" / "stages" / "tokenize" / "0123"
    created, names = copies._created, []

    def breaks_off(files, url):
        names.append(url.name)
        if len(names) == 3:
            raise OSError("the machine was switched off")
        return created(files, url)

    with monkeypatch.context() as patch:
        patch.setattr(copies, "_created", breaks_off)
        with pytest.raises(StorageError, match="switched off"):
            copies.upload(here, place)
    assert len(objects(place)) == 2
    assert not copies.fetch(place, folder, ToyManifest)
    monkeypatch.setattr(copies, "_created", lambda files, url: names.append(url.name) or created(files, url))
    assert copies.upload(here, place)
    assert names[-1] == "manifest.json"
    assert copies.fetch(place, folder, ToyManifest)


def test_an_unfinished_folder_is_replaced_by_a_copy(bucket, tmp_path):
    copies.upload(sealed(tmp_path / "here"), bucket / "k")
    folder = tmp_path / "there" / "stages" / "tokenize" / "0123"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "half").write_bytes(b"half")
    (folder.parent / ".0123.partial").mkdir()
    (folder.parent / ".0123.partial" / "killed").touch()
    assert copies.fetch(bucket / "k", folder, ToyManifest)
    assert set(contents(folder)) == {*FILES, "manifest.json"}


@pytest.mark.parametrize("damage", ["changed", "gone", "cut off", "manifest"])
def test_a_damaged_copy_is_not_used_and_can_be_made_again(bucket, tmp_path, caplog, damage):
    here, place, folder = sealed(tmp_path / "here"), bucket / "k", tmp_path / "there" / "stages" / "tokenize" / "0123"
    copies.upload(here, place)
    files, copy = storage.connected(bucket), place / here.digest
    if damage == "gone":
        files.delete_file((copy / "a.txt").path)
    elif damage == "manifest":
        wrong = here.model_copy(update={"files": {**here.files, "../../escaped": here.files["empty"]}})
        with copies._created(files, copy / "manifest.json") as stream:
            stream.write(wrong.model_dump_json().encode())
    else:
        with copies._created(files, copy / "a.txt") as stream:
            stream.write(b"b" * 1000 if damage == "changed" else b"a" * 999)
    with caplog.at_level(logging.WARNING, "rm.copies"):
        assert not copies.fetch(place, folder, ToyManifest)
    assert f"{copy}: not used" in caplog.text
    assert not folder.exists()
    assert list(folder.parent.iterdir()) == []
    assert copies.upload(here, place)
    assert copies.fetch(place, folder, ToyManifest)


def test_no_file_is_written_outside_the_folder(bucket, tmp_path):
    files = {"../escaped": "0" * 64}
    digest = copies.sha256_json(files)
    wrong = sealed(tmp_path / "here").model_copy(update={"files": files, "digest": digest})
    for name, content in (("manifest.json", wrong.model_dump_json().encode()), ("escaped", b"")):
        with copies._created(storage.connected(bucket), bucket / "k" / digest / name) as stream:
            stream.write(content)
    assert not copies.fetch(bucket / "k", tmp_path / "there" / "stages" / "s" / "k", ToyManifest)
    assert not list(tmp_path.rglob("escaped"))


def test_two_machines_that_finish_a_stage_at_once_mix_no_files(bucket, tmp_path):
    one, other = sealed(tmp_path / "1"), sealed(tmp_path / "2", files={**FILES, "a.txt": b"other"})
    assert copies.upload(one, bucket / "k")
    assert copies.upload(other, bucket / "k")
    taken = []
    for number in range(2):
        folder = tmp_path / f"there {number}" / "stages" / "tokenize" / "0123"
        assert copies.fetch(bucket / "k", folder, ToyManifest)
        taken.append(ToyManifest.read(folder).digest)
    assert taken == [min(one.digest, other.digest)] * 2


def test_where_the_result_is_known_no_other_copy_is_taken(bucket, tmp_path):
    known = sealed(tmp_path / "here", files={"weights": b"1"})
    others = [sealed(tmp_path / str(number), files={"weights": bytes([number])}) for number in range(8)]
    folder = tmp_path / "there" / "stages" / "train" / "0123"
    for other in others:
        copies.upload(other, bucket / "k")
    assert not copies.fetch(bucket / "k", folder, ToyManifest, known.digest)
    assert not folder.exists()
    copies.upload(known, bucket / "k")
    assert copies.fetch(bucket / "k", folder, ToyManifest, known.digest)
    assert contents(folder)["weights"] == b"1"


def test_a_manifest_of_another_version_is_left_alone(bucket, tmp_path):
    copies.upload(sealed(tmp_path / "here"), bucket / "k")
    before = objects(bucket)
    assert not copies.fetch(bucket / "k", tmp_path / "there" / "stages" / "s" / "k", OtherManifest)
    assert objects(bucket) == before


def test_a_file_that_changed_since_it_was_sealed_is_not_passed_on(bucket, tmp_path):
    here = sealed(tmp_path)
    (here.path / "a.txt").write_bytes(b"changed")
    with pytest.raises(ManifestError, match=r"a.txt: changed since its manifest was written"):
        copies.upload(here, bucket / "k")
    assert not any(name.endswith("manifest.json") for name in objects(bucket))


def test_inputs_are_named_where_they_lie_on_the_machine_that_takes_the_copy(bucket, tmp_path):
    dataset = sealed(tmp_path / "here", "snapshot", key="ab")
    table = ToyManifest.model_copy(dataset, update={"path": Url("s3", "annotations", "mine")})
    outside = sealed(tmp_path / "outside", "snapshot", key="cd")
    here = sealed(tmp_path / "here", inputs=(dataset, table, outside))
    copies.upload(here, bucket / "k")
    stages = tmp_path / "there" / "stages"
    assert copies.fetch(bucket / "k", stages / "tokenize" / "0123", ToyManifest)
    taken = ToyManifest.read(stages / "tokenize" / "0123")
    assert [each.path for each in taken.inputs] == [stages / "snapshot" / "ab", table.path, outside.path]
    assert [each.digest for each in taken.inputs] == [dataset.digest] * 3
    assert json.loads((taken.path / "manifest.json").read_text())["path"] == str(taken.path)


def test_a_bucket_that_is_not_there_is_named(bucket, tmp_path):
    here = sealed(tmp_path)
    for act in (
        lambda place: copies.upload(here, place),
        lambda place: copies.fetch(place, tmp_path / "there" / "stages" / "s" / "k", ToyManifest),
    ):
        with pytest.raises(StorageError, match=r"^s3://no-such/k.*: there is no bucket 'no-such'$"):
            act(Url.parse("s3://no-such/k"))
