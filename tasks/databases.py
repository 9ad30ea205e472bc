"""The SQLite databases of Prefect and MLflow: made whole under another name, then renamed.

Both tools make a database by many migrations, which take seconds, and SQLite keeps those that were done when the
process is killed. What is left then fails in every later run. A database that was found whole has a mark, so that this
is asked once.
"""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from rm.errors import ServerError
from tasks import environment
from tasks.locks import alone

_LOGGER = logging.getLogger(f"rm.{__name__}")
_WHOLE = 0x726D66
"""SQLite's ``user_version`` of a database that is whole; neither tool uses this number."""
_PATIENCE_S = 20.0
"""How long to wait for another program that has locked a database; one of ours writes for less than a second."""
_BESIDE = ("", "-journal", "-wal", "-shm")
"""What SQLite adds to a database's name for its files."""


def ensure(tool: str) -> None:
    """Make the database of a tool that is about to start, if it is one of these two and its server is to run here."""
    if tool == "mlflow" and environment.mlflow_server() is None:
        ensure_mlflow(environment.mlflow_database())
    elif tool == "prefect" and environment.prefect_server() is None:
        ensure_prefect()


def ensure_all() -> None:
    """Make both, if their servers are to run here."""
    ensure("mlflow")
    ensure("prefect")


def ensure_mlflow(uri: str) -> None:
    """Make MLflow's database, if the URI is a file of SQLite that is missing or half made."""
    if uri.startswith("sqlite:///"):
        _ensure(Path(uri.removeprefix("sqlite:///")), _make_mlflow, _mlflow_heads, ("runs", "registered_models"))


def ensure_prefect() -> None:
    """Make Prefect's database, if its settings name a file of SQLite that is missing or half made."""
    from prefect.settings import get_current_settings

    secret = get_current_settings().server.database.connection_url
    kind, _, path = (secret.get_secret_value() if secret else "").partition(":///")
    if kind == "sqlite+aiosqlite" and path and not path.startswith((":memory:", "file:")):
        _ensure(Path(path), _make_prefect, _prefect_heads, ("flow_run", "deployment", "work_pool", "block_document"))


def _ensure(
    path: Path, make: Callable[[Path], None], heads: Callable[[], Sequence[str]], content: Sequence[str]
) -> None:
    """Make a database, unless it is whole or holds something.

    Parameters
    ----------
    path : Path
    make : callable
        Makes a whole database at a path.
    heads : callable
        The versions of a whole database's schema.
    content : sequence of str
        Tables in which a half-made database has no row, since nothing was ever done with it.
    """
    if _is_marked(path):
        return
    with alone(path.with_name(f".{path.name}.lock")):
        if _is_marked(path):
            return
        if path.exists() and not _is_half_made(path, heads(), content):
            _mark(path)
            return
        new = path.with_name(f".{path.name}.new")
        for ending in _BESIDE:
            Path(f"{new}{ending}").unlink(missing_ok=True)
        make(new)
        _mark(new)
        if path.exists():
            aside = path.with_name(f"{path.name}.half-made")
            _LOGGER.warning("%s: half made by a process that was ended; made anew, the old one is %s", path, aside)
            for ending in _BESIDE:
                if (old := Path(f"{path}{ending}")).exists():
                    old.replace(f"{aside}{ending}")
        new.replace(path)


def _is_marked(path: Path) -> bool:
    return path.exists() and _ask(path, "PRAGMA user_version") == [(_WHOLE,)]


def _mark(path: Path) -> None:
    """Set the mark, and leave all content in the one file, as renaming it needs."""
    with closing(sqlite3.connect(path, timeout=60)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.execute(f"PRAGMA user_version = {_WHOLE}")
        database.commit()


def _is_half_made(path: Path, heads: Sequence[str], content: Sequence[str]) -> bool:
    found = {version for (version,) in _ask(path, "SELECT version_num FROM alembic_version")}
    return found != set(heads) and not any(_ask(path, f"SELECT 1 FROM {table} LIMIT 1") for table in content)


def _ask(path: Path, query: str) -> list[tuple[object, ...]]:
    """The rows of an answer; none where the table is missing."""
    with closing(sqlite3.connect(path, timeout=_PATIENCE_S)) as database:
        try:
            return list(database.execute(query))
        except sqlite3.DatabaseError as error:
            if "no such table" in str(error):
                return []
            raise ServerError(f"{path}: cannot be read: {error}") from error


def _make_mlflow(path: Path) -> None:
    from mlflow.tracking import MlflowClient

    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments(max_results=1)


def _make_prefect(path: Path) -> None:
    # In a process of its own: Prefect keeps the first database that a process has used.
    command = [sys.executable, "-P", "-m", "prefect", "server", "database", "upgrade", "-y"]
    environ = environment.with_variables({"PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{path}"})
    code, said = _run(command, environ)
    if code:
        raise ServerError(f"Prefect could not make its database {path}: {said.strip()[-500:]}")


def _run(command: Sequence[str], environ: Mapping[str, str]) -> tuple[int, str]:
    """Exit code and output of a command that ends with this process, since its guard's standard input then does."""
    guarded = [sys.executable, "-P", "-m", "tasks.guard", *command]
    pipe = subprocess.PIPE
    with subprocess.Popen(guarded, env=environ, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True) as run:
        said = run.stdout.read() if run.stdout else ""
        return run.wait(), said


def _mlflow_heads() -> Sequence[str]:
    import mlflow.store

    return _heads(Path(mlflow.store.__file__).parent / "db_migrations")


def _prefect_heads() -> Sequence[str]:
    import prefect.server.database

    folder = Path(prefect.server.database.__file__).parent / "_migrations"
    return _heads(folder, folder / "versions" / "sqlite")


def _heads(folder: Path, *versions: Path) -> Sequence[str]:
    from alembic.script import ScriptDirectory

    return ScriptDirectory(str(folder), version_locations=list(map(str, versions)) or None).get_heads()
