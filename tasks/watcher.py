"""Watches for new annotations: reads new files into the table, and starts a retraining when enough has come.

What was trained on is kept beside the table, so nothing depends on an event that may be lost: whoever adds judgements,
also while nothing was watching, the table is asked.
"""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path

from rm.data import annotation_table, tables
from rm.data.arrivals import Arrivals
from rm.errors import RmflowError
from rm.files import replace_text
from rm.locations import is_url
from rm.pipeline.config import PipelineConfig
from tasks import environment, reading, retrainings, verdicts

_LOGGER = logging.getLogger(f"rm.{__name__}")
_EVERY_S = 2.0
ERROR_ENDING = ".error.txt"
"""Ending of the file with the reason why the file beside it was not read."""


class Watcher:
    """Watches the sources and the table of one recipe.

    Parameters
    ----------
    deployment : str
        Such as ``retrain/nightly``.
    config : PipelineConfig
    """

    def __init__(self, deployment: str, config: PipelineConfig) -> None:
        self.deployment, self.config = deployment, config
        self.folder = environment.annotations_folder(config.ingest.table)
        self.place = environment.annotations_at(config.ingest.table)
        self._arrivals = Arrivals(config.ingest.sources, ERROR_ENDING)
        self._version: int | None = None
        self._num_stored = 0
        self._changed_at = 0.0

    def look(self, now: float) -> None:
        """Read what is new, and start a retraining if one is due.

        Parameters
        ----------
        now : float
            Seconds of a clock that only goes forward.
        """
        self._read(self._arrivals.settled(now))
        self._ask_the_table(now)
        if reason := self._due(now):
            run = retrainings.start(self.deployment, reason)
            self._note(self._num_stored)
            _LOGGER.info("%s: %s, run %s", self.deployment, reason, run.name)

    def _read(self, files: list[str]) -> None:
        for file in files:
            settings = self.config.ingest.model_copy(update={"sources": (file,)})
            try:
                report = reading.read_in(settings, None, self.config.compute)
                reading.log(report, settings)
                reading.checked(report, settings)
            except RmflowError as error:
                _LOGGER.warning("%s: not read: %s", file, error)
                if not is_url(file):
                    replace_text(Path(file + ERROR_ENDING), f"{error}\n")
            else:
                if not is_url(file):
                    Path(file + ERROR_ENDING).unlink(missing_ok=True)

    def _ask_the_table(self, now: float) -> None:
        table = tables.opened(self.place / "annotations")
        if table is None or table.version() == self._version:
            return
        num_stored = annotation_table.current(self.place).num_stored  # which no retraction makes smaller
        if num_stored != self._num_stored:
            self._num_stored, self._changed_at = num_stored, now
        self._version = table.version()

    def _due(self, now: float) -> str | None:
        """Why a retraining is due; None if none is."""
        schedule = self.config.schedule
        runs = retrainings.last_runs(self.deployment)
        if retrainings.is_busy(runs):
            return None  # what has come meanwhile is in the next one
        if self._num_new() >= schedule.min_new_judgements and now - self._changed_at >= schedule.quiet_s:
            self._note_what_others_trained_on()
            if (num_new := self._num_new()) >= schedule.min_new_judgements:
                return f"{num_new:,} new judgements"
        if 0 < (crashed := retrainings.num_crashed(runs)) <= schedule.max_restarts:
            return f"restart {crashed} of {schedule.max_restarts} after a crash"
        return None

    @property
    def _marks(self) -> Path:
        return self.folder / f"{self.deployment.replace('/', '-')}.json"

    def _num_new(self) -> int:
        """Judgements in the table that were not there when the last retraining that is known here read it."""
        return self._num_stored - self._num_trained()

    def _num_trained(self) -> int:
        try:
            return int(json.loads(self._marks.read_text(encoding="utf-8"))["num_stored"])
        except (OSError, ValueError, KeyError):
            return 0

    def _note_what_others_trained_on(self) -> None:
        """A schedule or a person may have retrained since, and one that was started here may have read more."""
        verdict = verdicts.read(self.place, self.deployment)
        if verdict is not None and verdict.num_stored > self._num_trained():
            self._note(verdict.num_stored)

    def _note(self, num_stored: int) -> None:
        self._marks.parent.mkdir(parents=True, exist_ok=True)
        replace_text(self._marks, json.dumps({"num_stored": num_stored}) + "\n")


def watch(watchers: list[Watcher]) -> None:
    """Look for ever; what goes wrong in one look is told, and looked at again."""
    while True:
        for watcher in watchers:
            try:
                watcher.look(time.monotonic())
            except Exception:  # a server that is being restarted must not end the watching
                _LOGGER.warning("%s: cannot look now", watcher.deployment, exc_info=True)
        time.sleep(_EVERY_S)
