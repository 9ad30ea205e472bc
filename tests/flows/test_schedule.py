"""What a schedule starts, on a real server: nothing new ends at once, and the watcher knows what was trained on."""

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.flow_engine import run_flow
from prefect.states import Scheduled

from flows import deployments
from flows.retrain import retrain
from rm.pipeline.config import PipelineConfig
from tasks import environment, reading, retrainings, verdicts
from tasks.watcher import Watcher
from tests.flows.conftest import STRICT
from tests.flows.test_retrain import states_by_task
from tests.tasks.test_watcher import pairs

pytestmark = pytest.mark.usefixtures("prefect_server", "without_figures", "few_trees")


@pytest.fixture
def add(tmp_path):
    """Store pairs in the table of a recipe, as another process does it."""

    def store(config: PipelineConfig, first: int, num: int) -> None:
        file = tmp_path / f"{first}.jsonl"
        file.write_text(pairs(first, num))
        reading.read_in(config.ingest.model_copy(update={"sources": (str(file),)}))

    return store


@pytest.fixture
def recipe(tiny, request):
    """Its table is named after the test; no model passes its gate."""

    def build(**sections) -> PipelineConfig:
        schedule = {"cron": "0 3 * * *", "min_new_judgements": 5, "quiet_s": 10}
        given = {"sample": None, "ingest": {"table": request.node.originalname}, "gate": STRICT, "schedule": schedule}
        return tiny(**given | {"train": {"pairs_per_step": 8, "seed": 11}} | sections)

    return build


def deploy(config: PipelineConfig) -> str:
    deployments.make_pool("nobody-works-here")
    return deployments.deploy(config.ingest.table, config, "nobody-works-here")


def run_of(flow_run):
    """Run it here, as a worker does in a process of its own."""
    run_flow(retrain, flow_run=flow_run, return_type="state")
    with get_client(sync_client=True) as client:
        return client.read_flow_run(flow_run.id)


def by_schedule(deployment: str):
    """Run what the deployment's schedule plans next, now."""
    with get_client(sync_client=True) as client:
        found = client.read_deployment_by_name(deployment)
        client._client.post(f"/deployments/{found.id}/schedule", json={"min_runs": 20}).raise_for_status()
        planned = client.read_flow_runs(deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[found.id])))
        flow_run = next(run for run in planned if run.state.is_scheduled())
        assert flow_run.auto_scheduled
        client.set_flow_run_state(flow_run.id, Scheduled(), force=True)
        return run_of(client.read_flow_run(flow_run.id))


def by_hand(deployment: str):
    return run_of(retrainings.start(deployment, "asked for"))


@pytest.mark.parametrize("place", ["home", pytest.param("bucket", marks=pytest.mark.slow)])
def test_a_schedule_with_nothing_new_since_the_verdict_ends_at_once(recipe, add, place, request, monkeypatch):
    if place == "bucket":
        monkeypatch.setenv("RMFLOW_ANNOTATIONS", str(request.getfixturevalue("bucket")))
    config = recipe()
    add(config, 0, 60)
    deployment = deploy(config)
    first = by_schedule(deployment)
    assert first.state.name == "Rejected"
    run = by_schedule(deployment)
    assert (run.state.name, run.state.type.value) == ("Nothing new", "COMPLETED")
    assert first.name in run.state.message
    assert run.name.endswith(": nothing new")
    assert states_by_task(run.id).keys() == {"ingest", "find_base_model"}
    assert by_hand(deployment).state.name == "Rejected"
    add(config, 60, 1)
    assert by_schedule(deployment).state.name == "Rejected"
    assert by_schedule(deployment).state.name == "Nothing new"


def test_another_recipe_is_something_new_but_not_another_schedule(recipe, add):
    config = recipe()
    add(config, 0, 60)
    deployment = deploy(config)
    assert by_schedule(deployment).state.name == "Rejected"
    deploy(recipe(schedule={"cron": "0 4 * * *"}, compute={"tokens_per_batch": 512}))
    assert by_schedule(deployment).state.name == "Nothing new"
    deploy(recipe(train={"pairs_per_step": 8, "seed": 12}))
    assert by_schedule(deployment).state.name == "Rejected"


def test_a_recipe_that_has_lost_its_cron_is_planned_no_more(recipe):
    for schedule, num_planned in (({"cron": "0 3 * * *", "timezone": "Europe/Berlin"}, 1), ({}, 0)):
        deployment = deploy(recipe(schedule=schedule))
        with get_client(sync_client=True) as client:
            assert len(client.read_deployment_by_name(deployment).schedules) == num_planned


def test_a_retraining_that_stops_with_an_error_is_not_done(recipe, add):
    config = recipe(tokenize={"max_tokens": 8})  # has room for no response
    add(config, 0, 60)
    deployment = deploy(config)
    for _ in range(2):
        assert by_schedule(deployment).state.name == "Failed"


def test_the_watcher_starts_nothing_for_what_a_schedule_has_trained_on(recipe, add):
    config = recipe()
    add(config, 0, 60)
    deployment = deploy(config)
    by_schedule(deployment)
    watcher = Watcher(deployment, config)
    for now in (0, 20):
        watcher.look(now)
    assert len(retrainings.last_runs(deployment)) == 1
    place = environment.annotations_at(config.ingest.table)
    assert verdicts.read(place, deployment).num_stored == 60
