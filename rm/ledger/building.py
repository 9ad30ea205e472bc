"""The ledger of some audited runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rm.ledger import words
from rm.ledger.changes import compare
from rm.ledger.quantities import GROUPS, Quantity
from rm.ledger.reading import Audited
from rm.ledger.records import Against, Alert, Ledger, Row


def build(name: str, audited: Sequence[Audited]) -> Ledger:
    """Put runs of one registered model in the order of time, and compare each with those before it.

    Parameters
    ----------
    name : str
        Of the registered model.
    audited : sequence of Audited
        In any order.
    """
    ordered = sorted(audited, key=lambda one: (one.run.time, one.run.run_id))
    pairs = [(new, old, against) for at, new in enumerate(ordered) for old, against in _earlier(ordered[:at])]
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


def _earlier(before: Sequence[Audited]) -> Iterator[tuple[Audited, Against]]:
    """What a run is compared with: the run before it and, if that is another, the last registered one."""
    if not before:
        return
    yield before[-1], "previous"
    registered = [one for one in before if one.run.version is not None]
    if registered and registered[-1] is not before[-1]:
        yield registered[-1], "registered"


def _rows(ordered: Sequence[Audited]) -> Iterator[Row]:
    """Every quantity that a run has, by group; its title is that of the newest run that has it."""
    quantities: dict[str, Quantity] = {quantity.key: quantity for one in ordered for quantity in one.readings}
    by_key = [{quantity.key: reading for quantity, reading in one.readings.items()} for one in ordered]
    groups = list(GROUPS)
    for key in sorted(quantities, key=lambda key: groups.index(quantities[key].group)):
        yield Row(quantity=quantities[key], readings=tuple(readings.get(key) for readings in by_key))
