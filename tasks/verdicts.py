"""What the last retraining of a deployment has read, kept beside its table once it has come to a verdict.

A run that a schedule starts with nothing new since then ends at once. Passed, rejected and inconclusive are verdicts;
a retraining that crashed or stopped with an error is not noted, so that the next one does all of it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime

from pydantic import BaseModel, ConfigDict, ValidationError

from rm import storage
from rm.data.annotation_table import TableVersion
from rm.errors import Rejected, StorageError
from rm.locations import Location
from rm.model.base_files import BaseModelRef
from rm.pipeline.config import PipelineConfig
from tasks import flow_runs, run_page, stages

_LOGGER = logging.getLogger(f"rm.{__name__}")
_NOT_IN_THE_KEY = {"sample", "ingest", "model", "compute", "schedule", "retention"}
"""Sections that decide when and where a run is done, or what is in the table and the base model, which are digested."""


class NothingNew(Exception):
    """Nothing has changed since the last verdict; it ends a run that has nothing to do."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(f"since {verdict.ended_at}: {verdict.run}")


class Verdict(BaseModel):
    """A retraining that has come to a verdict."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    """Digest of all that it depends on (`key`)."""
    num_stored: int
    """Judgements in the table that it read, also those that did not count."""
    run: str
    """Name of the run, which ends with the verdict."""
    ended_at: str
    """UTC."""


@contextmanager
def once(table: TableVersion, base: BaseModelRef, config: PipelineConfig, remedy: bool) -> Iterator[None]:
    """Note the verdict that is come to within; a run of no deployment notes nothing.

    Parameters
    ----------
    table : TableVersion
    base : BaseModelRef
    config : PipelineConfig
    remedy : bool
        Whether the run searches for a remedy.

    Raises
    ------
    NothingNew
        If a schedule has started this run, and the last verdict is on the same.
    """
    deployment = flow_runs.deployment()
    if deployment is None:
        yield
        return
    found, last = key(table, base, config, remedy, datetime.now(UTC).date()), read(table.path.parent, deployment)
    if flow_runs.is_scheduled() and last is not None and last.key == found:
        flow_runs.rename(f"{run_page.subject(config)}: nothing new")
        raise NothingNew(last)
    try:
        yield
    except Rejected:
        _write(table, deployment, found)
        raise
    _write(table, deployment, found)


def key(table: TableVersion, base: BaseModelRef, config: PipelineConfig, remedy: bool, today: date) -> str:
    """Digest of what a retraining depends on: annotations, base model, recipe, waivers in force, and all of its code.

    What lies in the registry, such as the champion, is no part of it, also where it is the base model.
    """
    sections = {name: value for name, value in config if name not in _NOT_IN_THE_KEY}
    settings = config.model.model_dump(mode="json", exclude={"path", "hub", "revision"})
    started_from = [config.model.registered, settings] if config.model.registered else base
    in_force = [waiver.granted <= today <= waiver.expires for waiver in config.gate.waivers]
    inputs = {"table": table, "base": started_from, "searches": remedy, "waivers in force": in_force, **sections}
    return stages.content_key("retrain", "flows.retrain", inputs)


def read(place: Location, deployment: str) -> Verdict | None:
    """The last verdict of a deployment, such as ``retrain/nightly``, on the tables in a folder or at a URL."""
    try:
        text = storage.read_text(_file(place, deployment))
        return None if text is None else Verdict.model_validate_json(text)
    except ValidationError:
        return None  # of another version of rmflow


def _write(table: TableVersion, deployment: str, found: str) -> None:
    verdict = Verdict(
        key=found,
        num_stored=table.num_stored,
        run=flow_runs.name() or "",
        ended_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    try:
        storage.write_text(_file(table.path.parent, deployment), verdict.model_dump_json(indent=2) + "\n")
    except StorageError as error:  # without it the next scheduled run looks at all stages again, and no more
        _LOGGER.warning("the verdict could not be noted: %s", error)


def _file(place: Location, deployment: str) -> Location:
    return place / "verdicts" / f"{deployment.replace('/', '-')}.json"
