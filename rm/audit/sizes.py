"""Sizes of bias that an audit would have seen, from the table of overpaid features in its record."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from rm.audit.records import OverpaidRow
from rm.features.battery import LOG_LENGTH

COMMON_SHARE = 0.05
"""Share of the pairs in which a feature must differ to be common. Rarer ones are the business of probes."""


def common(rows: Sequence[OverpaidRow], family: str, num_pairs: int) -> list[OverpaidRow]:
    """The features of a family, over all prompts, that differ in at least 5 % of the pairs."""
    least = COMMON_SHARE * num_pairs
    return [row for row in rows if row.within is None and row.family == family and row.num_pairs >= least]


def seen_from(rows: Sequence[OverpaidRow], num_pairs: int) -> dict[str, float | None]:
    """By family, length first: the excess that four of five such audits see in half of its common features.

    Returns
    -------
    dict of family to float or None
        In shares of win probability, at most 1; length is log length alone. None: no feature of the family is common.
    """
    families = sorted({row.family for row in rows}, key=lambda family: (family != "length", family))
    return {family: _median_visible(common(rows, family, num_pairs)) for family in families}


def _median_visible(rows: Sequence[OverpaidRow]) -> float | None:
    length = [row for row in rows if row.feature == LOG_LENGTH]
    values = [min(row.visible, 1.0) if math.isfinite(row.visible) else 1.0 for row in length or rows]
    return statistics.median(values) if values else None
