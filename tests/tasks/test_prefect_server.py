"""The server of a command: it answers, and it ends with the command, however that ends."""

import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from urllib.parse import urlsplit

import pytest
from prefect.settings import get_current_settings

from rm.errors import ServerError
from tasks import prefect_server
from tests.processes import unmeasured

KILLED = """
import os, signal
from tasks import environment, prefect_server
environment.make_home()
server = prefect_server.begin()
server.wait()
print(server.url, flush=True)
signal.pause()
"""


def answers(url):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", urlsplit(url).port)) == 0


@pytest.fixture
def home(tmp_path, prefect_database):
    """With Prefect's database, whose migrations take seconds."""
    (tmp_path / "prefect").mkdir()
    shutil.copyfile(prefect_database, tmp_path / "prefect" / "prefect.db")
    return tmp_path


@pytest.fixture
def environ(home):
    kept = {name: value for name, value in unmeasured().items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    return {**kept, "RMFLOW_HOME": str(home)}


def test_a_server_ends_with_its_command_also_when_that_is_killed(environ):
    command = subprocess.Popen([sys.executable, "-c", KILLED], env=environ, stdout=subprocess.PIPE, text=True)
    url = command.stdout.readline().strip()
    with urllib.request.urlopen(f"{url}/health", timeout=30) as response:
        assert response.read() == b"true"
    command.send_signal(signal.SIGKILL)
    command.wait()
    for _ in range(300):
        if not answers(url):
            return
        time.sleep(0.1)
    raise AssertionError(f"{url} still answers")


RESTARTED = """
import os, signal, urllib.request
from tasks import environment, prefect_server
environment.make_home()
server = prefect_server.begin()
server.wait()
first = server.process
os.kill(first.pid, signal.SIGKILL)
with urllib.request.urlopen(f"{server.url}/health", timeout=120) as response:
    assert response.read() == b"true"
assert first.poll() == -9 and server.process is not first
server.stop()
print("stopped", server.process.returncode)
"""


def test_a_server_that_dies_is_started_again_at_its_address(environ):
    ended = subprocess.run([sys.executable, "-c", RESTARTED], env=environ, capture_output=True, text=True, check=False)
    assert (ended.stdout, ended.returncode) == ("stopped 0\n", 0), ended.stderr
    assert ended.stderr.splitlines() == ["the Prefect server of this command has died; it is started again"]


def test_a_server_that_cannot_start_says_why(environ, home):
    (home / "prefect" / "prefect.db").write_bytes(b"no database at all" * 100)
    command = KILLED.replace("server.wait()", "server.wait(); raise SystemExit('it answers')")
    ended = subprocess.run(
        [sys.executable, "-c", command], env=environ, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.stderr.splitlines()[-1].startswith(
        f"rm.errors.ServerError: the Prefect server of this command did not start; the end of {home}/prefect/"
    )
    assert ended.stderr.splitlines()[-1].endswith("file is not a database")


@pytest.mark.parametrize(
    ("text", "free", "said"),
    [
        ("first\nno database\n\n", 0, "the end of LOG: no database"),
        ("", 1000, "the disk of FOLDER is full"),
        ("", 2**30, "LOG is empty"),
    ],
)
def test_a_server_without_last_words_had_perhaps_no_room_for_them(tmp_path, monkeypatch, text, free, said):
    log = tmp_path / "own_server.log"
    log.write_text(text)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, free))
    assert prefect_server._last_words(log) == said.replace("LOG", str(log)).replace("FOLDER", str(tmp_path))


@pytest.mark.parametrize(
    ("variable", "tool"), [("PREFECT_API_URL", "Prefect"), ("MLFLOW_TRACKING_URI", "MLflow")], ids=["prefect", "mlflow"]
)
def test_a_configured_server_that_is_gone_is_named(monkeypatch, variable, tool):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.setenv(variable, address)
    with pytest.raises(ServerError, match=rf"^{tool} at {address} does not answer \(.*refused.*{variable}$"):
        prefect_server.begin()


def test_a_configured_server_that_says_nothing_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(prefect_server, "_ANSWER_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(ServerError, match="timed out"):
            prefect_server.begin()


def test_an_own_server_is_not_a_configured_one(environ):
    asked = """
import os
from tasks import environment
environment.use_own_server("http://127.0.0.1:1/api")
print(environment.prefect_server(), environment.uses_own_server(), os.environ["PREFECT_API_URL"])
os.environ["PREFECT_API_URL"] = "http://127.0.0.1:2/api"
print(environment.prefect_server())
"""
    told = subprocess.run([sys.executable, "-c", asked], env=environ, capture_output=True, text=True, check=True).stdout
    assert told.split() == ["None", "True", "http://127.0.0.1:1/api", "http://127.0.0.1:2/api"]


def test_no_heartbeats_are_sent_inside_the_block_alone():
    def seconds() -> int | None:
        return get_current_settings().flows.heartbeat_frequency

    assert seconds()
    with prefect_server.without_heartbeats():
        assert seconds() is None
    assert seconds()
