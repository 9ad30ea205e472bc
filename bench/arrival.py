"""How long it takes from a file in a watched folder to the start of the retraining.

`rmflow up` runs with a recipe that retrains on each new file, without quiet time. A file is dropped when nothing runs,
and the start of the next retraining is taken from Prefect. The file counts as whole after three seconds without a
change.

Usage: python bench/arrival.py [--repeats 5]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import datetime
from pathlib import Path
from typing import Any

from chaos import RECIPE, free_port

RMFLOW = str(Path(sys.executable).parent / "rmflow")
SOURCE = """
ingest: {sources: ["DROP/*.jsonl"]}
schedule: {min_new_judgements: 1, quiet_s: 0}
"""
NUM_ROWS = 400


def main() -> None:
    parser = argparse.ArgumentParser(description="From a file in a watched folder to the start of the retraining.")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        drop = work / "drop"
        drop.mkdir()
        recipe = work / "recipe.yaml"
        watched = "".join(line for line in RECIPE.splitlines(keepends=True) if not line.startswith("sample:"))
        recipe.write_text(watched + SOURCE.replace("DROP", str(drop)), encoding="utf-8")
        api = f"http://127.0.0.1:{(port := free_port())}/api"
        command = [RMFLOW, "up", "-c", str(recipe), "--prefect-port", str(port), "--mlflow-port", str(free_port())]
        environ = {**os.environ, "RMFLOW_HOME": str(work / "home"), "OMP_NUM_THREADS": "1"}
        with (work / "up.log").open("w") as log:
            up = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
        try:
            while "rmflow down" not in (work / "up.log").read_text():
                time.sleep(0.5)
            times = [_timed(drop, api, number) for number in range(options.repeats)]
        finally:
            up.terminate()
            up.wait()
    print("| dropped file to | median | each |\n|---|---|---|")
    for name, column in zip(("planned retraining", "started retraining"), zip(*times, strict=True), strict=True):
        print(f"| {name} | {statistics.median(column):.1f} s | {', '.join(f'{value:.1f}' for value in column)} |")


def _timed(drop: Path, api: str, number: int) -> tuple[float, float]:
    """Seconds from a dropped file until Prefect has a run for it, and until its code runs; waits for the run's end."""
    known = {run["id"] for run in _runs(api)}
    part = drop / "part"
    part.write_text("".join(f"{json.dumps(_row(number, row))}\n" for row in range(NUM_ROWS)), encoding="utf-8")
    dropped = time.time()
    part.rename(drop / f"{number}.jsonl")
    while True:
        (run,) = [run for run in _runs(api) if run["id"] not in known] or [None]
        if run is not None and run["end_time"]:
            return _seconds(run["created"]) - dropped, _seconds(run["start_time"]) - dropped
        time.sleep(0.5)


def _row(number: int, row: int) -> dict[str, str]:
    name = f"{number} and {row}"
    return {"prompt": f"What of {name}?", "chosen": f"A good answer, {name}.", "rejected": f"A bad one, {name}."}


def _runs(api: str) -> Any:
    asked = urllib.request.Request(f"{api}/flow_runs/filter", b"{}", {"content-type": "application/json"})
    with urllib.request.urlopen(asked) as answer:
        return json.load(answer)


def _seconds(time_of_prefect: str) -> float:
    return datetime.fromisoformat(time_of_prefect).timestamp()


if __name__ == "__main__":
    main()
