"""Training in processes of its own: memory is freed, a crash is an error with a reason, and an interrupt stops all."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import IO, Any

import torch

from rm.errors import ConfigError, TrainingError
from rm.model.base_models import BaseModelRef
from rm.model.config import ComputeConfig
from rm.model.manifests import CheckpointManifest
from rm.tokens.manifests import TokenizedManifest
from rm.train import loop
from rm.train.config import TrainConfig
from rm.train.loop import OnStep
from rm.train.step import StepMetrics
from rm.train.worker import Job

LOGGER = logging.getLogger(__name__)
_NUM_LAST_LINES = 12
_GRACE_S = 40  # torchrun gives its own processes 30


def fit(
    tokenized: TokenizedManifest,
    base: BaseModelRef,
    config: TrainConfig,
    compute: ComputeConfig,
    folder: Path,
    on_step: OnStep | None = None,
) -> CheckpointManifest:
    """Train as `rm.train.loop.fit` does, in as many processes as the configuration or the machine says.

    One process on the CPU trains in line; anything else runs under torchrun.

    Raises
    ------
    ConfigError
        If there are fewer GPUs than processes.
    TrainingError
        What a process raised, or its last lines if it died.
    """
    num_processes = compute.num_processes or max(1, torch.cuda.device_count())
    if torch.cuda.is_available() and num_processes > torch.cuda.device_count():
        raise ConfigError(f"compute.num_processes is {num_processes}, but there are {torch.cuda.device_count()} GPUs")
    if num_processes == 1 and not torch.cuda.is_available():
        return loop.fit(tokenized, base, config, compute, folder, on_step)
    job = Job(tokenized=tokenized, base=base, config=config, compute=compute, folder=folder, parent=os.getpid())
    with tempfile.TemporaryDirectory(prefix="rmflow-train-") as logs:
        _run(job, num_processes, Path(logs), on_step)
    return CheckpointManifest.read(folder)


def _run(job: Job, num_processes: int, logs: Path, on_step: OnStep | None) -> None:
    job_path = logs / "job.json"
    job_path.write_text(job.model_dump_json(), encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={num_processes}"]
    command += [f"--log-dir={logs}", "--redirects=2", "-m", "rm.train.worker", str(job_path)]
    with _started(command) as (process, last_lines):
        errors = list(_listen(process.stdout, on_step))
        if process.wait() == 0:
            return
    if errors:  # of several processes that failed alike
        raise TrainingError(errors[0])
    raise TrainingError(f"a training process died:\n{_reason(logs, list(last_lines))}")


@contextmanager
def _started(command: list[str]) -> Iterator[tuple[subprocess.Popen[str], deque[str]]]:
    """A process whose standard error is kept in part, and which does not outlive the context."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    last_lines: deque[str] = deque(maxlen=200)
    reader = Thread(target=last_lines.extend, args=(process.stderr,), daemon=True)
    reader.start()
    try:
        yield process, last_lines
    finally:  # a cancelled flow comes here with the exception that ends it
        if process.poll() is None:
            process.terminate()  # torchrun passes it on to every process that it started
            try:
                process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        reader.join(_GRACE_S)


def _listen(lines: IO[str] | None, on_step: OnStep | None) -> Iterator[str]:
    """Pass on what the processes say, and give their errors."""
    for line in lines or ():
        for kind, value in _message(line).items():
            if kind == "step" and on_step:
                on_step(StepMetrics(**value))
            elif kind == "log":
                LOGGER.log(*value)
            elif kind == "error":
                yield str(value)


def _message(line: str) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except ValueError:  # some library's own words
        return {}
    return message if isinstance(message, dict) else {}


def _reason(logs: Path, last_lines: list[str]) -> str:
    """Which process died first, how, and what it said last."""
    summary = "".join(last_lines)
    root = re.search(r"Root Cause.*?rank\s*:\s*(\d+).*?exitcode\s*:\s*(-?\d+)", summary, flags=re.DOTALL)
    if root is None:
        return "".join(last_lines[-_NUM_LAST_LINES:])
    rank, exit_code = root.groups()
    said = "".join(file.read_text(errors="replace") for file in logs.rglob(f"{rank}/stderr.log"))
    tail = "\n".join(said.splitlines()[-_NUM_LAST_LINES:])
    return f"process {rank} ended with code {exit_code}; its last lines:\n{tail or '(none)'}"
