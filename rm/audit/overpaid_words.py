"""Words and phrases that data show: the model pays for them in the direction against which the labels still ask."""

from __future__ import annotations

import numpy as np
import scipy.stats

from rm.audit import phrases
from rm.audit.heldout import ScoredPairs
from rm.audit.records import WordResult, WordTable
from rm.stats.clustered import Floats, Interval
from rm.stats.finding import Finding, key
from rm.stats.measurements import finding
from rm.stats.sufficiency import Judged, Sufficiency

_FALSE_DISCOVERY_RATE = 0.1
_PAID = 1.96
"""Standard errors that what is paid must be away from 0."""
_MAX_SHOWN = 20
MIN_PROMPTS = 30


def word_table(pairs: ScoredPairs, judged: Judged, min_prompts: int = MIN_PROMPTS) -> WordTable:
    """Phrases that are overpaid or over-punished.

    Parameters
    ----------
    pairs : ScoredPairs
    judged : Judged
        The same pairs.
    min_prompts : int
        A phrase is tested if pairs of at least this many different prompts have it in exactly one response.

    Returns
    -------
    WordTable
        The false discovery rate over all tested words and word pairs is 10 %.

    Notes
    -----
    As for features (`rm.stats.sufficiency`), but for many columns at once: what the labels ask is Rao's score test on
    the fit with the reward (`rm.audit.phrases.score_tests`), what the model pays is the slope of the ranked margin,
    both freed of length; the reward's slope may not differ with the phrase itself. A phrase is found if both have
    opposite signs, the first by Benjamini and Hochberg's rule, the second by 1.96 standard errors. Phrases with the
    same differences in all pairs are one test, shown as the longest of them. This shows association: a phrase may
    stand for others that come with it.

    References
    ----------
    Benjamini and Hochberg (1995), JRSS B 57, 289-300. doi:10.1111/j.2517-6161.1995.tb02031.x
    """
    tests = Sufficiency(judged)
    found = phrases.differences(pairs.chosen, pairs.rejected, min_prompts)
    found = found.keep(phrases.num_clusters_with(found, pairs.cluster) >= min_prompts)
    found = phrases.distinct(found)
    fit = tests.fit
    if fit is None or not tests.follows_labels or not found.phrases:
        return WordTable(found=(), num_found=0, num_tested=0)
    weight = judged.weight / judged.weight.mean()
    expected = judged.preference - fit.residual / weight
    scores = phrases.score_tests(found, judged.preference, expected, fit.base, pairs.cluster, weight)
    points = float(fit.curvature.mean())
    paid, paid_z = _paid(found, tests, judged, weight)
    p = phrases.two_sided(scores.z)
    q = scipy.stats.false_discovery_control(p)
    against = (scores.z * paid_z < 0) & (np.abs(paid_z) > _PAID) & (q <= _FALSE_DISCOVERY_RATE)
    best = [index for index in np.argsort(-np.abs(scores.z), kind="stable").tolist() if against[index]]
    num_pairs = found.sums(np.abs(found.value))
    each, correct = weight[found.row], pairs.correct[found.row]
    count, chosen = found.sums(each), found.sums(each * (found.value > 0))
    preferred = found.sums(each * np.where(found.value > 0, correct, 1 - correct))
    return WordTable(
        found=tuple(
            WordResult(
                phrase=found.phrases[index],
                num_pairs=int(num_pairs[index]),
                share_model=float(preferred[index] / count[index]),
                share_labels=float(chosen[index] / count[index]),
                asked=points * float(scores.estimate[index]),
                paid=points * float(paid[index]),
                z=float(scores.z[index]),
                p=float(p[index]),
                q=float(q[index]),
                direction="over" if paid[index] > 0 else "under",
            )
            for index in best[:_MAX_SHOWN]
        ),
        num_found=len(best),
        num_tested=len(p),
    )


def _paid(found: phrases.Table, tests: Sufficiency, judged: Judged, weight: Floats) -> tuple[Floats, Floats]:
    """Log-odds per phrase, and how many standard errors they are away from 0, each of shape (P,)."""
    length, weighted = judged.length, weight * judged.length
    square = float(weighted @ length)
    along = found.sums(found.value * weighted[found.row])
    rest = weight * (tests.reward - length * (float(weighted @ tests.reward) / square if square else 0.0))
    total = found.sums(found.value * rest[found.row])
    size = found.sums(found.value**2 * weight[found.row]) - (along**2 / square if square else 0.0)
    by_cluster = found.by_cluster(found.value * rest[found.row], judged.cluster)
    spread = np.sqrt(np.asarray(by_cluster.power(2).sum(axis=0)).ravel())
    return tests.slope * total / np.maximum(size, 1e-9), total / np.maximum(spread, 1e-9)


def num_phrases(table: WordTable, num_pairs: int) -> tuple[Finding, ...]:
    """How many phrases were found; nothing if none could be tested."""
    if not table.num_tested:
        return ()
    count = float(table.num_found)
    method = f"of {table.num_tested} words and word pairs, those that are overpaid or over-punished"
    found = finding(key("num_phrases"), Interval(count, count, count), num_pairs, "phrases", method)
    return (found.model_copy(update={"detail": ", ".join(f'"{word.phrase}"' for word in table.found[:5])}),)
