"""Words and word pairs in many texts, and a test of many of them at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import scipy.sparse
import scipy.special
from numpy.typing import NDArray

from rm.features import words
from rm.stats.clustered import Floats, Ints

_LEAST = 1e-9


def word_pairs(found: Sequence[str]) -> list[str]:
    """Every two words that follow each other, as phrases."""
    return [f"{one} {other}" for one, other in pairwise(found)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """T different texts as counts of P phrases: words, and pairs of words that follow each other."""

    index_of: Mapping[str, int]
    """Row of each text."""
    counts: Any
    """Sparse matrix (`scipy.sparse.csr_array`) of shape (T, P)."""
    names: Sequence[str]
    """Words by number."""
    codes: Ints
    """(P,), number of a word; for a word pair: (1 + number of the first) * (number of words) + number of the second."""

    def rows(self, texts: Sequence[str]) -> Any:
        """Counts of each text, a sparse matrix of shape (B, P)."""
        return self.counts[[self.index_of[text] for text in texts]]

    def words(self, texts: Sequence[str]) -> Any:
        """The same with 0 for word pairs."""
        rows = self.rows(texts)
        rows.data[self.codes[rows.indices] >= len(self.names)] = 0
        rows.eliminate_zeros()
        return rows

    def name(self, phrase: int) -> str:
        """The phrase as text."""
        one, other = divmod(int(self.codes[phrase]), len(self.names))
        return f"{self.names[one - 1]} {self.names[other]}" if one else self.names[other]


def read(texts: Iterable[str]) -> Reading:
    """Count the phrases of texts; any order or repetition of the same texts gives the same reading."""
    return _read(frozenset(texts))


@lru_cache(maxsize=2)  # an audit reads the same texts several times, its self-test many times
def _read(texts: frozenset[str]) -> Reading:
    ordered, numbers = sorted(texts), words.Numbers()
    word, row = words.read(ordered, numbers)
    row = row.astype(np.int32)
    follows = row[1:] == row[:-1]
    pair = ((word[:-1] + 1) * len(numbers) + word[1:])[follows]  # greater than every number of a word
    encoded = pa.array(np.concatenate([word, pair])).dictionary_encode()
    del word, pair  # as large as the counts
    row = np.concatenate([row, row[1:][follows]])
    entries = np.ones(len(row), dtype=np.int32), (row, np.asarray(encoded.indices))
    counts = scipy.sparse.csr_array(entries, shape=(len(ordered), len(encoded.dictionary)))
    index_of = {text: index for index, text in enumerate(ordered)}
    return Reading(index_of=index_of, counts=counts, names=list(numbers), codes=np.asarray(encoded.dictionary))


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A sparse matrix of rows by phrases, as its E nonzero entries."""

    num_rows: int
    phrases: tuple[str, ...]
    row: NDArray[np.int32]
    """(E,)"""
    phrase: NDArray[np.int32]
    """(E,), index in ``phrases``."""
    value: Floats
    """(E,)"""

    def sums(self, values: Floats) -> Floats:
        """Sum over each phrase of one value per entry, shape (P,)."""
        total = np.bincount(self.phrase, values, len(self.phrases))
        return total.astype(np.float64)  # without entries it is of integers

    def by_phrase(self) -> Any:
        """The matrix of rows by phrases, with the rows of each phrase in order."""
        matrix = scipy.sparse.csc_array((self.value, (self.row, self.phrase)), shape=(self.num_rows, len(self.phrases)))
        matrix.sort_indices()
        return matrix

    def by_cluster(self, values: NDArray[Any], clusters: Ints) -> Any:
        """Sum over each cluster and phrase of one value per entry, a sparse matrix of shape (C, P)."""
        entries = values, (clusters.astype(np.int32)[self.row], self.phrase)
        return scipy.sparse.csr_array(entries, shape=(int(clusters.max(initial=-1)) + 1, len(self.phrases)))

    def keep(self, wanted: NDArray[np.bool_]) -> Table:
        """The table with only the wanted phrases, given as an array of bool of shape (P,)."""
        entries, new_index = wanted[self.phrase], (np.cumsum(wanted) - 1).astype(np.int32)
        return Table(
            num_rows=self.num_rows,
            phrases=tuple(phrase for phrase, good in zip(self.phrases, wanted.tolist(), strict=True) if good),
            row=self.row[entries],
            phrase=new_index[self.phrase[entries]],
            value=self.value[entries],
        )


def table(texts: Sequence[str], min_texts: int) -> Table:
    """Which words and word pairs are in which texts.

    Parameters
    ----------
    texts : sequence of str
    min_texts : int
        Phrases in fewer texts are left out.

    Returns
    -------
    Table
        Rows are texts; every value is 1.
    """
    reading = read(texts)
    present = _present(reading.rows(texts))
    return _table(reading, present, _num_texts(present) >= min_texts)


def differences(chosen: Sequence[str], rejected: Sequence[str], min_texts: int) -> Table:
    """Which phrases are in only one response of a pair.

    Returns
    -------
    Table
        Rows are pairs. A value is 1 if a phrase is only in the chosen response, -1 if only in the rejected one.
    """
    reading = read([*chosen, *rejected])
    sides = [_present(reading.rows(texts)) for texts in (chosen, rejected)]
    return _table(reading, sides[0] - sides[1], _num_texts(sides[0]) + _num_texts(sides[1]) >= min_texts)


def _present(counts: Any) -> Any:
    return counts.astype(bool).astype(np.int8)


def _num_texts(present: Any) -> Ints:
    return np.bincount(present.indices, minlength=present.shape[1])


def _table(reading: Reading, matrix: Any, wanted: NDArray[np.bool_]) -> Table:
    """The wanted phrases of a sparse matrix of rows by all phrases of the reading."""
    kept = matrix[:, np.flatnonzero(wanted)].tocoo()
    kept.eliminate_zeros()
    return Table(
        num_rows=matrix.shape[0],
        phrases=tuple(reading.name(phrase) for phrase in np.flatnonzero(wanted).tolist()),
        row=kept.row,
        phrase=kept.col,
        value=kept.data.astype(np.float64),
    )


def num_clusters_with(found: Table, clusters: Ints) -> Ints:
    """Number of different clusters among the rows of each phrase, shape (P,)."""
    return _num_texts(found.by_cluster(np.ones(len(found.row), dtype=bool), clusters))


def distinct(found: Table) -> Table:
    """The table with only the longest of all phrases that have the same rows: the others would be the same test."""
    return found.keep(_longest(found))


def _longest(found: Table) -> NDArray[np.bool_]:
    columns = found.by_phrase()
    best: dict[bytes, int] = {}
    for index, (start, end) in enumerate(pairwise(columns.indptr.tolist())):
        key = sha256(columns.indices[start:end].tobytes() + columns.data[start:end].tobytes()).digest()
        other = best.setdefault(key, index)
        if len(found.phrases[index]) > len(found.phrases[other]):
            best[key] = index
    wanted = np.zeros(len(found.phrases), dtype=bool)
    wanted[list(best.values())] = True
    return wanted


class Scores(NamedTuple):
    """Score tests of P phrases."""

    statistic: Floats
    """(P,), sum of what was not expected, times the phrase's residual."""
    information: Floats
    """(P,), variance of the statistic by the model."""
    variance: Floats
    """(P,), the larger one of the model's and the robust one."""

    @property
    def z(self) -> Floats:
        """Standard normal if the phrase predicts nothing; above 0 where the target is higher than expected."""
        z: Floats = np.where(self.variance > _LEAST, self.statistic / np.sqrt(np.maximum(self.variance, _LEAST)), 0.0)
        return z

    @property
    def estimate(self) -> Floats:
        """One step towards the coefficient, in log-odds."""
        return np.where(self.information > _LEAST, self.statistic / np.maximum(self.information, _LEAST), 0.0)


def score_tests(
    found: Table, target: Floats, expected: Floats, known: Floats, clusters: Ints, sampled: Floats | None = None
) -> Scores:
    """Whether each phrase predicts the target beyond what the known columns predict.

    Parameters
    ----------
    found : Table of B rows
    target : array of shape (B,)
        In [0, 1].
    expected : array of shape (B,)
        Fitted values of a logistic regression of the target on ``known``.
    known : array of shape (B, K)
    clusters : array of shape (B,)
    sampled : array of shape (B,), optional
        Weight of each row, above 0; default: 1.

    Returns
    -------
    Scores

    Notes
    -----
    Rao's score test of one more column x in the regression: U divided by its standard error, where U is the weighted
    sum of (target - expected) times the residual of x on the known columns (weighted least squares). There are two
    standard errors, the model's and one that is robust to dependence within clusters; the larger is taken. The robust
    one alone is far too small if a phrase has few rows and none of them is a surprise; the model's alone is too small
    if clusters agree or surprises are rare.

    References
    ----------
    Rao (1948), doi:10.1017/S0305004100023987; Boos (1992), The American Statistician 46, 327-333 (the robust form).
    """
    sampled = np.ones(len(target)) if sampled is None else sampled
    residual, weight = sampled * (target - expected), sampled * expected * (1 - expected)
    weighted = known * weight[:, None]
    cross = np.stack([found.sums(found.value * column[found.row]) for column in weighted.T], axis=1)  # (P, K)
    explained = cross @ np.linalg.pinv(known.T @ weighted, hermitian=True)  # (P, K)
    scores = known * residual[:, None]
    statistic = found.sums(found.value * residual[found.row]) - explained @ scores.sum(axis=0)
    square = found.sums(found.value**2 * weight[found.row])
    by_model = square - (explained * cross).sum(axis=1)
    # Rows of unequal weight say less. By how much is taken from the phrase itself, of which little is explained.
    wider = found.sums(found.value**2 * (sampled * weight)[found.row]) / np.maximum(square, _LEAST)
    variance = np.maximum(by_model * wider, _clustered_variance(found, residual, scores, explained, clusters))
    return Scores(statistic, by_model, variance)


def _clustered_variance(found: Table, residual: Floats, scores: Floats, explained: Floats, clusters: Ints) -> Floats:
    """For every phrase, the sum over clusters of the squared part of its score, without a dense matrix."""
    parts = found.by_cluster(found.value * residual[found.row], clusters)  # of the phrase itself
    known = np.stack([np.bincount(clusters, column, parts.shape[0]) for column in scores.T], axis=1)  # (C, K)
    own = parts.power(2).sum(axis=0)
    both = ((parts.T @ known) * explained).sum(axis=1)
    rest = ((explained @ (known.T @ known)) * explained).sum(axis=1)
    variance: Floats = own - 2 * both + rest
    return variance


def two_sided(z: Floats) -> Floats:
    """Two-sided p-value: probability that a standard normal variable is at least as far from 0."""
    return np.asarray(scipy.special.erfc(np.abs(z) / math.sqrt(2)), dtype=np.float64)
