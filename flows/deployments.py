"""The deployments of a recipe: its flows on a Prefect server, with its schedule."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.schedules import Cron
from prefect.types.entrypoint import EntrypointType

from flows.ingest import ingest
from flows.retrain import retrain
from rm.data.sources import HUB_PREFIX
from rm.pipeline.config import PipelineConfig
from tasks import notifications


def make_pool(name: str) -> None:
    """Make the work pool of this machine; one run at a time, since each takes the whole machine."""
    with get_client(sync_client=True) as client, suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=name, type="process", concurrency_limit=1))


def kind_of_pool(name: str) -> str | None:
    """Kind of a work pool, such as process, docker or kubernetes; None if Prefect has none of this name."""
    with get_client(sync_client=True) as client:
        try:
            return client.read_work_pool(name).type
        except ObjectNotFound:
            return None


def deploy(name: str, config: PipelineConfig, pool: str, retrain_pool: str | None = None) -> str:
    """Deploy a recipe's flows; returns the deployment that retrains, such as ``retrain/nightly``.

    Parameters
    ----------
    name : str
        Of the recipe.
    config : PipelineConfig
        Its files are read by whoever watches them, and not by the retraining: one may be half written.
    pool : str
        The work pool of this machine.
    retrain_pool : str, optional
        The work pool that retrains, such as one with GPUs. Default: the same.
    """
    hub = tuple(source for source in config.ingest.sources if source.startswith(HUB_PREFIX))
    watched = config.model_copy(update={"ingest": config.ingest.model_copy(update={"sources": hub})})
    schedule = config.schedule
    deployment = f"{retrain.name}/{name}"
    deployment_id = _apply(
        retrain,
        name,
        retrain_pool or pool,
        watched,
        "Train a reward model, and register it if the audit lets it pass.",
        parameters={"remedy": schedule.remedy},
        schedules=[Cron(schedule.cron, timezone=schedule.timezone)] if schedule.cron else [],
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE),
    )
    notifications.set_up(deployment, deployment_id, schedule)
    _apply(ingest, name, pool, config, "Read new annotations into the table.")
    return deployment


def _apply(
    flow: Flow[..., Any],
    name: str,
    pool: str,
    config: PipelineConfig,
    description: str,
    parameters: Mapping[str, Any] = MappingProxyType({}),
    **options: Any,
) -> UUID:
    # Of containers the image and the work pool's template say it.
    here = {"working_dir": str(Path.cwd())} if kind_of_pool(pool) == "process" else {}
    deployment = flow.to_deployment(
        name,
        parameters={"config": config.model_dump(mode="json", exclude_unset=True), **parameters},
        work_pool_name=pool,
        job_variables=here,
        entrypoint_type=EntrypointType.MODULE_PATH,
        description=description,
        **options,
    )
    assert isinstance(deployment, RunnerDeployment)  # and no coroutine, since no event loop runs here
    return cast("UUID", deployment.apply())
