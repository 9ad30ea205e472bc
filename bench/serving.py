"""Rows per second of a served model: through MLflow's server by HTTP, and without it, for requests of several sizes.

A model with random weights in the shape of a small decoder is logged as the registry logs it; texts are made up, four
responses to each prompt. Each request is timed after one that warms up; medians are shown.

Usage: python bench/serving.py [--rows 256] [--repeats 3]
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

RMFLOW = str(Path(sys.executable).parent / "rmflow")
SIZES = (1, 8, 64)
SCRATCH = {
    "architecture": "llama",
    "vocab_size": 2000,
    "sizes": {
        "hidden_size": 256,
        "intermediate_size": 688,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
}
TEXT = "how far is it to the sea from here about a day's walk if you start early and rest at noon"


def main() -> None:
    parser = argparse.ArgumentParser(description="Rows per second of a served model.")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["RMFLOW_HOME"] = folder
        from tasks import environment

        environment.make_home()
        rows = _rows(options.rows)
        checkpoint, logged = _logged(Path(folder), rows)
        print("| | " + " | ".join(f"{size} rows per request" for size in SIZES) + " |")
        print("|---|" + "---|" * len(SIZES))
        _show("`Scorer`", _scorer(checkpoint), rows, options.repeats)
        with _Served(logged) as ask:
            _show("MLflow's server, HTTP", ask, rows, options.repeats)


def _rows(count: int) -> list[list[str]]:
    import random

    drawn = random.Random(0)

    def text(length: int) -> str:
        return " ".join(drawn.choices(TEXT.split(), k=length))

    prompts = [text(drawn.randint(5, 60)) for _ in range(-(-count // 4))]
    return [[prompts[number // 4], text(drawn.randint(5, 120))] for number in range(count)]


def _logged(folder: Path, rows: list[list[str]]) -> tuple[Path, str]:
    """A checkpoint, and the URI of a model that serves it."""
    import mlflow
    import torch

    from rm.model import base_files, base_models, export
    from rm.model.config import ModelConfig
    from tasks import serving, tracking

    base = base_files.resolve(ModelConfig.model_validate({"scratch": SCRATCH}))
    tokenizer = base_models.load_tokenizer(base, [text for row in rows for text in row])
    tokenizer.model_max_length = 512
    checkpoint = folder / "checkpoint"
    export.save(base_models.build(base, tokenizer, 0, torch.device("cpu")), tokenizer, checkpoint)
    mlflow.set_experiment(experiment_id=tracking.experiment_id(tracking.client(), "bench"))  # its files lie in the home
    made = mlflow.pyfunc.log_model(
        name="served", python_model=serving.__file__, artifacts={"checkpoint": str(checkpoint)}, pip_requirements=[]
    )
    return checkpoint, str(made.model_uri)


Ask = Callable[[list[list[str]]], None]


def _scorer(checkpoint: Path) -> Ask:
    from rm.data.preferences import Message
    from rm.score.scorer import Scorer

    scorer = Scorer(checkpoint)

    def ask(rows: list[list[str]]) -> None:
        scorer.score_texts([((Message("user", prompt),), response) for prompt, response in rows])

    return ask


class _Served:
    """MLflow's server of a model, until the end of the block."""

    def __init__(self, uri: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as found:
            self._port = found.getsockname()[1]
        command = ["exec", "mlflow", "models", "serve", "-m", uri, "--env-manager", "local", "-h", "127.0.0.1"]
        null = subprocess.DEVNULL
        self._process = subprocess.Popen(
            [RMFLOW, *command, "-p", str(self._port)], stdout=null, stderr=null, start_new_session=True
        )

    def __enter__(self) -> Ask:
        while True:
            if self._process.poll() is not None:
                sys.exit("mlflow models serve has ended")
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self._port}/health", timeout=5).close()
                return self._ask
            except OSError:
                time.sleep(0.2)

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, 15)
        self._process.wait()

    def _ask(self, rows: list[list[str]]) -> None:
        body = json.dumps({"dataframe_split": {"columns": ["prompt", "response"], "data": rows}}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}/invocations", data=body, headers={"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=600) as answer:
            assert len(json.load(answer)["predictions"]) == len(rows)


def _show(name: str, ask: Ask, rows: list[list[str]], repeats: int) -> None:
    cells = []
    for size in SIZES:
        ask(rows[:size])
        rates = [_rate(ask, rows, size) for _ in range(repeats)]
        cells.append(f"{statistics.median(rates):,.0f} rows/s")
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _rate(ask: Ask, rows: list[list[str]], size: int) -> float:
    started = time.perf_counter()
    for start in range(0, len(rows), size):
        ask(rows[start : start + size])
    return len(rows) / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
