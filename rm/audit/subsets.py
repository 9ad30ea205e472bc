"""Accuracy by kind of pair, and how well one more annotator would do."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from rm.audit.config import AuditConfig
from rm.audit.heldout import ScoredPairs
from rm.stats import clustered
from rm.stats.clustered import Floats, Ints
from rm.stats.finding import Finding, key
from rm.stats.measurements import Measurements

_MIN_PAIRS = 30
SMALL = f"all with fewer than {_MIN_PAIRS} pairs"
"""Name of the small subsets together: no domain is called so, but one may be called "other"."""


def accuracy_by_subset(
    pairs: ScoredPairs, labels: Mapping[str, Sequence[str]], num_clusters: int, config: AuditConfig
) -> dict[str, tuple[Finding, ...]]:
    """Accuracy in each subset of each division, the worst first.

    Parameters
    ----------
    pairs : ScoredPairs
    labels : mapping of division, such as "domain", to B labels
    num_clusters : int
    config : AuditConfig

    Returns
    -------
    dict of division to findings
        Each is named after its subset. Subsets of fewer than 30 pairs are put together as `SMALL`, which comes last;
        its method says how many they are.

    Raises
    ------
    ValueError
        If a division does not have one label per pair.
    """
    collected = Measurements(num_clusters, config)
    names: dict[str, list[str]] = {}
    for division, given in labels.items():
        if len(given) != len(pairs.margin):
            raise ValueError(f"{division}: expected {len(pairs.margin)} labels, one per pair, got {len(given)}")
        sizes = Counter(given)
        small = {label for label, size in sizes.items() if size < _MIN_PAIRS}
        members = np.array([SMALL if label in small else label for label in given], dtype=object)
        names[division] = sorted(set(members.tolist()))
        for label in names[division]:
            inside = members == label
            method = f"accuracy where {division} is {label}"
            if label == SMALL:
                several = f"{len(small)} subset{'s' * (len(small) > 1)}"
                method = f"accuracy in {several} by {division} of fewer than {_MIN_PAIRS} pairs"
            accuracy = pairs.mean(pairs.correct, num_clusters, inside)
            subset = key("subset_accuracy", division=division, subset=label)
            collected.add(subset, accuracy, int(inside.sum()), "share of pairs", method)
    found = collected.findings()
    return {
        division: tuple(
            sorted(
                (found[key("subset_accuracy", division=division, subset=label)] for label in members),
                key=lambda finding: (finding.name == SMALL, finding.estimate, finding.name),
            )
        )
        for division, members in names.items()
    }


def terciles(values: Sequence[float], unit: str) -> list[str]:
    """The third of the values that each value is in, as a label such as "up to 12 tokens"; equal values share one."""
    low, high = np.quantile(np.asarray(values, dtype=np.float64), [1 / 3, 2 / 3], method="lower").tolist()
    names = (f"up to {low:g} {unit}", f"up to {high:g} {unit}", f"above {high:g} {unit}")
    return [names[0] if value <= low else names[1] if value <= high else names[2] for value in values]


def agreement(preference: Floats, num_judgements: Ints) -> list[str]:
    """Whether the annotators of each pair agreed: "one vote", "unanimous" or "divided".

    Parameters
    ----------
    preference : array of shape (B,)
        Share of votes for the chosen response.
    num_judgements : array of shape (B,)
    """
    return [
        "one vote" if votes < 2 else "unanimous" if share == 1 else "divided"
        for share, votes in zip(preference.tolist(), num_judgements.tolist(), strict=True)
    ]


def add_label_ceiling(
    collected: Measurements,
    preference: Floats,
    num_judgements: Ints,
    num_undecided: Ints,
    clusters: Ints,
    weight: Floats | None = None,
) -> None:
    """Add ``label_ceiling``: how often an annotator agrees with the majority of the others.

    Parameters
    ----------
    collected : Measurements
    preference : array of shape (B,)
        Share of votes for one response.
    num_judgements : array of shape (B,)
    num_undecided : array of shape (B,)
        Votes of each pair that are ties or shares.
    clusters : array of shape (B,)
    weight : array of shape (B,), optional
        Of each pair; default: 1.

    Notes
    -----
    Each vote of a pair is left out in turn and compared with the majority of the others; a tie of the others counts one
    half. The share of votes that agree is averaged over pairs with at least two votes. If the vote counted in the
    majority, it would agree with itself: two random votes would agree in 3 of 4 cases. The result is still too high if
    pairs without a majority are left out, and too low for the whole majority, which has one vote more and errs less.
    Pairs with an undecided vote are left out: A, tie, tie has the same share as A, A, B. NaN if no other pair has two
    votes.
    """
    agrees = np.array(
        [_left_out_agrees(*pair) for pair in zip(preference.tolist(), num_judgements.tolist(), strict=True)],
        dtype=np.float64,
    )
    known = np.isfinite(agrees) & (num_undecided == 0)
    collected.add(
        key("label_ceiling"),
        clustered.mean(np.where(known, agrees, 0.0), clusters, collected.num_clusters, known, weight),
        int(known.sum()),
        "share of votes",
        "an annotator agrees with the majority of the pair's other annotators, ties 1/2",
    )


def _left_out_agrees(share: float, num_votes: int) -> float:
    votes = round(share * num_votes)
    if num_votes < 2 or abs(votes - share * num_votes) > 1e-6:
        return math.nan
    other = num_votes - votes

    def agrees(same: int, others: int) -> float:
        return 1.0 if same > others else 0.5 if same == others else 0.0

    return (votes * agrees(votes - 1, other) + other * agrees(other - 1, votes)) / num_votes
