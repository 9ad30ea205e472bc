"""How large a bias must be before the audit sees it, found by planting one on the audited rewards themselves.

The errors of today's reward are not those of a biased one: a reward that goes with a feature leaves less of the feature
to test beside it. So the size that shows is larger than the errors say, and with few pairs no size shows at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rm.audit.overpaid import Row, Table
from rm.audit.sizes import COMMON_SHARE
from rm.features.battery import LOG_LENGTH
from rm.stats.clustered import Floats
from rm.stats.sufficiency import POWER, Judged, Sufficiency, ranked, usual

_SMALL = 0.03
"""Below so many shares of win probability a bias does not change the errors: by less than 3 % on HH harmless-base."""
_ROUNDING = 1e-9
_STRENGTHS = 0.1 * 1.4 ** np.arange(12)
"""Of a planted bias: standard deviations of the reward per usual difference."""


def planted(table: Table, pairs: Judged, differences: Floats, power: float = POWER) -> Table:
    """The table with what can be seen of each row, given the errors of a reward with such a bias.

    Parameters
    ----------
    table : Table
    pairs : Judged
    differences : array of shape (B, C)
        Of the table's columns.
    power : float
        Standard normal quantile of the share of audits that see it.

    Notes
    -----
    Let L be the critical value plus ``power``, times a row's larger standard error. In the feature of a family that has
    the median L of its common ones (of length: log length), a bias is planted on the ranked rewards, stronger and
    stronger, in the direction in which annotators prefer. V is the size of the excess at which four of five audits show
    it: its lower bound is above 0 with the critical value raised by ``power``. All rows of the family then get
    ``L / sqrt(1 - (c L)^2)``, with c such that the planted feature gets V (0 where V is below L); infinity where c L is
    1 or more. Where no strength shows, c is one over L. c is 0 where the audited reward is itself
    overpaid in that feature.
    """
    least = [row.account.visible(table.critical, power) for row in table.rows]
    slopes: dict[str, float] = {}
    for family in dict.fromkeys(row.column.feature.family for row in table.rows):
        index = _typical(table.rows, least, family, len(pairs.margin))
        if index is not None and _SMALL < least[index] < math.inf:
            ratio = least[index] / _reached(table, pairs, differences, index, power)
            slopes[family] = math.sqrt(max(1 - ratio**2, 0.0)) / least[index]
    return replace(
        table,
        rows=tuple(
            replace(row, visible=_raised(size, slopes.get(row.column.feature.family, 0.0)))
            for row, size in zip(table.rows, least, strict=True)
        ),
    )


def _raised(size: float, slope: float) -> float:
    left = 1 - (slope * size) ** 2 if math.isfinite(size) else 0.0
    return size / math.sqrt(left) if left > _ROUNDING else math.inf


def _typical(rows: Sequence[Row], least: Sequence[float], family: str, num_pairs: int) -> int | None:
    """Index of the common feature of the family with the median size; of length, that of log length."""
    common = [
        index
        for index, row in enumerate(rows)
        if row.column.within is None
        and row.column.feature.family == family
        and row.account.num_pairs >= COMMON_SHARE * num_pairs
    ]
    length = [index for index in common if rows[index].column.feature.name == LOG_LENGTH]
    ordered = length or sorted(common, key=lambda index: least[index])
    return ordered[(len(ordered) - 1) // 2] if ordered else None


def _reached(table: Table, pairs: Judged, differences: Floats, index: int, power: float) -> float:
    """The excess in one column at which a planted bias shows; infinite where none does."""
    row = table.rows[index]
    if row.account.bound(table.critical) > 0:  # today's reward has such a bias, and its errors
        return row.account.visible(table.critical, power)
    column = differences[:, [index]]
    sign = math.copysign(1.0, row.account.asked + row.account.paid)
    reward, term = ranked(pairs.margin, pairs.weight), sign * usual(column[:, 0], weight=pairs.weight)
    short, excess = math.nan, math.nan
    for strength in _STRENGTHS:
        tests = Sufficiency(replace(pairs, margin=reward + strength * term))
        account = tests.accounts(column, [row.column.is_length])[0][0]
        bound, now = account.bound(table.critical + power), sign * account.excess
        if math.isfinite(bound) and bound >= 0:
            return now if not short < 0 else now - (now - excess) * bound / (bound - short)
        short, excess = bound, now
    return math.inf
