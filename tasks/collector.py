"""Python's collector of garbage, which rests while modules are imported."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def resting() -> Iterator[None]:
    """Collect no garbage within this block, and leave what it made out of all later collections.

    Modules stay until the process ends. The collector would go through all of them again and again while they are
    imported, which takes a quarter of the time.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
