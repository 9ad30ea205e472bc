"""The ledger as one HTML page."""

from __future__ import annotations

from typing import NamedTuple

from rm.ledger import charts
from rm.ledger.changes import RATE
from rm.ledger.quantities import Unit
from rm.ledger.records import Ledger, Run
from rm.ledger.words import HEADLINE, compared_with, value
from rm.report.html import rendered

_MOST_SHOWN = 12
"""Charts that are not folded."""
_ACCURACY = "accuracy"
_UNIT: Unit = "percent"


class _RunRow(NamedTuple):
    run: Run
    accuracy: str
    pairs: str
    """Whether its held-out pairs are those of the run before."""
    changed: str


def page(ledger: Ledger) -> str:
    """The page: alerts in words, small multiples, and all runs; it loads nothing and runs nothing.

    Parameters
    ----------
    ledger : Ledger
        With a run at least.
    """
    return rendered(
        "ledger.html.j2",
        "ledger.css",
        "rm.ledger",
        ledger=ledger,
        headline=HEADLINE,
        compared=compared_with(ledger),
        anything=any(change.found for change in ledger.most_changed),
        earlier=[alert.text for alert in ledger.alerts if alert.run != ledger.runs[-1].run_id],
        most_changed=charts.most_changed(ledger, _MOST_SHOWN),
        groups=charts.by_group(ledger),
        rows=_rows(ledger),
        rate=RATE,
        width=charts.WIDTH,
        height=charts.HEIGHT,
    )


def _rows(ledger: Ledger) -> list[_RunRow]:
    """The newest first."""
    accuracy = next((row.readings for row in ledger.rows if row.quantity.key == _ACCURACY), (None,) * len(ledger.runs))
    previous = {one.new: one for one in ledger.comparisons if one.against == "previous"}
    rows = []
    for run, reading in zip(ledger.runs, accuracy, strict=True):
        compared = previous.get(run.run_id)
        rows.append(
            _RunRow(
                run=run,
                accuracy="" if reading is None else value(_UNIT, reading.estimate),
                pairs="" if compared is None else "same" if compared.same_pairs else "other",
                changed="" if compared is None else f"{len(compared.fell)} fell, {len(compared.rose)} rose",
            )
        )
    return rows[::-1]
