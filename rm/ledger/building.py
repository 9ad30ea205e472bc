"""The ledger of some audited runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rm.ledger import words
from rm.ledger.changes import compare
from rm.ledger.quantities import GROUPS, Quantity
from rm.ledger.reading import Audited
from rm.ledger.records import Against, Alert, Ledger, Row


def build(name: str, audited: Sequence[Audited], registered: Audited | None = None) -> Ledger:
    """Put runs of one registered model in the order of time, and compare each with those before it.

    Parameters
    ----------
    name : str
        Of the registered model.
    audited : sequence of Audited
        In any order, with none left out between them.
    registered : Audited, optional
        The last registered run before all of these, if runs between are left out: it is shown as the first one, and is
        what they are compared with as the registered one, but it is not the run before the next.
    """
    ordered = sorted(audited, key=lambda one: (one.run.time, one.run.run_id))
    pairs = [
        (new, old, against) for at, new in enumerate(ordered) for old, against in _earlier(ordered[:at], registered)
    ]
    ordered = ([] if registered is None else [registered]) + ordered
    comparisons = [compare(*pair) for pair in pairs]
    alerts = [
        Alert(run=new.run.run_id, text=words.alert(found, new.run, old.run))
        for found, (new, old, _) in zip(comparisons, pairs, strict=True)
        if found.is_substitution
    ]
    return Ledger(
        name=name,
        runs=tuple(one.run for one in ordered),
        rows=tuple(_rows(ordered)),
        comparisons=tuple(comparisons),
        alerts=tuple(reversed(alerts)),
    )


def _earlier(before: Sequence[Audited], registered: Audited | None) -> Iterator[tuple[Audited, Against]]:
    """What a run is compared with: the run before it and, if that is another, the last registered one."""
    last = next((one for one in reversed(before) if one.run.version is not None), registered)
    if before:
        yield before[-1], "previous"
    if last is not None and not (before and last is before[-1]):
        yield last, "registered"


def _rows(ordered: Sequence[Audited]) -> Iterator[Row]:
    """Every quantity that a run has, by group; its title is that of the newest run that has it."""
    quantities: dict[str, Quantity] = {quantity.key: quantity for one in ordered for quantity in one.readings}
    by_key = [{quantity.key: reading for quantity, reading in one.readings.items()} for one in ordered]
    groups = list(GROUPS)
    for key in sorted(quantities, key=lambda key: groups.index(quantities[key].group)):
        yield Row(quantity=quantities[key], readings=tuple(readings.get(key) for readings in by_key))
