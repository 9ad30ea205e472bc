"""What changed between two audits beyond chance.

A bias is how far a quantity lies beyond its neutral value in one direction, 0 if it does not. Whether it fell or rose
is tested with ``z = change / error`` against the standard normal distribution. Of all biases that at least one of the
two runs has, those that fell are found at a false discovery rate of 5 %, and, apart from them, those that rose
(Benjamini and Hochberg 1995, on one-sided p). A change of less than one point of a hundred is none, however sure. An
alert needs a fall and a rise. Where nothing rose, some rise is found in at most 5 % of the comparisons, whatever fell,
and the other way round: so a false alert is no more frequent than that.

The error of a difference is the root of the sum of both squared errors, as if the audits shared no pair. On the same
pairs it is too large, since two models err on the same ones; so then fewer changes are found, and no more false ones.
Where the later audit measured the earlier model again on the same pairs, as its champion, that difference counts.

Clipping at 0 can only shrink a difference. A bias that neither run has is not counted: its p is one half or more, and
where the truth is near 0 clipped differences are rare enough that leaving these out finds no more by chance
(`tests/rm/ledger/test_changes.py` draws such audits).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from rm.ledger.quantities import Quantity, Side
from rm.ledger.reading import Audited
from rm.ledger.records import Against, Change, Comparison, Run

LEAST = 0.01
"""A smaller change is none: one point, or a hundredth of a correlation."""
RATE = 0.05
"""Of false discoveries, among falls and among rises."""


def compare(new: Audited, old: Audited, against: Against) -> Comparison:
    """Everything that changed from an earlier run to a later one.

    Parameters
    ----------
    new, old : Audited
    against : str
        What the earlier one is to the later one.
    """
    changes = list(_changes(new, old, against))
    fell, rose = (_found([sign * change.z for change in changes]) for sign in (-1, 1))
    marked = [
        change.model_copy(update={"found": bool(down or up) and abs(change.after - change.before) >= LEAST})
        for change, down, up in zip(changes, fell, rose, strict=True)
    ]
    return Comparison(
        new=new.run.run_id,
        old=old.run.run_id,
        against=against,
        same_pairs=_pairs_of(new.run) == _pairs_of(old.run),
        changes=tuple(sorted(marked, key=lambda change: -abs(change.z))),
    )


def _pairs_of(run: Run) -> tuple[str, int | None]:
    """What tells the pairs of an audit: a challenger's verdict is by a part of the held-out prompts."""
    return run.dataset_digest, run.num_prompts


def _found(z: Sequence[float]) -> NDArray[np.bool_]:
    """Which of these standard normal numbers are too large to be chance, shape (N,) of bool.

    Of the p in rising order, all up to the last that is at most its rank's share of the rate. Without scipy.stats,
    which takes half a second to import: a run that is repeated comes here too.
    """
    p = np.array([math.erfc(each / math.sqrt(2)) / 2 for each in z])
    order = np.argsort(p)
    below = np.flatnonzero(p[order] <= RATE * np.arange(1, len(p) + 1) / len(p))
    found = np.zeros(len(p), dtype=bool)
    found[order[: below[-1] + 1 if len(below) else 0]] = True
    return found


def _changes(new: Audited, old: Audited, against: Against) -> Iterator[Change]:
    measured_again = new.run.champion_digest == old.run.checkpoint_digest
    earlier = {quantity.key: reading for quantity, reading in old.readings.items()}
    for quantity, after in new.readings.items():
        before = earlier.get(quantity.key)
        if before is None:
            continue
        start, error = before.estimate, math.hypot(before.error, after.error)
        if measured_again and (paired := new.paired.get(quantity.key)):
            start, error = after.estimate - paired.difference, paired.error
        for side in quantity.sides:
            sizes = _size(quantity, side, start), _size(quantity, side, after.estimate)
            if max(sizes) > 0:
                yield _change(quantity, side, against, sizes, error)


def _size(quantity: Quantity, side: Side, value: float) -> float:
    return max(side.sign * (value - quantity.neutral), 0.0)


def _change(quantity: Quantity, side: Side, against: Against, sizes: tuple[float, float], error: float) -> Change:
    before, after = sizes
    return Change(
        key=quantity.key,
        title=f"{quantity.title}, {side.words}",
        unit="points" if quantity.neutral else quantity.unit,
        against=against,
        before=before,
        after=after,
        z=(after - before) / error,
        found=False,
    )
