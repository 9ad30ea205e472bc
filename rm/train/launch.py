"""Training in separate processes: memory is freed afterwards, and a crash or an interrupt ends in an error."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import IO, Any

import torch

from rm.errors import ConfigError, TrainingError
from rm.files import work_folder
from rm.model.base_files import BaseModelRef
from rm.model.config import ComputeConfig
from rm.model.manifests import CheckpointManifest
from rm.tokens.manifests import TokenizedManifest
from rm.train import loop, messages, torchrun, worker
from rm.train.config import TrainConfig
from rm.train.loop import OnStep
from rm.train.step import StepMetrics
from rm.train.worker import Job

LOGGER = logging.getLogger(__name__)
_NUM_LAST_LINES = 12
_GRACE_S = 40  # torchrun waits 30 s for its processes


def fit(
    tokenized: TokenizedManifest,
    base: BaseModelRef,
    config: TrainConfig,
    compute: ComputeConfig,
    folder: Path,
    on_step: OnStep | None = None,
) -> CheckpointManifest:
    """Train as `rm.train.loop.fit` does, in `ComputeConfig.num_processes` processes.

    One process on the CPU trains within this process; otherwise the processes run under torchrun.

    Raises
    ------
    ConfigError
        If there are fewer GPUs than processes.
    TrainingError
        With the error that a process raised, or the last lines of a process that died.
    """
    num_processes = compute.num_processes or max(1, torch.cuda.device_count())
    if torch.cuda.is_available() and num_processes > torch.cuda.device_count():
        raise ConfigError(
            f"compute.num_processes: expected at most {torch.cuda.device_count()}, the number of GPUs, got "
            f"{num_processes}"
        )
    if num_processes == 1 and not torch.cuda.is_available():
        return loop.fit(tokenized, base, config, compute, folder, on_step)
    job = Job(tokenized=tokenized, base=base, config=config, compute=compute, folder=folder, parent=os.getpid())
    with work_folder("rmflow-train") as logs:
        _run(job, num_processes, logs, on_step)
    return CheckpointManifest.read(folder)


def _run(job: Job, num_processes: int, logs: Path, on_step: OnStep | None) -> None:
    job_path = logs / "job.json"
    job_path.write_text(job.model_dump_json(), encoding="utf-8")
    command = [sys.executable, "-m", torchrun.__name__, "--standalone", f"--nproc-per-node={num_processes}"]
    command += [f"--log-dir={logs}", "--redirects=2", "-m", worker.__name__, str(job_path)]
    with _started(command) as (process, last_lines):
        received = _listen(process.stdout, on_step)
        if process.wait() == 0:
            return
    if "error" in received:
        raise TrainingError(received["error"])
    raise TrainingError(f"a training process died:\n{_reason(logs, received.get('failure'), list(last_lines))}")


@contextmanager
def _started(command: list[str]) -> Iterator[tuple[subprocess.Popen[str], deque[str]]]:
    """Start a process and keep the last lines of its standard error; it ends with the context at the latest."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    last_lines: deque[str] = deque(maxlen=200)
    reader = Thread(target=last_lines.extend, args=(process.stderr,), daemon=True)
    reader.start()
    try:
        yield process, last_lines
    finally:  # also when a flow is cancelled, by an exception
        if process.poll() is None:
            process.terminate()  # torchrun passes the signal on to every process that it started
            try:
                process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        reader.join(_GRACE_S)


def _listen(lines: IO[str] | None, on_step: OnStep | None) -> dict[str, Any]:
    """Pass on steps and log messages until the processes end; give the first message of each other kind."""
    first: dict[str, Any] = {}
    for line in lines or ():
        for kind, value in messages.receive(line).items():
            if kind == "log":
                LOGGER.log(*value)
            elif kind != "step":
                first.setdefault(kind, value)  # several processes often fail with the same error
            elif on_step:
                on_step(StepMetrics(**value))
    return first


def _reason(logs: Path, failure: tuple[int, int] | None, last_lines: list[str]) -> str:
    """Rank and exit code of the process that failed first, and the last lines of its standard error."""
    if failure is None:  # torchrun itself failed
        return "".join(last_lines[-_NUM_LAST_LINES:])
    rank, exit_code = failure
    written = "".join(file.read_text(errors="replace") for file in logs.rglob(f"{rank}/stderr.log"))
    tail = "\n".join(written.splitlines()[-_NUM_LAST_LINES:])
    return f"process {rank} ended with code {exit_code}; its last lines:\n{tail or '(none)'}"
