"""How long commands take that have nothing heavy to do: help, a small ingestion, a run whose stages are all done.

Each is run in turn, several times; wall and CPU seconds are medians, of the command and all that it starts. At last
the quickstart is run in a new home: what is not spent in its tasks is orchestration (interpreter, imports, Prefect's
server, flow).

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

from chaos import RECIPE

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
        recipe = work / "recipe.yaml"
        recipe.write_text(RECIPE.replace("SEED", "1"), encoding="utf-8")
        commands = {
            "`rmflow --help`": ["--help"],
            f"`rmflow ingest`, {NUM_ROWS} rows, a new home": ["ingest", str(rows)],
            "`rmflow run`, all stages done": ["run", "--config", str(recipe)],
        }
        timed(commands["`rmflow run`, all stages done"], work / "done")
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for repeat in range(options.repeats):
            for name, command in commands.items():
                home = work / ("done" if "done" in name else f"new-{repeat}")
                found[name].append(timed(command, home))
    print("| command | wall | CPU |\n|---|---|---|")
    for name, times in found.items():
        wall, cpu = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"| {name} | {wall:.2f} s | {cpu:.2f} s |")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        wall, _ = timed(["run", "--config", str(QUICKSTART)], home)
        tasks = _seconds_in_tasks(home / "prefect" / "prefect.db")
    print(f"\nThe quickstart: {wall:.1f} s, of which {tasks:.1f} s in tasks: orchestration {1 - tasks / wall:.1%}")


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
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([RMFLOW, *command], env=environ, check=True, capture_output=True)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
