"""The names of Prefect's flow runs, by which a person tells them apart in a list."""

from __future__ import annotations

from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext

from rm.data.config import IngestConfig
from tasks import run_page


def first_name() -> str:
    """The name of a run that begins: model and table, and what started it."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or context.parameters is None:
        raise RuntimeError("only a flow run has a name")
    config = context.parameters["config"]
    if isinstance(config, IngestConfig):
        subject = config.table
    elif context.flow and context.flow.name == "ingest":
        subject = run_page.table_name(config)
    else:
        subject = run_page.subject(config)
    starter = context.flow_run.created_by  # a schedule or an automation
    reasons = ", ".join(context.flow_run.tags)  # the watcher's
    by = starter.display_value if starter and starter.display_value else reasons
    return f"{subject}, {by or 'by hand'}"


def rename(name: str) -> None:
    """Give the flow run that this is part of another name; without one, nothing happens."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or context.flow_run.name == name:
        return
    with get_client(sync_client=True) as client:
        client.set_flow_run_name(context.flow_run.id, name)
    context.flow_run.name = name


def name() -> str | None:
    """The name of the flow run that this is part of."""
    context = FlowRunContext.get()
    return context.flow_run.name if context and context.flow_run else None


def deployment() -> str | None:
    """The deployment that this run is of, such as ``retrain/nightly``; None if it is of none."""
    context = FlowRunContext.get()
    if context is None or context.flow is None or context.flow_run is None or context.flow_run.deployment_id is None:
        return None
    with get_client(sync_client=True) as client:
        return f"{context.flow.name}/{client.read_deployment(context.flow_run.deployment_id).name}"


def is_scheduled() -> bool:
    """Whether a schedule has started this run, and no person, watcher or event."""
    context = FlowRunContext.get()
    return bool(context and context.flow_run and context.flow_run.auto_scheduled)
