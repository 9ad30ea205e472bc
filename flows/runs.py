"""What all flows have in common: how their runs are named, and how they end."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar, cast

import prefect
from prefect import Flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

import rm
from flows.records import Judged, Outcome
from rm.errors import LabelsRejected, Rejected
from rm.report.summary import MOST_REASONS
from tasks import flow_runs, outage, stages, tracebacks
from tasks.run_page import ENDINGS
from tasks.verdicts import NothingNew

P = ParamSpec("P")
R = TypeVar("R")


def flow(name: str) -> Callable[[Callable[P, R]], Flow[P, R]]:
    """Turn a function whose first parameter is ``config`` into a flow.

    If it raises `Rejected`, the run ends in the state Rejected or Inconclusive, which is of Prefect's type Failed.
    Callers get the exception itself. If it raises `NothingNew`, which only a schedule's run does, nobody calls it: the
    run ends as Completed, in a state of that name.
    """
    tracebacks.hide()  # here, since a worker's process imports flows and no command line
    return functools.partial(_as_flow, name)


def _as_flow(name: str, function: Callable[P, R]) -> Flow[P, R]:
    @functools.wraps(function)
    def ending_by_verdict(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with outage.watched(), stages.kept():
                result = function(*args, **kwargs)
            return cast("R", _ended(result))  # Prefect takes the result out of a state
        except Rejected as rejection:
            name = ENDINGS[rejection.verdict].capitalize()
            artifact = "labels" if isinstance(rejection, LabelsRejected) else "verdict"
            return cast("R", Failed(name=name, message=_message(rejection.reasons, artifact), data=rejection))
        except NothingNew as unchanged:
            return cast("R", Completed(name="Nothing new", message=str(unchanged)))

    # Prefect would look for the names of types among those of this module.
    ending_by_verdict.__signature__ = inspect.signature(function, eval_str=True)  # type: ignore[attr-defined]
    # A version of its own, or Prefect would digest the file of the function above.
    decorate = prefect.flow(name=name, flow_run_name=flow_runs.first_name, version=rm.__version__)
    return cast("Flow[P, R]", decorate(ending_by_verdict))


def _ended(result: object) -> object | State[object]:
    """The result; in a state that says what was registered, and has a name of its own if there are warnings."""
    judged = result.judged if isinstance(result, Outcome) else result
    if not isinstance(judged, Judged):
        return result
    decision = judged.decision
    name = "Completed" if decision.verdict == "passed" else ENDINGS[decision.verdict].capitalize()
    reasons = [*decision.warnings, *(check.reason for check in decision.waived)]
    return Completed(name=name, message=_message([*_registered(result), *reasons]) or None, data=result)


def _registered(result: object) -> list[str]:
    if not isinstance(result, Outcome):
        return []
    version = result.registered
    return [f"registered as {version.name}/{version.version}, {version.alias}"]


def _message(reasons: Sequence[str], artifact: str = "verdict") -> str:
    """As much as a person reads beside a state; an artifact of the run has them all."""
    more = len(reasons) - MOST_REASONS
    shown = "; ".join(reasons[:MOST_REASONS])
    return f"{shown}; and {more} more, in the artifact '{artifact}'" if more > 0 else shown
