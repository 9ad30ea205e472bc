"""Prefect's log without tracebacks of errors that explain themselves."""

from __future__ import annotations

import logging
import re
import sqlite3

from rm.errors import Rejected, RmflowError, refusal
from tasks import environment

_LOGGERS = ("", "prefect.flow_runs", "prefect.task_runs")
"""Those with handlers, the first one with the terminal's; the records of all others reach them."""
_TOOLS = ("pyarrow", "deltalake", "mlflow", "prefect", "httpx", "sqlalchemy", "requests")
"""Libraries whose errors come from disks, networks and servers."""
_LINKER = ("failed to map segment", "cannot allocate memory", "cannot create shared object descriptor")
"""What it says of a library that it has no memory for."""
_END = re.compile(r"Finished in state [\w ]+(?=\([\"'])")
"""Where a state's message follows: that of an error, or the reasons of a verdict."""


class _Sentence(str):
    """What is said of an error, in the place of the error in a record."""

    __slots__ = ()


def hide() -> None:
    """Show errors of `rm.errors`, and of disks and servers, as one line from now on, in this process and in Prefect.

    That the gate rejects a model is no line of its own: the run's final state says it. Nor is an error of MLflow's
    database, such as a full disk, which MLflow shows with a traceback before it raises an exception that says it. Nor
    that bitsandbytes, which peft loads for any adapter, lacks a kernel from a hub, which `rm.model.quantization` never
    uses.
    """
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
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


def explain(error: BaseException) -> str | None:
    """One sentence for an error of the machine: disk, memory, network, a broken file; None for one of the program."""
    is_of_a_tool = any(each.__module__.partition(".")[0] in _TOOLS for each in type(error).__mro__)
    is_known = isinstance(error, OSError) or _is_memory(error) or is_of_a_tool or refusal(error)
    if not is_known or environment.shows_tracebacks():
        return None
    return f"{_reason(error)}; RMFLOW_TRACEBACK=1 shows where"


def _reason(error: BaseException) -> str:
    """What the disk said, if that is what a library's error comes from; else the error's first line."""
    if _is_memory(error):
        return "there is not enough memory"
    cause: BaseException | None = error
    while cause is not None:
        if refusal(cause) or isinstance(cause, sqlite3.OperationalError):
            return str(cause).partition("\n")[0]
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return str(error).partition("\n")[0] or type(error).__name__


def _is_memory(error: BaseException) -> bool:
    """Whether memory is short; the dynamic linker says so in an ImportError."""
    return isinstance(error, MemoryError) or (
        isinstance(error, ImportError) and any(one in str(error) for one in _LINKER)
    )


def _not_at_the_end(record: logging.LogRecord) -> bool:
    if isinstance(record.msg, str) and (end := _END.match(record.msg)):
        record.msg = end[0]
    error = record.exc_info[1] if record.exc_info else None
    parts = record.args if isinstance(record.args, tuple) else ()
    return record.levelno < logging.ERROR or not any(_is_told(one) for one in (error, *parts))


def _is_told(error: object) -> bool:
    """Whether the command says it itself at its end."""
    return isinstance(error, RmflowError | _Sentence) or (isinstance(error, Exception) and explain(error) is not None)


def _without_traceback(record: logging.LogRecord) -> bool:
    is_error = record.levelno >= logging.ERROR  # a warning says what it is about, and the work goes on
    if is_error and record.exc_info and (error := record.exc_info[1]) and _is_told(error):
        said = error if isinstance(error, RmflowError) else _Sentence(explain(error))
        record.msg, record.args = "stopped: %s", (said,)
        record.exc_info, record.exc_text = None, None
    # By the arguments, since a second handler gets the record as the first one left it.
    return not (isinstance(record.args, tuple) and any(isinstance(one, Rejected) for one in record.args))
