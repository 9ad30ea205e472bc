"""The entry point of the command line: signals are handled before anything that takes time is imported."""

from __future__ import annotations

from flows.cli import interrupts


def main() -> None:
    """Run ``rmflow``."""
    interrupts.install()
    from flows.cli import app

    app.main()
