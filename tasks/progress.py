"""Progress bars."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tqdm import tqdm

from rm.progress import OnProgress

if TYPE_CHECKING:
    from rm.train.loop import OnStep
    from rm.train.step import StepMetrics


_WHERE: list[str] = []
"""What the bar that is shown says last."""


def where() -> str:
    """The point that this process has reached, such as "step 150 of 261"; empty if nothing is counted now."""
    return _WHERE[-1] if _WHERE else ""


@contextmanager
def _shown(title: str, unit: str) -> Iterator[tqdm[None]]:
    with _bar(title, unit) as bar:
        _WHERE.append(title)
        yield bar
    _WHERE.pop()  # not after an exception: then this is where it happened


def _bar(title: str, unit: str) -> tqdm[None]:
    # A log file gets a line every ten seconds, a terminal a live bar.
    every_s = 0.1 if sys.stderr.isatty() else 10.0
    return tqdm(desc=title, unit=unit, mininterval=every_s, dynamic_ncols=True)


@contextmanager
def items(title: str, unit: str) -> Iterator[OnProgress]:
    """A bar for a stage that reports the number of items done and the total."""
    with _shown(title, unit) as bar:

        def advance(done: int, total: int) -> None:
            _WHERE[-1] = f"{title}, {unit} {done} of {total}"
            bar.total = total
            bar.update(done - bar.n)

        yield advance


@contextmanager
def steps(title: str) -> Iterator[OnStep]:
    """A bar for training, with loss and accuracy."""
    with _shown(title, "step") as bar:

        def advance(metrics: StepMetrics) -> None:
            _WHERE[-1] = f"step {metrics.step} of {metrics.num_steps}"
            bar.total = metrics.num_steps
            bar.set_postfix(
                loss=f"{metrics.loss:.3f}",
                accuracy=f"{metrics.accuracy:.2f}",
                pairs_s=f"{metrics.pairs_per_s:.0f}",
                refresh=False,
            )
            bar.update(metrics.step - bar.n)

        yield advance


def ending(kept: int, taken: tuple[int, int] | None) -> str:
    """How a training ended: from the step whose weights were kept, the last step that was taken, and their number."""
    if taken is None:
        return f"weights of step {kept}"
    step, num_steps = taken
    which = "" if kept == step else f", with the weights of step {kept}"
    return f"stopped early at step {step} of {num_steps}{which}" if step < num_steps else f"took {step} steps{which}"
