"""Which features of surface are overpaid: the reward goes with them beyond what the labels support.

Every feature of the battery is tested, those of length and structure also within each kind of prompt. What the model
pays for a feature and what the labels still ask of it are compared as `rm.stats.sufficiency` says. One feature that is
overpaid drags others along; so features are named one after another, the most certain first, each given those before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rm.features.battery import Family, Feature
from rm.features.prompt_kinds import Bools
from rm.stats.clustered import Floats
from rm.stats.sufficiency import Account, Judged, Sufficiency, critical_value

Verdict = Literal["named", "goes along", "blunter", "clear", "untestable"]
WITHIN: tuple[Family, ...] = ("length", "structure")
"""Families whose features are also looked at within kinds of prompts."""
_MAX_NAMED = 12
_NUM_DRAWS = 1000
_SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A feature, over all pairs or within a kind of prompt."""

    feature: Feature
    within: str | None = None
    """Name of the kind of prompt; None: over all pairs."""

    @property
    def is_length(self) -> bool:
        """Whether it is a feature of length."""
        return self.feature.family == "length"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What was found of one column."""

    column: Column
    account: Account
    bound: float
    """Simultaneous lower bound of the size of the excess, in shares of win probability; NaN if untestable."""
    visible: float
    """Size of excess that 80 of 100 audits of this size would have shown, with these errors or as `rm.audit.visible`
    plants it."""
    verdict: Verdict
    """``named``: overpaid by itself. ``goes along``: with one that is named. ``blunter``: overpaid, or labels are
    blunter where it differs. ``clear``: none is shown. ``untestable``: too few prompts differ."""
    along: Column | None = None
    """The named column that it goes along with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What was found of every column."""

    rows: tuple[Row, ...]
    critical: float
    """Critical value that all bounds share."""
    follows_labels: bool
    """Whether rewards and labels go together beyond chance; if not, nothing was testable."""
    never_wrong: bool
    """Whether no pair is wrong, so that errors tell nothing."""

    @property
    def named(self) -> tuple[Row, ...]:
        """The columns that are overpaid by themselves, the most certain first."""
        return tuple(
            sorted((row for row in self.rows if row.verdict == "named"), key=lambda row: -row.account.certainty)
        )


def columns(features: Sequence[Feature], differences: Floats, kinds: dict[str, Bools]) -> tuple[list[Column], Floats]:
    """The columns to test, and their differences side by side.

    Parameters
    ----------
    features : sequence of Feature, F of them
    differences : array of shape (B, F)
        Chosen minus rejected.
    kinds : dict of arrays of bool, shape (B,)
        `rm.features.prompt_kinds.kinds`.

    Returns
    -------
    list of Column, C of them
    array of shape (B, C)
        0 outside the kind of prompt. Each column lies in one piece; those that are 0 everywhere take no memory.
    """
    tested = [Column(feature=feature) for feature in features]
    chosen = [index for index, feature in enumerate(features) if feature.family in WITHIN]
    values = np.zeros((len(features) + len(kinds) * len(chosen), len(differences)))
    values[: len(features)] = differences.T
    differing = set(np.flatnonzero(differences.any(axis=0)).tolist())
    for name, holds in kinds.items():
        for place, index in enumerate(chosen, len(tested)):
            if index in differing:
                values[place, holds] = values[index, holds]
        tested += [Column(feature=features[index], within=name) for index in chosen]
    return tested, values.T


def table(pairs: Judged, tested: Sequence[Column], differences: Floats) -> Table:
    """Test every column, and name the overpaid ones one after another.

    Parameters
    ----------
    pairs : Judged
    tested : sequence of Column, C of them
    differences : array of shape (B, C)

    Notes
    -----
    The critical value is derived once, for all columns. Then the most certain column is named, and the rest is tested
    again with the named ones among what the labels may follow, until no bound is above 0. A column whose bound falls to
    0 goes along with the one named last. What is planted is the most certain, as a rule; the largest in points is often
    a rare or two-valued feature that goes along with it. After twelve names this ends, since each step costs a test of
    all the rest: what then still has a bound above 0 is named too.
    """
    is_length = [column.is_length for column in tested]
    tests = Sufficiency(pairs)
    accounts, scores = tests.accounts(differences, is_length)
    critical = critical_value(scores, _NUM_DRAWS, _SEED)
    bounds = np.array([account.bound(critical) for account in accounts])
    named, along = _names(pairs, tested, differences, accounts, critical)
    blunter = _blunter(pairs, differences, is_length, critical, bounds)
    rows = []
    for index, (column, account) in enumerate(zip(tested, accounts, strict=True)):
        verdict: Verdict = "clear"
        if not account.measurable:
            verdict = "untestable"
        elif index in named:
            verdict = "named"
        elif index in along:
            verdict = "goes along"
        elif blunter[index]:
            verdict = "blunter"
        rows.append(
            Row(
                column=column,
                account=account,
                bound=float(bounds[index]),
                visible=account.visible(critical),
                verdict=verdict,
                along=tested[along[index]] if verdict == "goes along" else None,
            )
        )
    never_wrong = bool(pairs.margin.any() and (pairs.margin >= 0).all())
    return Table(rows=tuple(rows), critical=critical, follows_labels=tests.follows_labels, never_wrong=never_wrong)


def _names(
    pairs: Judged, tested: Sequence[Column], differences: Floats, accounts: Sequence[Account], critical: float
) -> tuple[list[int], dict[int, int]]:
    """Indices of the named columns, and for each that goes along the index of the one that it goes along with."""
    left = {index: account for index, account in enumerate(accounts) if account.bound(critical) > 0}
    named: list[int] = []
    along: dict[int, int] = {}
    while left and len(named) < _MAX_NAMED:
        first = max(left, key=lambda index: left[index].certainty)
        named.append(first)
        del left[first]
        waiting = list(left)
        if not waiting:
            break
        again = Sufficiency(pairs, [differences[:, index] for index in named])
        found, _ = again.accounts(differences[:, waiting], [tested[index].is_length for index in waiting])
        for index, account in zip(waiting, found, strict=True):
            if account.bound(critical) > 0:
                left[index] = account
            else:
                along[index] = first
                del left[index]
    return [*named, *left], along


def _blunter(
    pairs: Judged, differences: Floats, is_length: Sequence[bool], critical: float, bounds: Floats
) -> Sequence[bool]:
    """Columns without a bound above 0 that have one if the slope of the reward is one everywhere."""
    plain = Sufficiency(pairs, interacting=False)
    accounts, _ = plain.accounts(differences, is_length)
    return [
        account.measurable and account.bound(critical) > 0 and not bound > 0
        for account, bound in zip(accounts, bounds, strict=True)
    ]
