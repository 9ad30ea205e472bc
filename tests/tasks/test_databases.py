"""Databases that are made whole or not at all."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from rm.errors import ServerError
from tasks import databases
from tests.processes import unmeasured


def uri(path):
    return f"sqlite:///{path}"


def half_made(path):
    """As MLflow leaves it when it is killed after its tables are made and before the first migration."""
    from mlflow.store.db.utils import create_sqlalchemy_engine
    from mlflow.store.tracking.dbmodels.initial_models import Base

    engine = create_sqlalchemy_engine(uri(path))
    Base.metadata.create_all(engine)
    with closing(sqlite3.connect(path)) as database:  # the first step of the migrations, and not that it was done
        database.execute("ALTER TABLE metrics ADD COLUMN step BIGINT NOT NULL DEFAULT 0")
        database.commit()
    engine.dispose()


def test_a_half_made_database_is_made_anew_and_kept_aside(tmp_path):
    path = tmp_path / "mlflow.db"
    half_made(path)
    databases.ensure_mlflow(uri(path))
    assert [found.name for found in MlflowClient(uri(path)).search_experiments()] == ["Default"]
    assert (tmp_path / "mlflow.db.half-made").exists()
    assert not (tmp_path / ".mlflow.db.new").exists()


def test_a_database_with_runs_is_never_replaced(tmp_path):
    path = tmp_path / "mlflow.db"
    databases.ensure_mlflow(uri(path))
    run = MlflowClient(uri(path)).create_run("0").info.run_id
    with closing(sqlite3.connect(path)) as database:  # as a former version of MLflow made it
        database.execute("PRAGMA user_version = 0")
        database.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
        database.commit()
    databases.ensure_mlflow(uri(path))
    assert not (tmp_path / "mlflow.db.half-made").exists()
    with closing(sqlite3.connect(path)) as database:
        assert list(database.execute("SELECT run_uuid FROM runs")) == [(run,)]


def processes_with(mark):
    """Ids of the running processes whose command has a mark."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            running = (process / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
            if running and mark.encode() in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


def test_what_makes_a_database_ends_with_the_process_that_wanted_it(tmp_path):
    mark = str(tmp_path / "mark")
    forever = f"import sys, time; print('{mark}'); time.sleep(600)"
    code = (
        f"import os, sys; from tasks import databases; databases._run([sys.executable, '-c', {forever!r}], os.environ)"
    )
    maker = subprocess.Popen([sys.executable, "-c", code], env=unmeasured())
    deadline = time.monotonic() + 60
    while len(processes_with(mark)) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(processes_with(mark)) == 3  # the maker, the guard and the command
    maker.send_signal(signal.SIGKILL)
    maker.wait()
    deadline = time.monotonic() + 60
    while processes_with(mark) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not processes_with(mark)


def test_what_a_command_says_and_its_code_come_back():
    assert databases._run([sys.executable, "-c", "print('well'); raise SystemExit(3)"], os.environ) == (3, "well\n")


def test_a_process_killed_while_it_makes_a_database_leaves_none(tmp_path):
    path = tmp_path / "mlflow.db"
    command = f"from tasks import databases; databases.ensure_mlflow({uri(path)!r})"
    maker = subprocess.Popen([sys.executable, "-c", command], env=unmeasured(), stderr=subprocess.DEVNULL)
    while not (tmp_path / ".mlflow.db.new").exists() and maker.poll() is None:
        time.sleep(0.01)
    maker.send_signal(signal.SIGKILL)
    assert maker.wait() == -signal.SIGKILL
    assert not path.exists()
    databases.ensure_mlflow(uri(path))
    assert MlflowClient(uri(path)).search_runs(["0"]) == []


def test_databases_of_other_kinds_are_left_to_their_tools(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    databases.ensure_mlflow("http://127.0.0.1:1")
    databases.ensure_mlflow("postgresql://nowhere/mlflow")
    databases.ensure("ls")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_prefects_database_is_made_whole(tmp_path):
    path = tmp_path / "prefect.db"
    databases._make_prefect(path)
    assert not databases._is_half_made(path, databases._prefect_heads(), ("flow_run",))
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE alembic_version SET version_num = 'another'")
        database.commit()
    assert databases._is_half_made(path, databases._prefect_heads(), ("flow_run",))


def test_a_locked_or_broken_database_is_named(tmp_path, monkeypatch):
    path = tmp_path / "mlflow.db"
    databases.ensure_mlflow(uri(path))
    monkeypatch.setattr(databases, "_PATIENCE_S", 0.1)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ServerError, match=rf"{path}: cannot be read: database is locked"):
            databases.ensure_mlflow(uri(path))
    path.write_bytes(b"no database " * 100)
    with pytest.raises(ServerError, match=rf"{path}: cannot be read: file is not a database"):
        databases.ensure_mlflow(uri(path))
