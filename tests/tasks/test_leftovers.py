"""Only what interrupted runs left goes, and only when it is old and nobody is at work there."""

import os
import time

import pytest
from filelock import FileLock

from tasks import leftovers

OLD = time.time() - 10 * 86_400


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """A folder of stages with a finished one, what lies beside two, and a database that was half made."""
    monkeypatch.setenv("RMFLOW_HOME", str(tmp_path))
    folder = tmp_path / "stages" / "train"
    for name in ("one/model", "two/model", ".one.resume/step/state", ".two.resume/state", ".one.aside/note"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"12345")
    (tmp_path / "mlflow.db").touch()
    (tmp_path / "mlflow.db.half-made").write_bytes(b"1")
    for path in tmp_path.rglob("*"):
        os.utime(path, (OLD, OLD))
    return folder


def names(found):
    return {(each.path.name, each.size) for each in found}


def test_old_leftovers_go_and_everything_else_stays(stage):
    expected = {(".one.resume", 5), (".two.resume", 5), (".one.aside", 5), ("mlflow.db.half-made", 1)}
    before = sorted(path for path in stage.parents[1].rglob("*") if path.suffix != ".lock")
    assert names(leftovers.remove(7, dry_run=True)) == expected
    assert sorted(path for path in stage.parents[1].rglob("*") if path.suffix != ".lock") == before
    assert names(leftovers.remove(7, dry_run=False)) == expected
    assert {path.name for path in stage.iterdir() if path.suffix != ".lock"} == {"one", "two"}
    assert (stage / "one" / "model").read_bytes() == b"12345" and (stage.parents[1] / "mlflow.db").exists()
    assert leftovers.remove(0, dry_run=False) == []


def test_what_changed_lately_or_is_at_work_stays(stage):
    (stage / ".one.resume" / "step" / "state").touch()
    with FileLock(stage / ".two.lock"):
        assert names(leftovers.remove(7, dry_run=False)) == {(".one.aside", 5), ("mlflow.db.half-made", 1)}
    assert names(leftovers.remove(7, dry_run=False)) == {(".two.resume", 5)}
