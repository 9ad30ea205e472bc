"""Only what nothing needs goes, and only when it is old and nobody is at work there."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from rm.files import process_of, work_folder
from rm.manifests import MANIFEST_NAME
from tasks import leftovers
from tasks.locks import lock_of, using

OLD = time.time() - 10 * 86_400


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("RMFLOW_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    return tmp_path / "home"


def written(path: Path, content: bytes = b"12345") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def make_old(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (OLD, OLD))


def stage(home: Path, kind: str, key: str, digest: str, *inputs: str) -> Path:
    """A finished stage as `remove` sees one."""
    told = {"digest": digest, "inputs": [{"path": "/moved", "digest": each} for each in inputs]}
    written(home / "stages" / kind / key / MANIFEST_NAME, json.dumps(told).encode())
    return home / "stages" / kind / key


def removed(days: float, *registered: str, dry_run: bool = False) -> set[str]:
    return {Path(each.what).name for each in leftovers.remove(days, set(registered), dry_run=dry_run)}


def tree(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.fixture
def interrupted(home):
    """What interrupted runs left beside stages, an unfinished stage, and a database that was half made."""
    for name in (".one.resume/step/state", ".two.resume/state", ".one.aside/note", "three/half"):
        written(home / "stages" / "train" / name)
    written(home / "mlflow.db", b"")
    written(home / "mlflow.db.half-made", b"1")
    make_old(home)
    return home / "stages" / "train"


def test_old_leftovers_go_with_their_sizes_and_a_dry_run_changes_nothing(home, interrupted):
    expected = [(".one.aside", 5), (".one.resume", 5), (".two.resume", 5), ("three", 5), ("mlflow.db.half-made", 1)]
    before = tree(home)
    found = leftovers.remove(7, set(), dry_run=True)
    assert [(Path(each.what).name, each.size) for each in found] == expected
    assert tree(home) == before
    assert leftovers.remove(7, set(), dry_run=False) == found
    assert {path.name for path in interrupted.iterdir() if path.suffix != ".used"} == set()
    assert (home / "mlflow.db").exists()
    assert removed(0) == set()


def test_what_changed_lately_or_is_used_stays(interrupted):
    (interrupted / ".one.resume" / "step" / "state").touch()
    with using(lock_of(interrupted / "two")):
        make_old(interrupted / ".two.resume")
        os.utime(lock_of(interrupted / "two"), (OLD, OLD))
        assert removed(7) == {".one.aside", "three", "mlflow.db.half-made"}
    assert removed(7) == {".two.resume"}


def test_the_training_of_a_version_stays_with_all_that_it_was_made_from_and_nothing_else(home):
    stage(home, "snapshot", "a", "data")
    stage(home, "tokenize", "b", "tokens", "data")
    stage(home, "train", "c", "weights", "tokens")
    stage(home, "train", "d", "rejected", "tokens")
    stage(home, "score", "e", "scores", "weights", "tokens")
    make_old(home)
    assert removed(0, "weights", "gone") == {"d", "e"}
    assert removed(0, "weights") == set()
    assert removed(0) == {"a", "b", "c"}


def test_a_stage_that_another_process_uses_stays_with_its_inputs_and_counts_as_used(home):
    stage(home, "snapshot", "a", "data")
    used = stage(home, "tokenize", "b", "tokens", "data")
    stage(home, "tokenize", "other", "others", "data")
    make_old(home)
    code = "import sys; from pathlib import Path; from tasks.locks import lock_of, using\n"
    code += "with using(lock_of(Path(sys.argv[1]))): print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(used)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert removed(0) == {"other"}
        process.kill()
    assert removed(7) == set()  # it was used a moment ago
    os.utime(lock_of(used), (OLD, OLD))
    assert removed(7) == {"a", "b"}


def test_a_run_that_begins_while_a_stage_is_removed_waits_and_then_finds_it_gone(home, monkeypatch):
    folder, seen = stage(home, "snapshot", "a", "data"), []
    make_old(home)
    code = "import sys; from pathlib import Path; from tasks.locks import lock_of, using\n"
    code += "with using(lock_of(Path(sys.argv[1]))): print(Path(sys.argv[1]).exists())"
    measure = leftovers.num_bytes

    def measured(path):
        seen.append(subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True))
        time.sleep(0.5)
        return measure(path)

    monkeypatch.setattr(leftovers, "num_bytes", measured)
    assert removed(0) == {"a"}
    assert seen[0].communicate()[0] == "False\n"


def test_work_folders_go_when_their_process_is_gone(home):
    code = "from rm.files import work_folder\nfrom pathlib import Path\nimport os, sys\n"
    code += "with work_folder('rmflow-train', Path(sys.argv[1])) as folder:\n"
    code += "    print(folder, flush=True)\n    os.kill(os.getpid(), 9)"
    command = [sys.executable, "-c", code, tempfile.gettempdir()]
    left = Path(subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip())
    written(left / "job.json")
    other = written(Path(tempfile.gettempdir()) / "rmflow-notes" / "mine").parent
    with work_folder() as own:
        assert process_of(own) == os.getpid()
        assert removed(7) == set()
        assert removed(0) == {left.name}
        assert own.is_dir()
    assert not own.exists() and not left.exists() and other.is_dir()


def test_broken_off_downloads_go_after_a_day_and_whole_ones_stay(home):
    blobs = home / "huggingface" / "hub" / "models--a--b" / "blobs"
    for name in ("whole", "1.incomplete", "2.incomplete"):
        written(blobs / name)
    make_old(home)
    (blobs / "2.incomplete").touch()
    assert removed(0) == {"1.incomplete"}
