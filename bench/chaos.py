"""Runs that are disturbed at random points, and repeated: is anything lost, doubled, left or hung?

Each trial starts `rmflow run` as a user does, in a home that is new or has seen another run, disturbs it after a random
time, and repeats the command undisturbed. The home must then hold what an undisturbed run leaves: the same checkpoint,
annotations, report and number of versions, no unfinished file and no process. A signal must end the command within ten
seconds with 128 plus its number; a full disk with one sentence and exit code 1; a Prefect server that dies is started
again. Nothing may end in a traceback.

Usage: python bench/chaos.py [--trials 200] [--seed 0] [--log trials.jsonl]
With --log, trials that the file has already are not run again. A full disk needs the right to mount a file system.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

RECIPE = """
sample: {num_prompts: 120, seed: SEED}
snapshot: {heldout_share: 0.3}
model:
  scratch:
    architecture: llama
    vocab_size: 400
    sizes: {hidden_size: 16, intermediate_size: 32, num_hidden_layers: 1, num_attention_heads: 2}
train: {pairs_per_step: 8, checkpoint_every: 10, num_epochs: 4}
audit: {num_resamples: 100}
gate:
  checks: [{name: accuracy, min_value: 0.0, decides: estimate, min_pairs: 1}]
  probe_checks: []
  champion_checks: [{name: over_champion_accuracy, min_value: -1.0, min_pairs: 1}]
"""
DISK_MIB = 512
SIGNAL_S = 10.0
ERROR_S = 60.0
GONE_S = 90.0
AWAY_S = 10.0


class Server:
    """Prefect's or MLflow's server with the state of a home; it runs on when the command ends."""

    def __init__(self, command: list[str], health: str, environ: dict[str, str]) -> None:
        self.command, self.health = command, health
        # Another spelling of the home, by which its processes are not taken for the command's.
        self.environ = environ | {"RMFLOW_HOME": environ["RMFLOW_HOME"] + "/."}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        null = subprocess.DEVNULL
        self.process = subprocess.Popen(
            self.command, env=self.environ, stdin=null, stdout=null, stderr=null, start_new_session=True
        )
        while True:
            try:
                urllib.request.urlopen(self.health, timeout=5).close()
                return
            except OSError:
                time.sleep(0.1)

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Trials:
    """The homes, what undisturbed runs leave in them, and the command."""

    rmflow = str(Path(sys.executable).parent / "rmflow")

    def __init__(self, work: Path) -> None:
        self.work, self.disk, self.home = work, work / "disk", work / "disk" / "home"
        self.disk.mkdir()
        self.recipes = {}
        for kind, seed in (("fresh", 1), ("used", 2)):
            self.recipes[kind] = work / f"{kind}.yaml"
            self.recipes[kind].write_text(RECIPE.replace("SEED", str(seed)), encoding="utf-8")
        self.used = work / "used"
        self.expected: dict[str, dict[str, Any]] = {}
        self.servers: dict[str, Server] = {}

    def prepare(self) -> dict[str, float]:
        """Run both recipes undisturbed, in the same places as the trials; returns the seconds of each."""
        took = {}
        for kind in ("fresh", "used"):
            started = time.monotonic()
            self.complete(kind)
            took[kind] = time.monotonic() - started
            self.expected[kind] = self.state()
            if kind == "fresh":
                shutil.copytree(self.home, self.used)
        return took

    def restore(self, kind: str) -> None:
        shutil.rmtree(self.home, ignore_errors=True)
        if kind == "used":
            shutil.copytree(self.used, self.home)

    def command(self, kind: str) -> list[str]:
        return [self.rmflow, "run", "--config", str(self.recipes[kind])]

    def environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
        addresses = {name: server.health.removesuffix("/health") for name, server in self.servers.items()}
        return {**kept, **addresses, "RMFLOW_HOME": str(self.home), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}

    @contextmanager
    def elsewhere(self, variable: str | None) -> Iterator[None]:
        """Let the commands use a server elsewhere, of which this variable has the address."""
        if variable is None:
            yield
            return
        port = free_port()
        is_prefect = variable == "PREFECT_API_URL"
        tool = ["prefect", "server", "start"] if is_prefect else ["mlflow", "server", "--workers", "1"]
        command = [self.rmflow, "exec", *tool, "--host", "127.0.0.1", "--port", str(port)]
        health = f"http://127.0.0.1:{port}{'/api' if is_prefect else ''}/health"
        server = Server(command, health, self.environ())
        server.start()
        self.servers[variable] = server
        try:
            yield
        finally:
            del self.servers[variable]
            server.kill()

    def complete(self, kind: str) -> str | None:
        """Run to the end; returns what went wrong, or None."""
        ended = subprocess.run(self.command(kind), env=self.environ(), capture_output=True, text=True, check=False)
        if "Traceback" in ended.stdout + ended.stderr:
            return f"the repeated run printed a traceback: {ended.stderr[-1500:]}"
        return (
            None if ended.returncode == 0 else f"the repeated run ended with {ended.returncode}: {ended.stderr[-600:]}"
        )

    def state(self) -> dict[str, Any]:
        """What must not depend on disturbances."""
        stages = sorted(
            f"{manifest.parent.parent.name}/{manifest.parent.name} {json.loads(manifest.read_text())['digest']}"
            for manifest in self.home.glob("stages/*/[!.]*/manifest.json")
        )
        folders = [
            folder.name for folder in self.home.glob("stages/*/[!.]*") if not (folder / "manifest.json").exists()
        ]
        unfinished = [
            path.name for path in self.home.rglob("*") if path.name.endswith((".new", ".part", ".tmp", ".half-made"))
        ]
        resume = [path.name for path in self.home.glob("stages/train/.*.resume")]
        return {
            "stages": stages,
            "unfinished": sorted(folders + unfinished + resume),
            "annotations": {str(path.relative_to(self.home)): _count(path) for path in self._tables()},
            "versions": _versions(self.home / "mlflow.db"),
        }

    def _tables(self) -> list[Path]:
        return sorted(path.parent for path in self.home.glob("annotations/*/*/_delta_log"))


def _count(table: Path) -> int:
    from deltalake import DeltaTable

    return DeltaTable(str(table)).to_pyarrow_dataset().count_rows()


def _versions(database: Path) -> list[tuple[object, ...]]:
    query = (
        "SELECT v.name, v.version, t.value, a.alias FROM model_versions v LEFT JOIN model_version_tags t "
        "ON t.name = v.name AND t.version = v.version AND t.key = 'rmflow.checkpoint_digest' "
        "LEFT JOIN registered_model_aliases a ON a.name = v.name AND a.version = v.version ORDER BY v.version"
    )
    with closing(sqlite3.connect(database)) as connection:
        return [list(row) for row in connection.execute(query)]


def _processes(home: Path) -> list[int]:
    """Ids of the running processes with this home."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environ = (process / "environ").read_text(errors="replace").split("\0")
            running = (process / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            continue
        if running and f"RMFLOW_HOME={home}" in environ:
            found.append(int(process.name))
    return found


Disturb = Callable[[subprocess.Popen[str], Trials], None]


def _kill_group(process: subprocess.Popen[str], _: Trials) -> None:
    os.killpg(process.pid, signal.SIGKILL)


def _kill_everything(process: subprocess.Popen[str], trials: Trials) -> None:
    for number in _processes(trials.home):
        os.kill(number, signal.SIGKILL)


def _interrupt(process: subprocess.Popen[str], _: Trials) -> None:
    os.killpg(process.pid, signal.SIGINT)


def _interrupt_twice(process: subprocess.Popen[str], trials: Trials) -> None:
    _interrupt(process, trials)
    time.sleep(random.random())
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)


def _terminate(process: subprocess.Popen[str], _: Trials) -> None:
    process.terminate()


def _server_gone(process: subprocess.Popen[str], trials: Trials) -> None:
    for number in _processes(trials.home):
        if b"tasks.prefect_process" in Path(f"/proc/{number}/cmdline").read_bytes():
            os.kill(number, signal.SIGKILL)


def _fill_disk(process: subprocess.Popen[str], trials: Trials) -> None:
    with (trials.disk / "filler").open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(b"\0" * 65536)
        except OSError:
            pass


def _elsewhere_gone(_: subprocess.Popen[str], trials: Trials) -> None:
    for server in trials.servers.values():
        server.kill()


def _elsewhere_away(process: subprocess.Popen[str], trials: Trials) -> None:
    _elsewhere_gone(process, trials)
    time.sleep(AWAY_S)
    for server in trials.servers.values():
        server.start()


def _by(number: int) -> set[int]:
    """The exit codes after a signal; the second where the interpreter was ending, which shells show as the first."""
    return {128 + number, -number}


# Name to how it disturbs, the exit codes that are right, and the seconds that it may take.
KINDS: dict[str, tuple[Disturb, set[int], float]] = {
    "SIGKILL": (_kill_group, {-signal.SIGKILL}, SIGNAL_S),
    "SIGKILL, server too": (_kill_everything, {-signal.SIGKILL}, SIGNAL_S),
    "SIGINT to the group": (_interrupt, _by(signal.SIGINT), SIGNAL_S),
    "SIGINT twice": (_interrupt_twice, _by(signal.SIGINT), SIGNAL_S),
    "SIGTERM": (_terminate, _by(signal.SIGTERM), SIGNAL_S),
    "Prefect's server killed": (_server_gone, {1}, ERROR_S),
    "disk full": (_fill_disk, {1}, ERROR_S),
    "Prefect elsewhere gone": (_elsewhere_gone, {1}, GONE_S),
    "MLflow elsewhere gone": (_elsewhere_gone, {1}, GONE_S),
    "Prefect elsewhere away 10 s": (_elsewhere_away, set(), ERROR_S),
    "MLflow elsewhere away 10 s": (_elsewhere_away, set(), ERROR_S),
}
ELSEWHERE = {"Prefect elsewhere": "PREFECT_API_URL", "MLflow elsewhere": "MLFLOW_TRACKING_URI"}


def trial(trials: Trials, kind: str, home: str, delay: float) -> dict[str, Any]:
    """One disturbed run and its repetition."""
    trials.restore(home)
    variable = next((variable for name, variable in ELSEWHERE.items() if kind.startswith(name)), None)
    with trials.elsewhere(variable):
        return _tried(trials, kind, home, delay)


def _tried(trials: Trials, kind: str, home: str, delay: float) -> dict[str, Any]:
    disturb, codes, limit = KINDS[kind]
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            trials.command(home), env=trials.environ(), stdout=output, stderr=output, text=True, start_new_session=True
        )
        problems: list[str] = []
        try:
            process.wait(delay)
            took = 0.0
        except subprocess.TimeoutExpired:
            disturbed = time.monotonic()
            disturb(process, trials)
            try:
                process.wait(limit + 120)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            took = time.monotonic() - disturbed
            if process.returncode not in codes | {0}:  # 0: it had ended, or did not need what was taken
                problems.append(f"exit code {process.returncode}")
            if took > limit and process.returncode != 0:
                problems.append(f"ended after {took:.0f} s")
        output.seek(0)
        said = output.read()
    if "Traceback" in said:
        problems.append(f"traceback: {said[said.index('Traceback') :][:3000]}")
    deadline = time.monotonic() + SIGNAL_S
    while (left := _processes(trials.home)) and time.monotonic() < deadline:
        time.sleep(0.1)
    if left:
        problems.append(f"{len(left)} processes left")
        for number in left:
            os.kill(number, signal.SIGKILL)
    (trials.disk / "filler").unlink(missing_ok=True)
    for server in trials.servers.values():
        if server.process is None:
            server.start()
    if wrong := trials.complete(home):
        problems.append(wrong)
    else:
        found, expected = trials.state(), trials.expected[home]
        problems += [
            f"{name}: {found[name]} in place of {expected[name]}" for name in found if found[name] != expected[name]
        ]
    return {
        "kind": kind,
        "home": home,
        "delay": round(delay, 2),
        "exit": process.returncode,
        "took": round(took, 1),
        "last": (said.strip().splitlines() or [""])[-1][:300],
        "problems": problems,
    }


@contextmanager
def _small_disk(folder: Path) -> Iterator[bool]:
    """A file system of its own, so that it can be full; False where this user may not mount one."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(folder)]
    can = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield can
    finally:
        if can:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs that are disturbed at random points, and repeated.")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the file system is unmounted
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it in the background, and so would a run
    done = (
        [json.loads(line) for line in options.log.read_text().splitlines()]
        if options.log and options.log.exists()
        else []
    )
    with tempfile.TemporaryDirectory() as folder:
        trials = Trials(Path(folder))
        with _small_disk(trials.disk) as can_fill:
            took = trials.prepare()
            kinds = [kind for kind in KINDS if can_fill or kind != "disk full"]
            drawn = random.Random(options.seed)
            for number in range(options.trials):
                kind, home = kinds[number % len(kinds)], ("fresh", "used")[number // len(kinds) % 2]
                delay = drawn.uniform(0.0, took[home])
                if number < len(done):
                    continue
                done.append(trial(trials, kind, home, delay))
                if options.log:
                    with options.log.open("a", encoding="utf-8") as log:
                        log.write(json.dumps(done[-1]) + "\n")
                for problem in done[-1]["problems"]:
                    print(f"trial {number}, {kind}, {home} home, after {delay:.1f} s: {problem}", flush=True)
    _show(done)
    return 1 if any(one["problems"] for one in done) else 0


def _show(done: list[dict[str, Any]]) -> None:
    print("| disturbed by | trials | before the end | longest time to end | with a problem |\n|---|---|---|---|---|")
    for kind in dict.fromkeys(one["kind"] for one in done):
        of_kind = [one for one in done if one["kind"] == kind]
        hit = [one for one in of_kind if one["exit"] != 0]
        longest = max((one["took"] for one in hit), default=0.0)
        bad = sum(bool(one["problems"]) for one in of_kind)
        print(f"| {kind} | {len(of_kind)} | {len(hit)} | {longest:.1f} s | {bad} |")


if __name__ == "__main__":
    sys.exit(main())
