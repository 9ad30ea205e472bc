"""One of the processes that train a model: ``torchrun -m rm.train.worker job.json``; `rm.train.launch` starts them.

It reports its progress with `rm.train.messages`.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

from torch.distributed.elastic.multiprocessing.errors import ErrorHandler, record

from rm.errors import RmflowError
from rm.files import replacing
from rm.model.base_files import BaseModelRef
from rm.model.config import ComputeConfig
from rm.section import Section
from rm.tokens.manifests import TokenizedManifest
from rm.train import distributed, loop, messages
from rm.train.config import TrainConfig
from rm.train.distributed import World
from rm.train.step import StepMetrics


class Job(Section):
    """A training job: its inputs, configuration and output folder."""

    tokenized: TokenizedManifest
    base: BaseModelRef
    config: TrainConfig
    compute: ComputeConfig
    folder: Path
    parent: int
    """Id of the process that started the job; the training processes end with it."""


class _Log(logging.Handler):
    """Sends the library's log messages to the process that started this one."""

    def emit(self, record: logging.LogRecord) -> None:
        messages.send("log", [record.levelno, record.getMessage()])


def _end_with(parent: int) -> None:
    """End this process when the parent or torchrun has ended: a torchrun that was killed cannot end it."""
    torchrun = os.getppid()

    def watch() -> None:
        while _is_alive(parent) and os.getppid() == torchrun:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, PermissionError):  # ended, or its id belongs to another user's process now
        return False
    return True


def work(job: Job, world: World) -> None:
    """Train as one of the processes; only the first one sends messages."""

    def on_step(metrics: StepMetrics) -> None:
        messages.send("step", asdict(metrics))

    first = world.rank == 0
    if first:
        logging.getLogger("rm").addHandler(_Log())
    loop.fit_together(job.tokenized, job.base, job.config, job.compute, job.folder, world, on_step if first else None)


class WholeErrorFile(ErrorHandler):
    """Writes torchrun's error file whole or not at all: torchrun dies of a half-written one.

    It reads the files of all processes when the first has failed, while others may be failing for the same reason.
    """

    def record_exception(self, e: BaseException) -> None:
        """Write an exception with its time, which shows which process failed first."""
        with replacing(Path(os.environ[_ERROR_FILE])) as partial:
            os.environ[_ERROR_FILE] = str(partial)
            super().record_exception(e)


_ERROR_FILE = "TORCHELASTIC_ERROR_FILE"


def main() -> None:
    """Read the job, join the other processes, train."""
    job = Job.model_validate_json(Path(sys.argv[1]).read_bytes())
    _end_with(job.parent)
    try:
        work(job, distributed.join(sharded=job.compute.sharded))
    except RmflowError as error:
        messages.send("error", str(error))
        sys.exit(1)
    distributed.leave()


if __name__ == "__main__":
    record(main, WholeErrorFile())()
