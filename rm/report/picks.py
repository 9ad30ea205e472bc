"""What a model picks among given candidates: a row for each number of candidates that are offered, and the drifts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rm.audit import best_of_n_labels
from rm.stats.finding import Finding

PICKERS = ("model", "random", "longest", "oracle")


class Offered(NamedTuple):
    """What is picked if N candidates are offered; None where nothing was measured."""

    number: int | None
    """N; None: all candidates."""
    wins: dict[str, Finding]
    """Probability that the judge prefers the pick to the reference, for each of `PICKERS`; empty without labels."""
    longest: Finding | None
    """How often the pick is the longest."""
    chance: Finding | None
    """How often a random pick would be."""
    length: Finding | None
    """Length of the picks over the mean."""

    @property
    def title(self) -> str:
        """N in words."""
        return "all" if self.number is None else str(self.number)


class Drift(NamedTuple):
    """How far the picks drift in one feature."""

    feature: str
    by_number: tuple[Finding, ...]
    """From the fewest candidates to all."""


def offered(findings: Sequence[Finding]) -> tuple[Offered, ...]:
    """A row for each N, the last one for all candidates; empty if there are no picks.

    Parameters
    ----------
    findings : sequence of Finding
        With those of `rm.audit.best_of_n_labels.measure` for one model.
    """
    found = {(one.kind, one.labels.get("of"), one.labels.get("n")): one for one in findings}
    if ("pick_length_ratio", None, None) not in found:
        return ()
    kinds = ("outside_win_rate", "longest_pick_share")
    numbers = {int(one.labels["n"]) for one in findings if one.kind in kinds and "n" in one.labels}
    rows = []
    for number in (*sorted(numbers), None):
        n = None if number is None else str(number)
        wins = {of: one for of in PICKERS if (one := found.get(("outside_win_rate", of, n))) is not None}
        lengths = ("longest_pick_share", "longest_pick_chance", "pick_length_ratio")
        rows.append(Offered(number, wins, *(found.get((kind, None, n)) for kind in lengths)))
    return tuple(rows)


def drifts(findings: Sequence[Finding]) -> tuple[Drift, ...]:
    """The feature of each family in which the picks drift most, by N.

    Parameters
    ----------
    findings : sequence of Finding
        As for `offered`.
    """
    features = [one.labels["feature"] for one in best_of_n_labels.largest_by_family(findings)]
    by_feature = {feature: [one for one in findings if one.is_a("pick_drift", feature=feature)] for feature in features}
    return tuple(Drift(feature, tuple(sorted(found, key=_size))) for feature, found in by_feature.items())


def _size(drift: Finding) -> float:
    return float(drift.labels.get("n", "inf"))
