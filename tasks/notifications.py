"""Messages about how retrainings end: Prefect's automations send them to the notification blocks of a recipe."""

from __future__ import annotations

from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import BlockDocument
from prefect.events.actions import SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound

from rm.errors import ConfigError
from rm.pipeline.config import Ending, NotifyConfig, ScheduleConfig
from tasks.run_page import ENDINGS

_STATES: dict[Ending, tuple[str, ...]] = {
    "registered": ("Completed", ENDINGS["passed_with_warnings"].capitalize()),
    "rejected": (ENDINGS["failed"].capitalize(),),
    "inconclusive": (ENDINGS["inconclusive"].capitalize(),),
    "failed": ("Failed",),
    "crashed": ("Crashed",),
}
"""Names of the states in which a run ends (`flows.runs`)."""
# Templates: Prefect fills them in when it sends.
_SUBJECT = "retrain/{{ deployment.name }}: {{ flow_run.state.name }}"
_BODY = "{{ flow_run.name }}\n{{ flow_run.state.message or '' }}\n{{ flow_run|ui_url }}"


def check(schedule: ScheduleConfig) -> None:
    """Check that Prefect has the blocks of a recipe.

    Raises
    ------
    ConfigError
        If it lacks one, or one sends no messages.
    """
    with get_client(sync_client=True) as client:
        for entry in schedule.notify:
            _block(client, entry)


def set_up(deployment: str, deployment_id: UUID, schedule: ScheduleConfig) -> None:
    """Tell how the runs of a deployment end.

    Automations of an earlier call are gone by now: they belong to the deployment, and Prefect removes what belongs to
    one whenever it is deployed.
    """
    with get_client(sync_client=True) as client:
        for entry in schedule.notify:
            client.create_automation(automation(deployment, deployment_id, entry, _block(client, entry).id))


def _block(client: SyncPrefectClient, entry: NotifyConfig) -> BlockDocument:
    kind, _, name = entry.block.partition("/")
    try:
        found = client.read_block_document_by_name(name, kind)
    except ObjectNotFound:
        raise ConfigError(
            f"schedule.notify: Prefect has no block {entry.block!r}; make it on the page Blocks of Prefect, "
            "which `rmflow up` without this recipe shows"
        ) from None
    if found.block_schema is None or "notify" not in found.block_schema.capabilities:
        raise ConfigError(f"schedule.notify: expected a block that sends messages, got {entry.block!r}")
    return found


def automation(deployment: str, deployment_id: UUID, entry: NotifyConfig, block_id: UUID) -> AutomationCore:
    """What sends the messages of an entry; it belongs to the deployment."""
    owner = f"prefect.deployment.{deployment_id}"
    return AutomationCore(
        name=f"rmflow: {deployment} to {entry.block}",
        trigger=EventTrigger(
            expect={f"prefect.flow-run.{state}" for ending in entry.when for state in _STATES[ending]},
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
            match_related=ResourceSpecification({"prefect.resource.role": "deployment", "prefect.resource.id": owner}),
            for_each={"prefect.resource.id"},
        ),
        actions=[SendNotification(block_document_id=block_id, subject=_SUBJECT, body=_BODY)],
        owner_resource=owner,
    )
