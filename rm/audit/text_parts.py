"""What words and what letters predict of the reward, and the labels' word on it: biases that no feature describes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import scipy.sparse

from rm.audit import overpaid_findings, phrases, surface
from rm.audit.heldout import ScoredPairs
from rm.features import letters
from rm.files import sha256_json
from rm.stats.clustered import Floats, Ints
from rm.stats.cross_fit import Matrix, cross_fit, ridge
from rm.stats.finding import Finding
from rm.stats.sufficiency import Judged, ranked

Counts = Callable[[Sequence[str]], Matrix]
"""Gives how often each column comes up in each of T texts, shape (T, P)."""
_MOST_LETTERS = 5_000
"""Pairs whose letters are read: a text has many times as many runs of letters as words."""


def findings(pairs: ScoredPairs, judged: Judged, fold: Ints) -> Iterator[Finding]:
    """``joint_overpaid`` over words and over letters.

    Parameters
    ----------
    pairs : ScoredPairs, B of them
    judged : Judged
        The same pairs.
    fold : array of shape (B,)
        All pairs of a cluster in one fold.
    """
    reading = phrases.read([*pairs.chosen, *pairs.rejected])
    yield _finding("words", reading.words, reading.name, (pairs.chosen, pairs.rejected), judged, fold)
    kept = _drawn(pairs, _MOST_LETTERS)
    sides = [[side[place] for place in kept.tolist()] for side in (pairs.chosen, pairs.rejected)]
    yield _finding("letters", letters.counts, letters.name, sides, judged.only(kept), fold[kept])


def _finding(
    over: str,
    counts: Counts,
    name: Callable[[int], str],
    sides: Sequence[Sequence[str]],
    judged: Judged,
    fold: Ints,
) -> Finding:
    chosen, rejected = (shares(counts(side)) for side in sides)
    rows = chosen - rejected
    predicted = part(judged, rows, fold)
    named = [f'"{name(index)}"' for index in surface.largest_parts(predicted, rows)]
    return overpaid_findings.joint_finding(surface.joint(judged, predicted), over, surface.JOINT_CRITICAL, named)


def _drawn(pairs: ScoredPairs, most: int) -> Ints:
    """Places of so many pairs: one of each cluster, then a second of each that has one, until there are enough.

    Many pairs of one prompt so leave room for the other prompts. A hash of a pair's texts draws it, so that the order
    of the pairs changes nothing.
    """
    if len(pairs.cluster) <= most:
        return np.arange(len(pairs.cluster))
    texts = zip(pairs.prompts, pairs.chosen, pairs.rejected, strict=True)
    draw = np.array([int(sha256_json(each)[:13], 16) for each in texts], dtype=np.int64)
    order = np.lexsort((draw, pairs.cluster))
    sizes = np.bincount(pairs.cluster)
    turn = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(order[np.lexsort((draw[order], turn))[:most]])


def shares(counts: Matrix) -> Matrix:
    """The root of each column's share of its row: ``sqrt(count / sum of the row)``.

    Parameters
    ----------
    counts : sparse array of shape (T, P)

    Returns
    -------
    sparse array of shape (T, P)
        Rows of length 1, or 0 where the text has nothing.

    Notes
    -----
    How long a text is goes out, which features see, and what is rare counts for more than by its share.

    References
    ----------
    Legendre and Gallagher (2001), Ecologically meaningful transformations for ordination of species data, Oecologia
    129, 271-280: the Hellinger transformation.
    """
    rows = scipy.sparse.csr_array(counts, dtype=np.float64)
    total = np.asarray(rows.sum(axis=1)).ravel()
    entries = np.sqrt(rows.data / np.repeat(total, np.diff(rows.indptr)))
    return scipy.sparse.csr_array((entries, rows.indices, rows.indptr), shape=rows.shape)


def part(pairs: Judged, rows: Matrix, fold: Ints) -> Floats:
    """What words or letters predict of the ranked margin, shape (B,).

    Parameters
    ----------
    pairs : Judged
    rows : sparse array of shape (B, P)
        `shares`, chosen minus rejected.
    fold : array of shape (B,)
    """
    return cross_fit(ridge, rows, ranked(pairs.margin, pairs.weight), fold, pairs.weight)
