"""Messages about how retrainings end, sent by a real Prefect server to a web server of this machine."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock, SlackWebhook
from prefect.blocks.system import Secret
from prefect.client.orchestration import get_client
from prefect.events.worker import EventsWorker
from prefect.flow_engine import run_flow
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Crashed

from flows import deployments
from flows.retrain import retrain
from rm.errors import ConfigError
from rm.pipeline.config import PipelineConfig, ScheduleConfig
from tasks import notifications, retrainings
from tests.flows.conftest import STRICT
from tests.flows.test_whole_runs import RMFLOW, answer, environment, free_port, started, wait_for  # noqa: F401

POOL = "nobody-works-here"


def automations() -> dict[str, list[str]]:
    """Name of each automation to the events that it waits for."""
    with get_client(sync_client=True) as client:
        return {found.name: sorted(found.trigger.expect) for found in client.read_automations()}


def deploy(tiny, name: str, notify: list) -> str:
    deployments.make_pool(POOL)
    return deployments.deploy(name, tiny(gate=STRICT, schedule={"notify": notify}), POOL)


@pytest.mark.usefixtures("prefect_server")
def test_a_recipe_has_one_automation_for_each_block_however_often_it_is_deployed(tiny):
    SlackWebhook(url="https://hooks.slack.com/services/T/B/x").save("team", overwrite=True)
    SlackWebhook(url="mailtos://user:secret@smtp.example.org?to=team@example.org").save("mail", overwrite=True)
    entries = [{"block": "slack-webhook/team"}, {"block": "slack-webhook/mail", "when": ["registered"]}]
    for _ in range(2):
        deploy(tiny, "told", entries)
    assert automations() == {
        "rmflow: retrain/told to slack-webhook/team": [
            f"prefect.flow-run.{state}"
            for state in ("Completed", "Crashed", "Failed", "Inconclusive", "Passed with warnings", "Rejected")
        ],
        "rmflow: retrain/told to slack-webhook/mail": [
            "prefect.flow-run.Completed",
            "prefect.flow-run.Passed with warnings",
        ],
    }
    deploy(tiny, "other", entries[:1])
    deploy(tiny, "told", [])
    assert list(automations()) == ["rmflow: retrain/other to slack-webhook/team"]
    deploy(tiny, "other", [])
    assert automations() == {}


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("slack-webhook/nobody", "Prefect has no block 'slack-webhook/nobody'"),
        ("no-such-kind/team", "Prefect has no block 'no-such-kind/team'"),
        ("secret/team", "expected a block that sends messages, got 'secret/team'"),
    ],
)
def test_a_block_that_cannot_be_told_is_one_sentence(block, message):
    Secret(value="x").save("team", overwrite=True)
    with pytest.raises(ConfigError, match=message):
        notifications.check(ScheduleConfig(notify=[{"block": block}]))


@pytest.mark.parametrize(
    "notify",
    [
        [{"block": "https://hooks.slack.com/services/T/B/x"}],  # a secret
        [{"block": "slack-webhook/team", "when": []}],
        [{"block": "slack-webhook/team", "when": ["passed"]}],
        [{"block": "slack-webhook/team"}, {"block": "slack-webhook/team", "when": ["failed"]}],
    ],
)
def test_an_entry_that_tells_nobody_or_twice_is_refused(notify):
    with pytest.raises(ValueError, match="notify"):
        PipelineConfig.model_validate({"model": {"path": "/model"}, "schedule": {"notify": notify}})


@pytest.fixture
def received():
    """What a web server of this machine was sent, and its address."""
    messages = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield messages, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.mark.slow
@pytest.mark.usefixtures("without_figures", "few_trees")
def test_a_rejection_and_a_crash_are_told_with_their_reasons(tiny, received, started, tmp_path):  # noqa: F811
    messages, url = received
    port = free_port()
    started(
        *(RMFLOW, "exec", "prefect", "server", "start", "--port", str(port)),
        env=environment(tmp_path / "home", PREFECT_API_URL=f"http://127.0.0.1:{port}/api"),
        stdout=(tmp_path / "log").open("w"),
    )
    wait_for(lambda: answer(f"http://127.0.0.1:{port}/api/health"), 120, "the server's start")
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}):
        body = {"text": "{{subject}}\n{{body}}"}
        CustomWebhookNotificationBlock(name="team", url=url, json_data=body).save("team")
        deployment = deploy(tiny, "told", [{"block": "custom-webhook/team", "when": ["rejected", "crashed"]}])
        run = retrainings.start(deployment, "a test")
        run_flow(retrain, flow_run=run, return_type="state")
        wait_for(lambda: messages, 60, "the message")
        with get_client(sync_client=True) as client:
            rejected = client.read_flow_run(run.id)
            crashed = retrainings.start(deployment, "a test")
            client.set_flow_run_state(crashed.id, Crashed(message="its worker has ended"), force=True)
        wait_for(lambda: len(messages) > 1, 60, "the second message")
        EventsWorker.drain_all()  # whose connection would keep the server from ending
    assert rejected.state.name == "Rejected"
    assert "no model is this good" in rejected.state.message
    link = f"http://127.0.0.1:{port}/runs/flow-run"
    assert [message["text"].splitlines() for message in messages] == [
        ["retrain/told: Rejected", rejected.name, rejected.state.message, f"{link}/{rejected.id}"],
        ["retrain/told: Crashed", crashed.name, "its worker has ended", f"{link}/{crashed.id}"],
    ]
