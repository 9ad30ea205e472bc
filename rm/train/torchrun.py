"""Torchrun that sends the first failure as a message: ``python -m rm.train.torchrun`` takes torchrun's arguments."""

from __future__ import annotations

import sys

from rm.train import messages


def main() -> None:
    """Run torchrun; if a process fails, send its rank and exit code and exit with code 1."""
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    try:
        run.main()
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        messages.send("failure", [rank, failure.exitcode])
        sys.exit(1)


if __name__ == "__main__":
    main()
