"""What a run's `audit.json` says, also one that another version of rmflow has written."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rm.errors import AuditError
from rm.ledger.quantities import Quantity, of_feature, of_finding, of_probe
from rm.ledger.records import Paired, Reading, Run

OLDEST = 2
"""Files before this version of the schema name findings without kind and labels, and are not read."""
_Z = 1.959964
"""Standard errors between an estimate and a bound of its 95 % interval."""
_PAIRED = ("gain_without_length",)
"""The biases that an audit compares with the champion's on the same pairs."""


class _Written(BaseModel):
    """Of an audit only what is needed here, so that files of other versions can be read."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class _Finding(_Written):
    name: str
    kind: str
    labels: dict[str, str]
    estimate: float | None
    ci_low: float | None
    ci_high: float | None
    num_pairs: int


class _Feature(_Written):
    feature: str
    family: str
    within: str | None
    num_pairs: int
    asked: float | None
    asked_error: float | None
    paid: float | None
    paid_error: float | None


class _Features(_Written):
    critical_value: float | None
    """None where nothing could be tested."""
    rows: tuple[_Feature, ...]


class _Dose(_Written):
    dose: str
    win_rate: _Finding


class _Probe(_Written):
    name: str
    expected: str
    win_rate: _Finding
    dose_response: _Finding | None
    doses: tuple[_Dose, ...]


class _Provenance(_Written):
    checkpoint_digest: str
    dataset_digest: str
    num_heldout_prompts: int | None = None
    champion_digest: str | None = None


class _Audit(_Written):
    verdict: str
    findings: tuple[_Finding, ...]
    overpaid: _Features | None = None
    probes: tuple[_Probe, ...] = ()
    provenance: _Provenance
    schema_version: int = Field(ge=OLDEST)


@dataclass(frozen=True, slots=True)
class Audited:
    """A run with all that its audit measured of what the ledger follows."""

    run: Run
    readings: dict[Quantity, Reading]
    paired: dict[str, Paired]
    """By the quantity's key."""


def read(text: str | bytes, *, run_id: str, name: str, version: str | None, time: datetime) -> Audited:
    """Read a run's `audit.json`.

    Parameters
    ----------
    text : str or bytes
        Of the file.
    run_id, name : str
        Of the run.
    version : str or None
        Of the registered model.
    time : datetime
        When the run began.

    Raises
    ------
    AuditError
        If it is not the report of an audit, or older than `OLDEST`.
    """
    try:
        values = json.loads(text)
        audit = _Audit.model_validate(values)
    except (ValidationError, ValueError, RecursionError) as problem:
        raise AuditError(_not_read(problem)) from None
    facts = audit.provenance
    run = Run(
        run_id=run_id,
        name=name,
        version=version,
        time=time,
        verdict=audit.verdict,
        dataset_digest=facts.dataset_digest,
        num_prompts=facts.num_heldout_prompts,
        checkpoint_digest=facts.checkpoint_digest,
        champion_digest=facts.champion_digest,
    )
    return Audited(run=run, readings=dict(_readings(audit)), paired=dict(_paired(audit)))


def _not_read(problem: Exception) -> str:
    if not isinstance(problem, ValidationError):
        return "its audit.json is not JSON"
    first: Any = problem.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(map(str, first["loc"]))
    if place == "schema_version":
        return f"its audit.json is older than version {OLDEST} of the schema"
    return f"its audit.json is not the report of an audit ({place or 'all of it'}: {first['msg']})"


def _readings(audit: _Audit) -> Iterator[tuple[Quantity, Reading]]:
    if audit.overpaid and audit.overpaid.critical_value is not None:
        for row in audit.overpaid.rows:
            if row.within is None and (excess := _excess(row, audit.overpaid.critical_value)):
                yield of_feature(row.feature, row.family), excess
    for probe in audit.probes:
        for found, word in [(probe.win_rate, ""), *_words(probe)]:
            quantity, reading = of_probe(probe.name, probe.expected, found.name, word), _reading(found)
            if quantity and reading:
                yield quantity, reading
    for found in audit.findings:
        quantity, reading = of_finding(found.kind, found.labels, found.name), _reading(found)
        if quantity and reading:
            yield quantity, reading


def _words(probe: _Probe) -> list[tuple[_Finding, str]]:
    """The doses that are words; of those with an order the strongest is the probe's own."""
    ordered = probe.dose_response is not None or len(probe.doses) < 2
    return [] if ordered else [(dose.win_rate, dose.dose) for dose in probe.doses]


def _reading(found: _Finding) -> Reading | None:
    """None if a number is undefined, or nothing was counted.

    The error is a fourth of the interval, more exactly its width over 3.92, and at least the square root of 2 over
    n + 4, which is that of a share of 0 in n: a bootstrap of n equal values has none.
    """
    if (numbers := _finite(found.estimate, found.ci_low, found.ci_high)) is None or found.num_pairs < 1:
        return None
    estimate, low, high = numbers
    error = max((high - low) / (2 * _Z), math.sqrt(2) / (found.num_pairs + 4))
    return Reading(estimate=estimate, low=low, high=high, error=error, num_pairs=found.num_pairs)


def _finite(*values: float | None) -> list[float] | None:
    """The values, if none is undefined or infinite."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    return known if len(known) == len(values) else None


def _excess(row: _Feature, critical: float) -> Reading | None:
    """What is overpaid (above 0) or over-punished (below), with the simultaneous bounds of both.

    Overpaid is the smaller of what is paid and what the labels ask against it, so each of its bounds is the smaller of
    theirs; over-punished the same with both signs turned. By Poincare's inequality for normal variables, the variance
    of the smaller of two is at most the larger of their variances.
    """
    if (numbers := _finite(row.asked, row.asked_error, row.paid, row.paid_error)) is None:
        return None
    asked, asked_error, paid, paid_error = numbers
    error = max(asked_error, paid_error)
    if error <= 0:
        return None

    def size(sign: int, shift: float) -> float:
        return max(min(-sign * asked + shift * asked_error, sign * paid + shift * paid_error), 0.0)

    over, under = ([size(sign, shift * critical) for shift in (-1, 0, 1)] for sign in (1, -1))
    low = over[0] if over[0] > 0 else 0.0 - under[2]
    high = 0.0 - under[0] if under[0] > 0 else over[2]
    return Reading(estimate=over[1] - under[1], low=low, high=high, error=error, num_pairs=row.num_pairs)


def _paired(audit: _Audit) -> Iterator[tuple[str, Paired]]:
    for found in audit.findings:
        of = found.labels.get("of", "")
        if found.kind == "over_champion" and of in _PAIRED and (reading := _reading(found)):
            yield of, Paired(difference=reading.estimate, error=reading.error)
