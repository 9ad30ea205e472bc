"""The callback that a stage calls to report its progress."""

from __future__ import annotations

from collections.abc import Callable

OnProgress = Callable[[int, int], None]
"""Called with the number of items done and the total number of items."""
