"""Prefect and MLflow on a real PostgreSQL, started here as the user postgres. Minutes: make test-slow."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.flows.test_whole_runs import RMFLOW, environment, free_port, recipe, started, wait_for  # noqa: F401

pytestmark = pytest.mark.slow

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


@pytest.fixture
def postgres(tmp_path_factory):
    """Ask a database of an empty server; `address` is its host and port."""
    if not PROGRAMS or os.geteuid() != 0:
        pytest.skip("needs Debian's PostgreSQL, and root to start it as the user postgres")
    folder = Path("/tmp") / f"rmflow-postgres-{os.getpid()}"  # pytest's folders are closed to other users
    folder.mkdir(mode=0o700)
    shutil.chown(folder, "postgres", "postgres")
    port = free_port()

    def program(name: str, *arguments: str) -> list[str]:
        return [
            "setpriv",
            "--reuid=postgres",
            "--regid=postgres",
            "--clear-groups",
            str(PROGRAMS[-1] / name),
            *arguments,
        ]

    subprocess.run(program("initdb", "-D", str(folder), "-A", "trust", "-E", "UTF8"), check=True, capture_output=True)
    where = ["-h", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(
        program("postgres", "-D", str(folder), *where, "-c", "unix_socket_directories="),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
    )

    def ask(database: str, query: str) -> str:
        command = program("psql", *where, "-d", database, "-qAtc", query)
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd="/").stdout.strip()

    ask.address = f"postgres@127.0.0.1:{port}"
    for _ in range(100):
        if subprocess.run(program("pg_isready", *where), capture_output=True, check=False, cwd="/").returncode == 0:
            break
        time.sleep(0.1)
    yield ask
    server.terminate()
    server.wait(timeout=60)
    shutil.rmtree(folder)


def test_a_system_and_a_run_keep_their_state_in_postgresql(postgres, recipe, started, tmp_path):  # noqa: F811
    for database in ("prefect", "mlflow"):
        postgres("postgres", f"CREATE DATABASE {database}")
    home, prefect, mlflow = tmp_path / "home", free_port(), free_port()
    environ = environment(
        home,
        PREFECT_SERVER_DATABASE_CONNECTION_URL=f"postgresql+asyncpg://{postgres.address}/prefect",
        MLFLOW_BACKEND_STORE_URI=f"postgresql+psycopg2://{postgres.address}/mlflow",
        OMP_NUM_THREADS="1",
    )
    log = (tmp_path / "up.log").open("w+")
    ports = ["--prefect-port", str(prefect), "--mlflow-port", str(mlflow)]
    up = started(RMFLOW, "up", *ports, env=environ, stdout=log, stderr=log)
    wait_for(lambda: "rmflow down" in Path(log.name).read_text() or up.poll() is not None, 240, "the start")
    servers = {
        "PREFECT_API_URL": f"http://127.0.0.1:{prefect}/api",
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{mlflow}",
    }
    command = [RMFLOW, "run", "--config", str(recipe)]
    ended = subprocess.run(command, env=environ | servers, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    verified = subprocess.run([RMFLOW, "verify", "models:/reward-model/1"], env=environ | servers, check=False)
    assert verified.returncode == 0
    assert postgres("prefect", "SELECT DISTINCT state_name FROM flow_run") == "Completed"
    assert postgres("mlflow", "SELECT name, version FROM model_versions") == "reward-model|1"
    assert not list(home.rglob("*.db"))
