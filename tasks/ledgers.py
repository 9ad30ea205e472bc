"""The ledger of a registered model, made from the reports of its runs in MLflow."""

from __future__ import annotations

from typing import NamedTuple

from prefect import get_run_logger

from rm.errors import AuditError
from rm.ledger import reading
from rm.ledger.building import build
from rm.ledger.reading import Audited
from rm.ledger.records import Ledger
from rm.ledger.words import HEADLINE
from tasks import tracking, versions
from tasks.versions import JudgedRun

FORMER = 20
"""Runs before one that its ledger shows at most."""


class Read(NamedTuple):
    """A ledger, and which runs are not in it."""

    ledger: Ledger
    """It may have no run."""
    left_out: tuple[str, ...]
    """A sentence for each run whose report could not be read."""


def read(name: str, last: int, until: str | None = None) -> Read:
    """The ledger of the newest runs of a registered model that were judged, rejected ones too.

    If none of them but the newest is registered, the last registered one before them is there as well.

    Parameters
    ----------
    name : str
        Of the registered model.
    last : int
        Runs at most.
    until : str, optional
        Id of the newest run. Default: the newest of this name, in any experiment; all are of its experiment.
    """
    client, left_out = tracking.client(), []

    def readable(run: JudgedRun) -> Audited | None:
        text = run.report()
        try:
            if text is None:
                raise AuditError("its audit.json is gone, or cannot be read")
            return reading.read(text, run_id=run.run_id, name=run.name, version=run.version, time=run.time)
        except AuditError as problem:
            left_out.append(f"run {run.run_id} ({run.name}) is left out of the ledger: {problem}")
            return None

    found = versions.judged(client, name, last, until)
    audited = [one for one in map(readable, found) if one is not None]
    earlier = versions.registered_before(client, name, found) if audited else None
    return Read(build(name, audited, earlier and readable(earlier)), tuple(left_out))


def publish(run_id: str, name: str) -> tuple[str, ...]:
    """Log the ledger up to a run that was judged, if there are runs before it; return its alerts.

    The verdict stands, whatever goes wrong here: that is a warning.

    Parameters
    ----------
    run_id : str
    name : str
        Of the registered model.
    """
    logger = get_run_logger()
    try:
        ledger, left_out = read(name, FORMER + 1, run_id)
        for sentence in left_out:
            logger.warning("%s", sentence)
        if len(ledger.runs) < 2 or ledger.runs[-1].run_id != run_id:
            return ()
        alerts = ledger.newest_alerts
        for alert in alerts:
            logger.warning("%s: %s", HEADLINE, alert)
        if not tracking.has_ledger(run_id):
            from rm.ledger.page import page  # and what pages are made with: not where a run is repeated

            tracking.log_ledger(run_id, page(ledger), ledger.model_dump_json(), alerts)
    except Exception as error:  # of MLflow, of its store, of a report that somebody made
        logger.warning("the ledger of %s could not be written: %s", name, error)
        return ()
    return alerts
