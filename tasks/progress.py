"""Progress bars."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from rm.progress import OnProgress
from rm.train.loop import OnStep
from rm.train.step import StepMetrics


def _bar(title: str, unit: str) -> tqdm[None]:
    # A log file gets a line every ten seconds, a terminal a live bar.
    every_s = 0.1 if sys.stderr.isatty() else 10.0
    return tqdm(desc=title, unit=unit, mininterval=every_s, dynamic_ncols=True)


@contextmanager
def items(title: str, unit: str) -> Iterator[OnProgress]:
    """A bar for a stage that reports the number of items done and the total."""
    with _bar(title, unit) as bar:

        def advance(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield advance


@contextmanager
def steps(title: str) -> Iterator[OnStep]:
    """A bar for training, with loss and accuracy."""
    with _bar(title, "step") as bar:

        def advance(metrics: StepMetrics) -> None:
            bar.total = metrics.num_steps
            bar.set_postfix(
                loss=f"{metrics.loss:.3f}",
                accuracy=f"{metrics.accuracy:.2f}",
                pairs_s=f"{metrics.pairs_per_s:.0f}",
                refresh=False,
            )
            bar.update(metrics.step - bar.n)

        yield advance
