"""Torchrun that sends the first failure as a message: ``python -m rm.train.torchrun`` takes torchrun's arguments."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping

from rm.train import messages


def main() -> None:
    """Run torchrun; if a process fails, send its rank and exit code and exit with code 1."""
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    try:
        run.main()
    except ChildFailedError as error:
        messages.send("failure", list(first_failure({rank: each.exitcode for rank, each in error.failures.items()})))
        sys.exit(1)


def first_failure(exit_codes: Mapping[int, int]) -> tuple[int, int]:
    """Rank and exit code of the failure that ended the others.

    Torchrun ends the others with SIGTERM and notes all of them within one second, so their times do not tell which was
    first.
    """
    rank = min(exit_codes, key=lambda rank: exit_codes[rank] == -signal.SIGTERM)
    return rank, exit_codes[rank]


if __name__ == "__main__":
    main()
