"""No secret of the environment is written or shown: in files, databases, logs, messages, commands of processes."""

import base64
import json
import subprocess
import urllib.parse
from pathlib import Path

import pytest

from tests.flows.test_postgres import postgres  # noqa: F401  # a fixture
from tests.flows.test_whole_runs import RMFLOW, environment, free_port, started, wait_for  # noqa: F401
from tests.processes import processes_at

pytestmark = pytest.mark.slow
PASSWORD = "planted/password+1"
IN_URL = urllib.parse.quote(PASSWORD, safe="")


@pytest.fixture(scope="module")
def key_text():
    """A private key, as openssl writes it."""
    command = ["openssl", "genpkey", "-algorithm", "ed25519"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def secrets(key_text, bucket):
    """Variables with secrets, for a run whose tables and copies of stages lie in object storage."""
    return {
        "RMFLOW_SIGNING_KEY": key_text,
        "AWS_SECRET_ACCESS_KEY": "planted-aws-secret",
        "MLFLOW_TRACKING_PASSWORD": "planted-mlflow-password",
        "MLFLOW_TRACKING_TOKEN": "planted-mlflow-token",
        "HF_TOKEN": "hf_plantedtoken",
        "PREFECT_API_KEY": "planted-prefect-key",
        "MLFLOW_BACKEND_STORE_URI": f"postgresql://planted-user:{IN_URL}@127.0.0.1:9/mlflow",
        "RMFLOW_STAGES": f"{bucket}/stages",
        "RMFLOW_ANNOTATIONS": f"{bucket}/annotations",
    }


def forms(secret: str) -> set[bytes]:
    """A secret as it may stand in a file: as it is, in a URL, in base64 at any offset."""
    plain = secret.encode()
    found = {plain, urllib.parse.quote(secret, safe="").encode(), urllib.parse.quote_plus(secret).encode()}
    for offset in range(3):
        coded = base64.b64encode(b"\0" * offset + plain)
        found.add(coded[4 if offset else 0 : len(coded) - 4])  # without the letters that neighbours change
    return found


def wanted(variables: dict[str, str]) -> dict[bytes, str]:
    """Each form of each secret, with its variable."""
    found = dict.fromkeys(forms(PASSWORD), "a password in a URL")
    for name, value in variables.items():
        if name == "RMFLOW_SIGNING_KEY":
            found |= dict.fromkeys(forms(value.splitlines()[1]), name)
        elif "planted" in value and "://" not in value:
            found |= dict.fromkeys(forms(value), name)
    assert all(len(form) > 9 for form in found)
    return found


def leaks(secrets: dict[bytes, str], *places: Path | str) -> list[str]:
    """Where secrets stand in texts, and in all files of folders."""
    found = []
    for place in places:
        files = [path for path in place.rglob("*") if path.is_file()] if isinstance(place, Path) else []
        contents = [(str(path), path.read_bytes()) for path in files] if files else [("text", str(place).encode())]
        found += [f"{name}: {secrets[form]}" for name, content in contents for form in secrets if form in content]
    return found


@pytest.fixture
def recipe(tmp_path, tiny) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(tiny(sample={"num_prompts": 60}).model_dump_json(exclude_unset=True))
    return path


def test_a_secret_is_found_in_every_form(tmp_path):
    for content in (PASSWORD, IN_URL, base64.b64encode(b"x" + PASSWORD.encode() + b"yz").decode()):
        (tmp_path / "file").write_bytes(b"\0\1" + content.encode())
        assert leaks(wanted({}), tmp_path) == [f"{tmp_path / 'file'}: a password in a URL"]
        assert leaks(wanted({}), content) == ["text: a password in a URL"]
    assert leaks(wanted({}), "planted") == []


def test_a_run_and_every_command_write_and_show_no_secret(secrets, recipe, tmp_path):
    home, work, temporary = tmp_path / "home", tmp_path / "work", tmp_path / "tmp"
    work.mkdir()
    temporary.mkdir()
    votes = work / "votes.jsonl"
    votes.write_text(json.dumps({"prompt": "a", "chosen": "b", "rejected": "c"}) + "\n")
    shown = []

    def rmflow(*arguments: str, code: int, **more: str) -> None:
        environ = environment(home, TMPDIR=str(temporary), **{**secrets, **more})
        ended = subprocess.run(
            [RMFLOW, *arguments], env=environ, cwd=work, capture_output=True, text=True, timeout=300, check=False
        )
        shown.append(ended.stdout + ended.stderr)
        assert ended.returncode == code, ended.stderr

    login = f"planted-user:{IN_URL}@127.0.0.1:9"
    rmflow("run", "--config", str(recipe), code=0)
    rmflow("ingest", str(votes), code=0)
    rmflow("ingest", f"s3://{login}/votes.jsonl", code=1)
    rmflow("models", "list", code=0)
    rmflow("models", "show", "reward-model/1", code=0)
    rmflow("verify", "models:/reward-model/1", code=0)
    rmflow("check", "--config", str(recipe), code=0)
    rmflow("run", "--config", str(recipe), code=1, RMFLOW_SIGNING_KEY=secrets["RMFLOW_SIGNING_KEY"].splitlines()[1])
    rmflow("run", "--config", str(recipe), code=1, PREFECT_API_URL=f"http://{login}/api")
    rmflow("run", "--config", str(recipe), code=1, MLFLOW_TRACKING_URI=f"http://{login}")
    rmflow("models", "list", code=1, MLFLOW_TRACKING_URI=f"postgres://{login}/mlflow")
    rmflow("models", "list", code=1, MLFLOW_TRACKING_URI=f"postgresql+psycopg2://{login}/mlflow")
    rmflow("run", "--config", str(recipe), code=1, MLFLOW_TRACKING_URI=f"postgres://{login}/mlflow")
    # The database of Prefect's server does not answer: what the server says of it is in a log.
    database = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://{login}/prefect"}
    rmflow("run", "--config", str(recipe), code=1, **database)
    assert (home / "mlflow.db").exists() and list(home.glob("prefect/*.db"))
    assert leaks(wanted(secrets), home, work, temporary, *shown) == []


def test_a_system_on_postgresql_writes_and_shows_no_password(postgres, recipe, tmp_path, started, key_text):  # noqa: F811
    for database in ("prefect", "mlflow"):
        postgres("postgres", f"CREATE DATABASE {database}")
    address = postgres.address.replace("@", f":{IN_URL}@")  # the server lets everybody in
    home, prefect, mlflow = tmp_path / "home", free_port(), free_port()
    environ = environment(
        home,
        RMFLOW_SIGNING_KEY=key_text,
        PREFECT_SERVER_DATABASE_CONNECTION_URL=f"postgresql+asyncpg://{address}/prefect",
        MLFLOW_BACKEND_STORE_URI=f"postgresql+psycopg2://{address}/mlflow",
    )
    log = (tmp_path / "up.log").open("w+")
    ports = ["--prefect-port", str(prefect), "--mlflow-port", str(mlflow)]
    up = started(RMFLOW, "up", "--config", str(recipe), *ports, env=environ, stdout=log, stderr=log, cwd=tmp_path)
    wait_for(lambda: "rmflow down" in Path(log.name).read_text() or up.poll() is not None, 240, "the start")
    servers = {
        "PREFECT_API_URL": f"http://127.0.0.1:{prefect}/api",
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{mlflow}",
    }
    ran = subprocess.run(
        [RMFLOW, "run", "--config", str(recipe)], env=environ | servers, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    commands = [Path(f"/proc/{number}/cmdline").read_text() for number in processes_at(home)]
    assert any("mlflow" in command for command in commands) and (home / "up.json").is_file()
    stored = postgres("prefect", "SELECT * FROM log") + postgres("mlflow", "SELECT * FROM tags")
    shown = [ran.stdout, ran.stderr, Path(log.name).read_text(), stored, *commands]
    assert leaks(wanted(environ), home, *shown) == []
