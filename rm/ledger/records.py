"""The records of a ledger: runs, what was measured in each, and what changed from one to another."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from rm.ledger.quantities import Quantity
from rm.stats.finding import Record

Against = Literal["previous", "registered"]
"""What a run is compared with: the one before it, or the last one before it that was registered."""
REJECTED = ("failed", "inconclusive")


class Run(Record):
    """A training that was audited and judged."""

    run_id: str
    name: str
    """Of the run in MLflow."""
    version: str | None
    """Number of the registered version; None if there is none."""
    time: datetime
    """When the run began, in UTC."""
    verdict: str
    dataset_digest: str
    num_prompts: int | None
    """Held-out prompts that were audited; None: the report does not say."""
    checkpoint_digest: str
    champion_digest: str | None
    """The checkpoint that its audit compared it with on the same pairs."""

    @property
    def label(self) -> str:
        """What people call it."""
        return f"run {self.run_id[:8]}" if self.version is None else f"version {self.version}"


class Reading(Record):
    """What one audit measured of one quantity; all numbers are finite."""

    estimate: float
    low: float
    high: float
    """Of the 95 % interval; for a feature of surface that of all features together."""
    error: float
    """Standard error, above 0."""
    num_pairs: int


class Paired(Record):
    """A quantity minus that of the model that the audit compared with, on the same pairs."""

    difference: float
    error: float


class Row(Record):
    """A quantity over all runs."""

    quantity: Quantity
    readings: tuple[Reading | None, ...]
    """One for each run; None where it was not measured."""


class Change(Record):
    """One direction of one quantity, before and after."""

    key: str
    title: str
    """The quantity with what it is called in this direction."""
    unit: str
    against: Against
    before: float
    after: float
    """How far beyond the neutral value; 0 where it is not a bias in this direction."""
    z: float
    """Change over its standard error; above 0 if the bias rose."""
    found: bool
    """Whether it is more than chance, all changes of the comparison considered."""


class Comparison(Record):
    """What changed from an earlier run to a later one."""

    new: str
    old: str
    """Their ids."""
    against: Against
    same_pairs: bool
    """Whether both were audited on the same held-out pairs."""
    changes: tuple[Change, ...]
    """Of all biases that at least one of the two has, the surest first."""

    @property
    def fell(self) -> tuple[Change, ...]:
        """What fell beyond chance."""
        return tuple(change for change in self.changes if change.found and change.z < 0)

    @property
    def rose(self) -> tuple[Change, ...]:
        """What rose beyond chance."""
        return tuple(change for change in self.changes if change.found and change.z > 0)

    @property
    def is_substitution(self) -> bool:
        """Whether one bias fell while another rose."""
        return bool(self.fell and self.rose)


class Alert(Record):
    """One bias fell while another rose."""

    run: str
    """Id of the later run."""
    text: str


class Ledger(Record):
    """Every bias of every run of one registered model."""

    name: str
    """Of the registered model."""
    runs: tuple[Run, ...]
    """The oldest first."""
    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...]
    """Of each run but the first with the one before it and, if that is another, the last registered one."""
    alerts: tuple[Alert, ...]
    """The newest first."""

    @property
    def newest_alerts(self) -> tuple[str, ...]:
        """What the last run is to be blamed for, in words."""
        return tuple(alert.text for alert in self.alerts if alert.run == self.runs[-1].run_id)

    @property
    def newest(self) -> tuple[Comparison, ...]:
        """The comparisons of the last run."""
        return tuple(one for one in self.comparisons if one.new == self.runs[-1].run_id)

    @property
    def most_changed(self) -> tuple[Change, ...]:
        """Of each quantity the surest change of the last run, the surest first."""
        every = [change for comparison in self.newest for change in comparison.changes]
        surest: dict[str, Change] = {}
        for change in sorted(every, key=lambda change: (not change.found, -abs(change.z))):
            surest.setdefault(change.key, change)
        return tuple(surest.values())

    @property
    def order(self) -> tuple[str, ...]:
        """Keys of all quantities: what the last run changed beyond chance, then by the surest change of any run."""
        last = [change.key for change in self.most_changed if change.found]
        surest = {row.quantity.key: 0.0 for row in self.rows}
        for change in (each for one in self.comparisons for each in one.changes):
            surest[change.key] = max(surest[change.key], abs(change.z))
        return tuple(dict.fromkeys([*last, *sorted(surest, key=lambda key: -surest[key])]))
