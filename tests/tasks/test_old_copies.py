"""Copies of finished stages that nothing needs go, and the others stay; on a bucket of a server on this machine."""

import shutil
import time

import pytest

from rm import copies, storage
from tasks import old_copies
from tasks.locks import lock_of, using
from tests.rm.test_copies import ToyManifest, objects, sealed

DAY_S = 86_400
FILES = {"a": b"12345", "deep/er/b": b"123"}


@pytest.fixture
def place(bucket):
    return bucket / "stages"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("RMFLOW_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def copied(home, place, stage, key, *inputs):
    """A stage of this machine whose copy is in the bucket, too."""
    files = FILES | {"name": f"{stage} {key}".encode()}
    manifest = sealed(home, stage, files, inputs, key=key * 24)
    assert copies.upload(manifest, place / stage / (key * 24))
    return manifest


def forgotten(home):
    """Let this machine know nothing of its stages any more, as another one."""
    shutil.rmtree(home / "stages")


def later(monkeypatch, days):
    """Go some days forward."""
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + days * DAY_S)


def removed(place, days, *registered, dry_run=False):
    """Stage of each copy that was removed."""
    found = old_copies.remove(place, days, set(registered), dry_run=dry_run)
    return sorted(each.what.removeprefix(f"{place}/").split("/")[0] for each in found)


def left(place):
    return sorted({name.split("/")[0] for name in objects(place)})


def test_old_copies_go_with_their_sizes_and_a_dry_run_changes_nothing(home, place, monkeypatch):
    manifest = copied(home, place, "train", "a")
    size = sum(path.stat().st_size for path in manifest.path.rglob("*") if path.is_file())
    copied(home, place, "score", "b", manifest)
    forgotten(home)
    assert removed(place, 30) == []
    later(monkeypatch, 31)
    before = objects(place)
    planned = old_copies.remove(place, 30, set(), dry_run=True)
    assert objects(place) == before
    assert planned[1].what == f"{place}/train/{'a' * 24}/{manifest.digest}"
    assert planned[1].size == size
    assert old_copies.remove(place, 30, set(), dry_run=False) == planned
    assert objects(place) == set()
    assert old_copies.remove(place, 30, set(), dry_run=False) == []
    assert not copies.fetch(place / "train" / ("a" * 24), home / "stages" / "train" / "a", ToyManifest)


def test_the_training_of_a_version_stays_with_all_that_it_was_made_from(home, place, monkeypatch):
    data = copied(home, place, "snapshot", "a")
    tokens = copied(home, place, "tokenize", "b", data)
    weights = copied(home, place, "train", "c", tokens)
    copied(home, place, "score", "d", weights, tokens)
    rejected = copied(home, place, "rejected", "e", tokens)
    forgotten(home)
    later(monkeypatch, 31)
    assert removed(place, 30, weights.digest, "gone") == ["rejected", "score"]
    assert left(place) == ["snapshot", "tokenize", "train"]
    assert removed(place, 30, rejected.digest) == ["snapshot", "tokenize", "train"]


def test_what_a_run_of_this_machine_uses_stays_with_its_inputs_wherever_these_are(home, place, monkeypatch):
    data = copied(home, place, "snapshot", "a")
    tokens = copied(home, place, "tokenize", "b", data)
    weights = copied(home, place, "train", "c", tokens)
    copied(home, place, "score", "d")
    shutil.rmtree(data.path)
    copies.remove(place / "tokenize" / ("b" * 24) / tokens.digest)
    later(monkeypatch, 31)
    with using(lock_of(weights.path)):
        assert removed(place, 0) == ["score"]
    assert left(place) == ["snapshot", "train"]


def test_each_use_of_a_copy_by_any_machine_counts_as_new(home, place, monkeypatch):
    manifest = copied(home, place, "train", "a")
    uploaded, files = place / "train" / ("a" * 24), storage.connected(place)
    before = files.get_file_info((uploaded / manifest.digest / "manifest.json").path).mtime_ns
    later(monkeypatch, 1.5)
    time.sleep(1.1)  # the server tells whole seconds
    assert not copies.upload(manifest, uploaded)
    after = files.get_file_info((uploaded / manifest.digest / "manifest.json").path).mtime_ns
    assert after > before
    assert copies.fetch(uploaded, home / "elsewhere" / "stages" / "train" / "a", ToyManifest)


def test_at_least_for_a_day_a_copy_stays_for_runs_of_other_machines(home, place, monkeypatch):
    copied(home, place, "train", "a")
    forgotten(home)
    assert removed(place, 0) == []
    later(monkeypatch, 1.01)
    assert removed(place, 0) == ["train"]


def test_an_upload_that_broke_off_goes_when_it_is_old(home, place, monkeypatch):
    manifest = copied(home, place, "train", "a")
    copy = place / "train" / ("a" * 24) / manifest.digest
    storage.connected(place).delete_file((copy / "manifest.json").path)
    assert removed(place, 0) == []
    later(monkeypatch, 31)
    assert removed(place, 30, manifest.digest) == ["train"]


def test_what_is_no_copy_is_left_alone(home, place, monkeypatch):
    copied(home, place, "train", "a")
    forgotten(home)
    others = {"notes.txt", "train/notes.txt", f"train/{'a' * 24}/notes.txt", f"train/{'a' * 24}/other/notes.txt"}
    others |= {f"mlflow/artifacts/{'d' * 64}/x", f"deep/er/{'a' * 24}/{'d' * 64}/x"}
    for name in others:
        storage.write_text(place / name, "mine")
    later(monkeypatch, 31)
    assert removed(place, 30) == ["train"]
    assert objects(place) == others


def test_a_copy_that_goes_while_it_is_fetched_is_no_error(home, place, monkeypatch):
    manifest = copied(home, place, "train", "a")
    fill = copies._fill

    def removed_first(partial, files, copy, known):
        copies.remove(copy)
        fill(partial, files, copy, known)

    monkeypatch.setattr(copies, "_fill", removed_first)
    folder = home / "elsewhere" / "stages" / "train" / "a"
    assert not copies.fetch(place / "train" / ("a" * 24), folder, ToyManifest)
    assert not folder.exists()
    assert copies.upload(manifest, place / "train" / ("a" * 24))
