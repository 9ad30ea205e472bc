"""Prefect ignores keys that it does not know, so a misspelt one would deploy without a word."""

import importlib
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
import yaml
from prefect.events.schemas.automations import AutomationCore, EventTrigger

from flows.ingest import STORED_EVENT
from rm.pipeline.config import NotifyConfig, PipelineConfig
from tasks import notifications

PROJECT = Path(__file__).parents[2]
CONTENT = yaml.safe_load((PROJECT / "prefect.yaml").read_text(encoding="utf-8"))
DEPLOYMENTS = {deployment["name"]: deployment for deployment in CONTENT["deployments"]}
KEYS = {
    "name",
    "description",
    "entrypoint",
    "parameters",
    "work_pool",
    "schedules",
    "triggers",
    "concurrency_limit",
}
TRIGGER_KEYS = {"type", "name", "posture", "expect", "match", "threshold", "within", "schedule_after"}


def test_ingest_retrain_and_audit_are_deployed():
    assert set(DEPLOYMENTS) == {"ingest", "retrain", "audit"}


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_keys_are_known_and_the_entrypoint_is_a_flow_that_takes_the_parameters(deployment):
    assert set(deployment) <= KEYS
    file, _, name = deployment["entrypoint"].partition(":")
    flow = getattr(importlib.import_module(file.removesuffix(".py").replace("/", ".")), name)
    assert flow.name == deployment["name"]
    assert set(deployment["parameters"]) <= set(flow.parameters.properties)
    PipelineConfig.model_validate(deployment["parameters"]["config"])


def test_retrain_runs_on_a_schedule_with_a_time_zone_and_on_the_event_that_ingestion_emits():
    (schedule,) = DEPLOYMENTS["retrain"]["schedules"]
    assert ZoneInfo(schedule["timezone"])
    assert len(schedule["cron"].split()) == 5
    (trigger,) = DEPLOYMENTS["retrain"]["triggers"]
    assert set(trigger) <= TRIGGER_KEYS
    assert trigger["expect"] == [STORED_EVENT]
    # A run that began earlier would not read what the events brought that start no other.
    assert trigger["schedule_after"] >= trigger["within"]


def test_the_messages_are_those_that_a_recipe_asks_for():
    values = yaml.safe_load((PROJECT / "deploy" / "notify.yaml").read_text(encoding="utf-8"))
    entry, block = NotifyConfig(block="slack-webhook/team"), UUID(values["actions"][0]["block_document_id"])
    ours = notifications.automation("retrain/retrain", block, entry, block)
    theirs = AutomationCore.model_validate(values)
    assert set(values["trigger"]) <= set(EventTrigger.model_fields)
    assert theirs.actions == ours.actions
    same = {"match_related"}  # there by name, since the file does not know the deployment's id
    assert theirs.trigger.model_dump(exclude=same) == ours.trigger.model_dump(exclude=same)
    assert theirs.trigger.match_related["prefect.resource.name"] == ["retrain"]


def test_the_parameters_show_as_a_form_in_the_interface():
    from flows.retrain import retrain

    definitions = retrain.parameters.definitions
    assert definitions["TrainConfig"]["properties"]["learning_rate"]["type"] == "number"
