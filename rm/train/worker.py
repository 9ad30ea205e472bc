"""One process of several that train a model: ``torchrun -m rm.train.worker job.json``; `rm.train.launch` starts them.

It says what happens in lines of JSON on its standard output: a step's metrics, a message for the log, or an error.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rm.errors import RmflowError
from rm.model.base_models import BaseModelRef
from rm.model.config import ComputeConfig
from rm.section import Section
from rm.tokens.manifests import TokenizedManifest
from rm.train import distributed, loop
from rm.train.config import TrainConfig
from rm.train.distributed import World
from rm.train.step import StepMetrics


class Job(Section):
    """What to train, and who asked for it."""

    tokenized: TokenizedManifest
    base: BaseModelRef
    config: TrainConfig
    compute: ComputeConfig
    folder: Path
    parent: int
    """Process id; when it is gone, so is the reason to go on."""


def say(kind: str, value: Any) -> None:
    """Write one line, in one piece: several processes share the pipe."""
    sys.stdout.write(json.dumps({kind: value}) + "\n")
    sys.stdout.flush()


class _Log(logging.Handler):
    """Hands the library's messages to the process that started this one."""

    def emit(self, record: logging.LogRecord) -> None:
        say("log", [record.levelno, record.getMessage()])


def _end_with(parent: int) -> None:
    """End this process when another, or torchrun, is gone, however it went: nobody would end it otherwise."""
    torchrun = os.getppid()

    def watch() -> None:
        while _is_alive(parent) and os.getppid() == torchrun:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, PermissionError):  # gone, or the number is another user's process by now
        return False
    return True


def work(job: Job, world: World) -> None:
    """Train as one of the processes; only the first one speaks."""

    def on_step(metrics: StepMetrics) -> None:
        say("step", asdict(metrics))

    first = world.rank == 0
    if first:
        logging.getLogger("rm").addHandler(_Log())
    loop.fit_together(job.tokenized, job.base, job.config, job.compute, job.folder, world, on_step if first else None)


def main() -> None:
    """Read the job, join the other processes, train."""
    job = Job.model_validate_json(Path(sys.argv[1]).read_bytes())
    _end_with(job.parent)
    try:
        work(job, distributed.join(sharded=job.compute.sharded))
    except RmflowError as error:
        say("error", str(error))
        sys.exit(1)
    distributed.leave()


if __name__ == "__main__":
    main()
