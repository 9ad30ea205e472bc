"""How long commands take that have nothing heavy to do: help, a small ingestion, the quickstart when all is done.

First the quickstart is run in a new home: what is not spent in its tasks is orchestration (interpreter, imports,
Prefect's server, flow). Then it is repeated there, and each other command run in turn with it, several times; wall and
CPU seconds are medians, of the command and all that it starts.

Usage: python bench/startup.py [--repeats 5]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

RMFLOW = str(Path(sys.executable).parent / "rmflow")
QUICKSTART = Path(__file__).parents[1] / "configs" / "quickstart.yaml"
NUM_ROWS = 800


def main() -> None:
    parser = argparse.ArgumentParser(description="How long commands take that have nothing heavy to do.")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        rows = work / "rows.jsonl"
        rows.write_text("".join(f"{json.dumps(_row(number))}\n" for number in range(NUM_ROWS)), encoding="utf-8")
        done = work / "done"
        run = ["run", "--config", str(QUICKSTART)]
        first, _ = timed(run, done)
        tasks = _seconds_in_tasks(done / "prefect" / "prefect.db")
        commands = {
            "`rmflow --help`": ["--help"],
            f"`rmflow ingest`, {NUM_ROWS} rows, a new home": ["ingest", str(rows)],
            "`rmflow run` of the quickstart, all stages done": run,
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for repeat in range(options.repeats):
            for name, command in commands.items():
                home = done if command is run else work / f"new-{repeat}"
                found[name].append(timed(command, home))
    print("| command | wall | CPU |\n|---|---|---|")
    for name, times in found.items():
        wall, cpu = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"| {name} | {wall:.2f} s | {cpu:.2f} s |")
    print(f"\nThe first quickstart: {first:.1f} s, {tasks:.1f} s of it in tasks: orchestration {1 - tasks / first:.1%}")


def _seconds_in_tasks(database: Path) -> float:
    """Of all task runs, which follow one another."""
    with closing(sqlite3.connect(database)) as connection:
        query = "SELECT sum(julianday(end_time) - julianday(start_time)) * 86400 FROM task_run"
        return float(connection.execute(query).fetchone()[0])


def _row(number: int) -> dict[str, str]:
    return {"prompt": f"Question {number}?", "chosen": f"A good answer, {number}.", "rejected": f"A bad one, {number}."}


def timed(command: list[str], home: Path) -> tuple[float, float]:
    """Wall and CPU seconds of a command."""
    environ = {**os.environ, "RMFLOW_HOME": str(home), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)  # where it is set, every command compiles all modules again
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([RMFLOW, *command], env=environ, check=True, capture_output=True)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
