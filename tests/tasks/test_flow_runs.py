"""What a run is called when it begins."""

from types import SimpleNamespace

import pytest
from prefect.context import FlowRunContext

from rm.data.config import IngestConfig
from tasks import flow_runs


@pytest.mark.parametrize(
    ("starter", "tags", "expected"),
    [
        (None, [], "by hand"),
        (None, ["9,613 new judgements"], "9,613 new judgements"),
        (SimpleNamespace(display_value=None), [], "by hand"),
        (SimpleNamespace(display_value="a schedule"), ["nightly"], "a schedule"),
    ],
)
def test_a_run_says_what_started_it(monkeypatch, starter, tags, expected):
    run = SimpleNamespace(created_by=starter, tags=tags)
    context = SimpleNamespace(flow_run=run, flow=None, parameters={"config": IngestConfig(table="votes")})
    monkeypatch.setattr(FlowRunContext, "get", lambda: context)
    assert flow_runs.first_name() == f"votes, {expected}"
