"""Words and phrases that the model rewards beyond what the labels and the length of a response predict."""

from __future__ import annotations

import numpy as np
import scipy.stats

from rm.audit import phrases, style_features
from rm.audit.heldout import ScoredPairs
from rm.audit.records import WordResult, WordTable
from rm.stats.clustered import Floats, Interval
from rm.stats.finding import Finding, key
from rm.stats.logistic import logistic
from rm.stats.measurements import finding

_FALSE_DISCOVERY_RATE = 0.05
_MAX_SHOWN = 20


def word_table(pairs: ScoredPairs, min_pairs: int = 30) -> WordTable:
    """Phrases that predict which response the model prefers, beyond label and length.

    Parameters
    ----------
    pairs : ScoredPairs
    min_pairs : int
        A phrase is tested if pairs of at least this many different prompts have it in exactly one response.

    Returns
    -------
    WordTable
        The false discovery rate over all tested words and word pairs is 5 %.

    Notes
    -----
    A score test (`rm.audit.phrases.score_tests`) on a logistic regression of the model's choice, chosen minus rejected,
    on the label, the difference of log(1 + length) and which is longer. Phrases with the same differences in all pairs
    are one test, shown as the longest of them. This shows association: a phrase may stand for others that come with it.

    References
    ----------
    Benjamini and Hochberg (1995), JRSS B 57, 289-300. doi:10.1111/j.2517-6161.1995.tb02031.x
    """
    found = phrases.differences(pairs.chosen, pairs.rejected, min_pairs)
    found = found.keep(phrases.num_clusters_with(found, pairs.cluster) >= min_pairs)
    found = phrases.distinct(found)
    known, expected = _expected(pairs)
    z = phrases.score_tests(found, pairs.correct, expected, known, pairs.cluster)
    p = phrases.two_sided(z)
    q = scipy.stats.false_discovery_control(p)
    best = [index for index in np.argsort(-np.abs(z), kind="stable").tolist() if q[index] <= _FALSE_DISCOVERY_RATE]
    count = found.sums(np.abs(found.value))
    chosen = found.sums((found.value > 0).astype(np.float64))
    correct = pairs.correct[found.row]
    preferred = found.sums(np.where(found.value > 0, correct, 1 - correct))
    return WordTable(
        found=tuple(
            WordResult(
                phrase=found.phrases[index],
                num_pairs=int(count[index]),
                share_model=float(preferred[index] / count[index]),
                share_labels=float(chosen[index] / count[index]),
                z=float(z[index]),
                p=float(p[index]),
                q=float(q[index]),
                direction="over" if z[index] > 0 else "under",
            )
            for index in best[:_MAX_SHOWN]
        ),
        num_found=len(best),
        num_tested=len(z),
        largest_excess=_largest_excess(np.abs(preferred - chosen) / np.maximum(count, 1), best, z),
    )


def _largest_excess(excess: Floats, found: list[int], z: Floats) -> float:
    """Largest excess of all phrases found, shown or not; undefined if none could be tested."""
    if not len(z) or not np.isfinite(z).all():
        return float("nan")
    return float(excess[found].max()) if found else 0.0


def largest_phrase_excess(table: WordTable, num_pairs: int) -> Finding:
    """How much more often than annotators the model prefers, or avoids, responses with one of the phrases found.

    This is the largest absolute difference of the two shares: 0 if no phrase was found, undefined if none could be
    tested. As the maximum over the phrases found it has no interval of its own; its interval is the number itself.
    """
    excess = table.largest_excess
    method = "model's share minus annotators' where one response has the phrase, largest of the phrases found"
    about, interval = f"{method}: {table.num_found} of {table.num_tested}", Interval(excess, excess, excess)
    return finding(key("largest_phrase_excess"), interval, num_pairs, "difference of shares", about)


def _expected(pairs: ScoredPairs) -> tuple[Floats, Floats]:
    """Label and length of each pair, shape (B, 3), and the probability that they give of being right, shape (B,)."""
    by_how_much = np.log1p(pairs.length_chosen) - np.log1p(pairs.length_rejected)
    known = np.column_stack([np.ones(len(by_how_much)), by_how_much, np.sign(by_how_much)])
    known = style_features.standardised(known)
    clusters = np.zeros(len(known), dtype=np.int64)
    (coefficients,) = logistic(known, pairs.correct, clusters, 1)(np.ones((1, 1)))
    return known, 1 / (1 + np.exp(-known @ coefficients))
