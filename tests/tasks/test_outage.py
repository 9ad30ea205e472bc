"""A configured server that goes away: the process ends with one sentence, unless the server is back in time."""

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tasks import outage
from tests.processes import unmeasured

COMMAND = """
import time
from flows.cli import app, interrupts
from tasks import outage, prefect_server
outage._EVERY_S, outage._PATIENCE_S, prefect_server._ANSWER_S = 0.1, {patience}, 0.5
interrupts.install()

def work():
    with outage.watched():
        print("working", flush=True)
        time.sleep({work})
    return 0

app._exit_code = work
app.main()
"""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


class Server:
    """Answers at the same port whenever it is started."""

    def __init__(self):
        self.port = 0
        self.start()

    def start(self):
        self.server = HTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def server():
    found = Server()
    yield found
    found.stop()


def started(server, patience, work, variable):
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND.format(patience=patience, work=work)],
        env=unmeasured() | {variable: address(server, variable)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(("tool", "variable"), [("MLflow", "MLFLOW_TRACKING_URI"), ("Prefect", "PREFECT_API_URL")])
def test_a_server_that_goes_away_ends_the_command_with_one_sentence(server, tool, variable):
    with started(server, 1.0, 600, variable) as process:
        process.stdout.readline()
        server.stop()
        _, errors = process.communicate(timeout=60)
        server.start()
    assert process.returncode == 1
    where = f"{tool} at {address(server, variable)}"
    assert errors.strip() == f"error: {where} has not answered for 1 s; start it, and repeat the command to continue"


def address(server, variable):
    return f"http://127.0.0.1:{server.port}" + ("/api" if variable == "PREFECT_API_URL" else "")


def test_a_server_that_is_back_in_time_is_not_missed(server):
    with started(server, 3.0, 7, "MLFLOW_TRACKING_URI") as process:
        process.stdout.readline()
        threading.Event().wait(3.5)  # longer than the patience: what counts is the last answer
        server.stop()
        threading.Event().wait(1.0)
        server.start()
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")


@pytest.mark.parametrize("is_configured", [False, True])
def test_only_a_configured_server_is_watched_and_only_during_a_flow(server, is_configured):
    watching = """
import threading
from tasks import outage
outage._EVERY_S = 0.1
def names(): return [thread.name for thread in threading.enumerate() if thread.name == outage._NAME]
with outage.watched(), outage.watched():
    print(len(names()))
for thread in threading.enumerate():
    thread is threading.current_thread() or thread.join()
print(len(names()))
"""
    configured = {"MLFLOW_TRACKING_URI": address(server, "MLFLOW_TRACKING_URI")} if is_configured else {}
    kept = {name: value for name, value in unmeasured().items() if not name.startswith(("PREFECT_API", "MLFLOW_"))}
    ran = subprocess.run([sys.executable, "-c", watching], env=kept | configured, capture_output=True, check=True)
    assert ran.stdout.split() == [b"1" if is_configured else b"0", b"0"]


class OnlyOnce(Handler):
    """Answers one request, that of the check at a command's start."""

    def do_GET(self):
        super().do_GET()
        self.server.has_answered.set()


@pytest.mark.parametrize(("tool", "variable"), [("MLflow", "MLFLOW_TRACKING_URI"), ("Prefect", "PREFECT_API_URL")])
def test_a_server_that_goes_away_while_the_command_starts_ends_it_too(server, tool, variable, tmp_path):
    server.server.RequestHandlerClass, server.server.has_answered = OnlyOnce, threading.Event()
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("sample: {num_prompts: 20}\nmodel: {scratch: {architecture: llama}}\n")
    command = """
import sys
from flows.cli import start
from tasks import outage, prefect_server
outage._EVERY_S, outage._PATIENCE_S, prefect_server._ANSWER_S = 0.1, 2.0, 0.5
start.main()
"""
    kept = {name: value for name, value in unmeasured().items() if not name.startswith(("PREFECT_API", "MLFLOW_"))}
    with subprocess.Popen(
        [sys.executable, "-c", command, "train", "--config", str(recipe)],
        env=kept | {variable: address(server, variable), "RMFLOW_HOME": str(tmp_path / "home")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert server.server.has_answered.wait(60)
        server.stop()
        _, errors = process.communicate(timeout=120)
        server.start()
    where = f"{tool} at {address(server, variable)}"
    told = f"error: {where} has not answered for 2 s; start it, and repeat the command to continue"
    assert (process.returncode, errors.strip().splitlines()[-1]) == (1, told)
    assert "Traceback" not in errors


def test_a_flow_begins_once_the_server_is_back(server, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", address(server, "PREFECT_API_URL"))
    server.stop()
    waiting = threading.Thread(target=outage.wait)
    waiting.start()
    waiting.join(1.5)
    assert waiting.is_alive()
    server.start()
    waiting.join(10)
    assert not waiting.is_alive()
