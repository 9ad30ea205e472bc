"""Copies of finished stages in object storage that no run and no registered version needs."""

from __future__ import annotations

import time
from collections.abc import Set

from rm import copies
from rm.locations import Url
from tasks import leftovers
from tasks.leftovers import Leftover

_DAY_S = 86_400.0
_LEAST_DAYS = 1.0
"""Runs of other machines hold no locks that this one sees; what they use counts as new for so long."""


def remove(place: Url, days: float, registered: Set[str], *, dry_run: bool) -> list[Leftover]:
    """Remove the copies that no machine has used for some days, and for one at least.

    Parameters
    ----------
    place : Url
        Of all copies.
    days : float
    registered : set of str
        Digests of the checkpoints of registered versions. Their trainings stay, with what they were made from.
    dry_run : bool
        Whether to only say what would be removed.

    Raises
    ------
    StorageError
        If the copies cannot be listed or removed.
    """
    days = max(days, _LEAST_DAYS)
    before_s = time.time() - days * _DAY_S
    found = copies.found(place)
    used, made_from = leftovers.used_here(days)
    used |= {copy.url.name for copy in found if copy.used_s > before_s}
    made_from |= {copy.url.name: copy.inputs for copy in found if copy.inputs is not None}
    kept = leftovers.with_inputs(used | registered, made_from)
    old = [copy for copy in found if copy.used_s <= before_s and (copy.inputs is None or copy.url.name not in kept)]
    if not dry_run:
        for copy in old:
            copies.remove(copy.url)
    return [Leftover(str(copy.url), copy.size) for copy in old]
