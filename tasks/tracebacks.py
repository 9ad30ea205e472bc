"""Prefect's log without tracebacks of errors that explain themselves."""

from __future__ import annotations

import logging

from rm.errors import GateRejected, RmflowError

_LOGGERS = ("", "prefect.flow_runs", "prefect.task_runs")
"""Those with handlers, the first one with the terminal's; the records of all others reach them."""


def hide() -> None:
    """Show errors of `rm.errors` as one line from now on, on the terminal and in Prefect, in this process.

    That the gate rejects a model is no line of its own: the run's final state says it.
    """
    for name in _LOGGERS:
        for handler in logging.getLogger(name).handlers:
            handler.addFilter(_without_traceback)


def _without_traceback(record: logging.LogRecord) -> bool:
    if record.exc_info and isinstance(error := record.exc_info[1], RmflowError):
        record.msg, record.args = "stopped: %s", (error,)
        record.exc_info, record.exc_text = None, None
    # By the arguments, since a second handler gets the record as the first one left it.
    return not (isinstance(record.args, tuple) and any(isinstance(one, GateRejected) for one in record.args))
