"""Prefect's log without tracebacks of errors that explain themselves."""

from __future__ import annotations

import logging
import re

from rm.errors import GateRejected, RmflowError

_LOGGERS = ("", "prefect.flow_runs", "prefect.task_runs")
"""Those with handlers, the first one with the terminal's; the records of all others reach them."""
_END = re.compile(r"Finished in state [\w ]+(?=\([\"'])")
"""Where a state's message follows: that of an error, or the reasons of a verdict."""


def hide() -> None:
    """Show errors of `rm.errors` as one line from now on, on the terminal and in Prefect, in this process.

    That the gate rejects a model is no line of its own: the run's final state says it. Nor is an error of MLflow's
    database, such as a full disk, which MLflow shows with a traceback before it raises an exception that says it.
    """
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    for name in _LOGGERS:
        for handler in logging.getLogger(name).handlers:
            handler.addFilter(_without_traceback)


def leave_to_the_command() -> None:
    """Show on the terminal no error and no reason that the command says itself at its end; Prefect keeps them all.

    Nor that events are still being sent then, which loses nothing.
    """
    logging.getLogger("EventsWorker").setLevel(logging.ERROR)
    for handler in logging.getLogger().handlers:  # the last to get a record
        handler.addFilter(_not_at_the_end)


def _not_at_the_end(record: logging.LogRecord) -> bool:
    if isinstance(record.msg, str) and (end := _END.match(record.msg)):
        record.msg = end[0]
    error = record.exc_info[1] if record.exc_info else None
    parts = record.args if isinstance(record.args, tuple) else ()
    return not any(isinstance(one, RmflowError) for one in (error, *parts))


def _without_traceback(record: logging.LogRecord) -> bool:
    if record.exc_info and isinstance(error := record.exc_info[1], RmflowError):
        record.msg, record.args = "stopped: %s", (error,)
        record.exc_info, record.exc_text = None, None
    # By the arguments, since a second handler gets the record as the first one left it.
    return not (isinstance(record.args, tuple) and any(isinstance(one, GateRejected) for one in record.args))
