"""Leaks: marks and phrases that nearly decide the label, so that nothing else need be learnt."""

from __future__ import annotations

import numpy as np
import scipy.stats

from rm.audit import phrases
from rm.labels.marks import MARKS
from rm.labels.pairs import LabelledPairs
from rm.labels.records import Giveaway
from rm.stats.clustered import Floats, Ints

DECIDES = 0.98
"""Share of votes from which on a mark or phrase decides the label: who follows annotators is less sure than that."""
_SURELY = 0.9
"""What the share must surely be above."""
MIN_SHARE = 0.02
"""Share of the pairs in which it must differ to matter: a phrase of few pairs teaches a model nothing else."""
_MOST = 20
"""Rows that are kept."""


def find(pairs: LabelledPairs, differences: Floats) -> tuple[Giveaway, ...]:
    """Marks and phrases whose side wins, or loses, nearly all votes, those of most pairs first.

    Parameters
    ----------
    pairs : LabelledPairs
    differences : array of shape (B, F)
        Of `rm.labels.marks.MARKS`.

    Notes
    -----
    Phrases are words and word pairs, each in only one response of a pair; marks of length are left out. The share must
    be 0.98, and surely above 0.9. The bound is Wilson's, with clusters in place of pairs, at a level of 5 % divided by
    the number of phrases and marks.
    """
    least = max(MIN_SHARE * len(pairs), 1.0)
    table = phrases.distinct(phrases.differences(pairs.first, pairs.second, int(np.ceil(least))))
    count = np.bincount(table.phrase, minlength=len(table.phrases)).astype(np.float64)
    votes = np.where(table.value > 0, pairs.preference[table.row], 1 - pairs.preference[table.row])
    wins = table.sums(votes)
    clusters = phrases.num_clusters_with(table, pairs.cluster)
    common = np.flatnonzero(count >= least)
    marks = [at for at, mark in enumerate(MARKS) if mark.family != "length"]
    own = [at for at in marks if (differences[:, at] != 0).sum() >= least]
    critical = float(scipy.stats.norm.isf(0.025 / max(len(common) + len(own), 1)))
    found = [
        Giveaway(
            name=f"phrase {table.phrases[at]!r}",
            num_pairs=int(count[at]),
            wins=float(wins[at] / count[at]),
            bound=_bound(float(wins[at] / count[at]), int(clusters[at]), critical),
        )
        for at in common.tolist()
    ]
    found += [_mark(MARKS[at].name, differences[:, at], pairs, critical) for at in own]
    decided = [one for one in found if max(one.wins, 1 - one.wins) >= DECIDES and one.bound > _SURELY]
    return tuple(sorted(decided, key=lambda one: (-one.num_pairs, one.name))[:_MOST])


def _mark(name: str, d: Floats, pairs: LabelledPairs, critical: float) -> Giveaway:
    rows: Ints = np.flatnonzero(d)
    votes = np.where(d[rows] > 0, pairs.preference[rows], 1 - pairs.preference[rows])
    share = float(votes.mean())
    num_clusters = len(np.unique(pairs.cluster[rows]))
    return Giveaway(name=f"mark {name}", num_pairs=len(rows), wins=share, bound=_bound(share, num_clusters, critical))


def _bound(share: float, count: int, critical: float) -> float:
    """Wilson's lower bound of the larger of a share and one minus it, at a quantile of the normal distribution."""
    share, square = max(share, 1 - share), critical**2
    spread = share * (1 - share) / count + square / (4 * count**2)
    return (share + square / (2 * count) - critical * float(np.sqrt(spread))) / (1 + square / count)
