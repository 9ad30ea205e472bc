"""Time and peak memory of a training, as both sides of `training.py` are measured."""

from __future__ import annotations

import math
import resource
import time

import torch


class Meter:
    """Time and peak memory of a training."""

    def __init__(self) -> None:
        self.started = self.cpu_started = math.nan
        self.measured: dict[str, float] = {}

    def start(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.measured["start_rss_bytes"] = peak_rss()
        self.started, self.cpu_started = time.perf_counter(), time.process_time()

    def step(self, *, last: bool) -> None:
        """To be called after each optimizer step."""
        if math.isnan(self.started):
            raise RuntimeError("a step has ended, but the start of training was not seen")
        if torch.cuda.is_available() and last:
            torch.cuda.synchronize()
            self.measured["cuda_peak_bytes"] = torch.cuda.max_memory_allocated()
        self.measured["duration_s"] = time.perf_counter() - self.started
        self.measured.setdefault("first_step_s", self.measured["duration_s"])  # with what is done only once
        self.measured["cpu_s"] = time.process_time() - self.cpu_started  # far below duration_s: the machine was busy
        self.measured["peak_rss_bytes"] = peak_rss()


def peak_rss() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
