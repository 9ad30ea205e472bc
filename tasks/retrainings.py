"""Runs of the deployments: started, looked at, and called crashed where their process is gone."""

from __future__ import annotations

from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import Crashed

_AT_WORK = (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)


def last_runs(deployment: str, limit: int = 20) -> list[FlowRun]:
    """The runs of a deployment, such as ``retrain/nightly``, that have begun or wait for their turn, newest first."""
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            deployment_filter=_only(client, deployment), sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=200
        )
    # What a schedule plans for later has not begun.
    return [run for run in runs if not (run.auto_scheduled and run.state and run.state.is_scheduled())][:limit]


def is_busy(runs: list[FlowRun]) -> bool:
    """Whether one of some runs is at work or waits for its turn."""
    return any(run.state is not None and not run.state.is_final() for run in runs)


def num_crashed(runs: list[FlowRun]) -> int:
    """How many of the newest runs in a row have crashed."""
    for number, run in enumerate(runs):
        if run.state is None or not run.state.is_crashed():
            return number
    return len(runs)


def start(deployment: str, reason: str) -> FlowRun:
    """Start a run of a deployment; the reason is one of its tags."""
    with get_client(sync_client=True) as client:
        found = client.read_deployment_by_name(deployment)
        return client.create_flow_run_from_deployment(found.id, tags=[reason])


def call_crashed(pool: str, why: str) -> list[UUID]:
    """Call the runs crashed that a pool's worker, which is gone, had begun; returns their ids."""
    from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName

    states = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(_AT_WORK))))
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_run_filter=states, work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool]))
        )
        for run in runs:
            client.set_flow_run_state(run.id, Crashed(message=why), force=True)
    return [run.id for run in runs]


def _only(client: SyncPrefectClient, deployment: str) -> DeploymentFilter:
    return DeploymentFilter(id=DeploymentFilterId(any_=[client.read_deployment_by_name(deployment).id]))
