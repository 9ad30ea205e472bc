"""Whether votes on one pair agree: of all, of each annotator beside the others, and of each source."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rm.labels import contrasts
from rm.labels.aliases import alias
from rm.labels.contrasts import Sums
from rm.labels.records import AnnotatorRow, Estimate, SourceRow, Standing
from rm.labels.shares import of_known, share
from rm.labels.votes import Votes
from rm.stats.clustered import Floats, Ints
from rm.stats.finding import Finding, key
from rm.stats.measurements import finding

FAR = 0.1
"""Difference of shares up to which annotators are alike enough: people differ in skill and in what they see."""
MIN_PROMPTS = 15
"""Prompts below which nothing is said of an annotator."""
_UNIT = "share of pairs"


def with_others(votes: Votes) -> Floats:
    """How far each vote agrees with the mean of the others on its pair, shape (V,); NaN where there are none.

    With a vote a in [0, 1] and the mean b of the others it is ``a b + (1 - a) (1 - b)``: the probability of the same
    choice, where a tie is a coin.

    Parameters
    ----------
    votes : Votes
        Merged.
    """
    total, count = _others(votes, votes.preference), _others(votes, np.ones(len(votes)))
    others = total / np.where(count > 0, count, np.nan)
    agreed: Floats = votes.preference * others + (1 - votes.preference) * (1 - others)
    return agreed


def _among_others(votes: Votes) -> Floats:
    """How far the others on the pair of each vote agree with each other, shape (V,); NaN where these are not two.

    Two of n votes, with the sum S and the sum of squares Q, both choose one response with probability
    ``(S^2 - Q) / (n (n - 1))``.
    """
    count = _others(votes, np.ones(len(votes)))
    for_one = [_others(votes, side) ** 2 - _others(votes, side**2) for side in (votes.preference, 1 - votes.preference)]
    agreed: Floats = (for_one[0] + for_one[1]) / np.where(count > 1, count * (count - 1), np.nan)
    return agreed


def _others(votes: Votes, values: Floats) -> Floats:
    """Of each vote, the sum over the others on its pair, shape (V,)."""
    found: Floats = np.bincount(votes.pair, values)[votes.pair] - values
    return found


def findings(votes: Votes) -> list[Finding]:
    """How often two votes agree, and the shares of pairs whose votes contradict each other.

    Gives ``label_agreement``, ``label_contradictions``, ``label_self_contradictions``, ``label_source_duplicates`` and
    ``label_source_contradictions``, with intervals by prompt.

    Parameters
    ----------
    votes : Votes
        Judgements, not merged.
    """
    merged, _ = votes.merged()
    agreed = with_others(merged)
    shared = ~np.isnan(agreed)
    agreement, unit = share(agreed, merged.cluster, shared), "share of votes with others beside"
    method = "two annotators choose the same response of a pair, a tie is a coin"
    named = votes.voter >= 0
    by_self = np.column_stack([votes.pair, votes.voter])[named]
    in_source, place = np.unique(np.column_stack([votes.pair, votes.source]), axis=0, return_inverse=True)
    place = place.reshape(-1)
    mean = np.bincount(place, votes.preference, len(in_source)) / np.bincount(place, minlength=len(in_source))
    cluster = np.zeros(votes.num_pairs, dtype=np.int64)
    cluster[votes.pair] = votes.cluster
    in_several = (np.bincount(in_source[:, 0], minlength=votes.num_pairs) > 1).astype(np.float64)

    def contradicted(name: str, group: Ints, preference: Floats, method: str) -> Finding:
        differ, several, pair = _contradicted(group, preference)
        found = share(differ, cluster[pair], several)
        return finding(key(name), found, int(several.sum()), _UNIT, method)

    return [
        finding(key("label_agreement"), agreement, int(shared.sum()), unit, method),
        contradicted(
            "label_contradictions",
            merged.pair[:, None],
            merged.preference,
            "pairs with several votes that have votes for both responses",
        ),
        contradicted(
            "label_self_contradictions",
            by_self,
            votes.preference[named],
            "an annotator who came back to a pair chose the other response",
        ),
        finding(
            key("label_source_duplicates"),
            share(in_several, cluster),
            votes.num_pairs,
            _UNIT,
            "pairs with judgements in several sources",
        ),
        contradicted(
            "label_source_contradictions",
            in_source[:, :1],
            mean,
            "the sources of a pair prefer different responses",
        ),
    ]


def _contradicted(group: Ints, preference: Floats) -> tuple[Floats, NDArray[np.bool_], Ints]:
    """Of each group of votes: 1 where there are some for both responses, whether it has several, and its pair.

    A group is a row of numbers, of which the first is the pair's.
    """
    rows, inverse = np.unique(group, axis=0, return_inverse=True)
    place = inverse.reshape(-1)
    several = np.bincount(place, minlength=len(rows)) > 1
    for_one, for_other = (np.bincount(place, side, len(rows)) > 0 for side in (preference > 0.5, preference < 0.5))
    return (for_one & for_other).astype(np.float64), several, rows[:, 0]


def annotators(votes: Votes) -> tuple[AnnotatorRow, ...]:
    """Each annotator beside the others, those who are far first, then by number of votes.

    Parameters
    ----------
    votes : Votes
        Judgements, not merged.

    Notes
    -----
    An annotator's agreement with others stands beside that of these others with each other, on the same pairs, each
    pair counted once: so neither hard prompts nor who shares the pairs makes a difference, and who flips all labels
    lowers what others reach with them, but not what these reach among themselves. With two on a pair nobody knows which
    of them is wrong, so such pairs count only where there are too few others to test. Only less agreement is far.

    How often the longer response wins stands beside the share of all other votes, on whatever pairs these had.

    Both tests of all annotators together are Holm's at 5 %, each of a difference beyond 10 points.
    """
    votes, _ = votes.merged()
    shared, others = with_others(votes), _among_others(votes)
    compared = np.where(np.isnan(others), np.nan, shared)
    all_longer = Sums.of(votes.for_longer, votes.cluster, votes.num_clusters)
    by_voter = np.argsort(votes.voter, kind="stable")
    starts = np.searchsorted(votes.voter[by_voter], np.arange(len(votes.annotators) + 1)).tolist()
    rows, tests = [], []
    for (start, end), name in zip(pairwise(starts), votes.annotators, strict=True):
        own = by_voter[start:end]
        seen = np.unique(votes.cluster[own])
        with_them, beside_them, among_them = (_sums(votes, each, own, seen) for each in (shared, compared, others))
        agreed, agreement = shared, with_them
        if _is_tested(beside_them, among_them):
            agreed, agreement = compared, beside_them
        if len(seen) < MIN_PROMPTS:  # of whom only means are needed: with thousands it is faster
            longer, rest = _sums(votes, votes.for_longer, own, seen), all_longer.gathered(seen)
        else:
            longer, rest = _sums(votes, votes.for_longer, own), all_longer
        beside = rest.minus(longer)
        tests.append((_tested(agreement, among_them, -1), _tested(longer, beside, 0)))
        rows.append(  # numbers, no sums: these have a place for every prompt
            AnnotatorRow(
                annotator=alias(name),
                num_votes=len(own),
                num_shared=int(with_them.count.sum()),
                agreement=_standing(of_known(agreed[own], votes.cluster[own]), agreement, among_them),
                longer_wins=_standing(of_known(votes.for_longer[own], votes.cluster[own]), longer, beside),
            )
        )
    far = contrasts.holm(np.array(tests, dtype=np.float64).reshape(-1)).reshape(-1, 2).tolist()
    judged = [_judged(row, *is_far) for row, is_far in zip(rows, far, strict=True)]
    return tuple(sorted(judged, key=lambda row: (not row.is_far, -row.num_votes, row.annotator)))


def _judged(row: AnnotatorRow, agreement_is_far: bool, length_is_far: bool) -> AnnotatorRow:
    """The row with the results of both tests, which need those of all annotators."""
    agreement = row.agreement.model_copy(update={"is_far": agreement_is_far})
    longer = row.longer_wins.model_copy(update={"is_far": length_is_far})
    return row.model_copy(update={"agreement": agreement, "longer_wins": longer})


def _sums(votes: Votes, values: Floats, rows: Ints, seen: Ints | None = None) -> Sums:
    """Of some votes by cluster, or by those that are seen and one for all others."""
    cluster = votes.cluster[rows]
    if seen is None:
        return Sums.of(values[rows], cluster, votes.num_clusters)
    return Sums.of(values[rows], np.searchsorted(seen, cluster), len(seen) + 1)


def _is_tested(own: Sums, others: Sums) -> bool:
    return min(own.num_clusters, others.num_clusters) >= MIN_PROMPTS


def _tested(own: Sums, others: Sums, side: int) -> float:
    return contrasts.p_value(own, others, FAR, side) if _is_tested(own, others) else math.nan


def _standing(found: Estimate, own: Sums, others: Sums) -> Standing:
    return Standing(
        own=found,
        others=others.mean,
        num_prompts=own.num_clusters,
        is_tested=_is_tested(own, others),
        is_far=False,
    )


def sources(votes: Votes) -> tuple[SourceRow, ...]:
    """Each source, in order of its number of judgements.

    Parameters
    ----------
    votes : Votes
        Judgements, not merged.
    """
    merged, place = votes.merged()
    agreed = with_others(merged)[place]
    is_old = votes.is_new == 0
    rows = []
    for number, name in enumerate(votes.sources):
        own = np.flatnonzero(votes.source == number)
        values = (votes.for_longer, votes.for_first, agreed)
        longer, first, agreement = (of_known(each[own], votes.cluster[own]) for each in values)
        rows.append(
            SourceRow(
                source=name,
                num_votes=len(own),
                num_pairs=len(np.unique(votes.pair[own])),
                longer_wins=longer,
                first_wins=first,
                agreement=agreement,
                share_of_new=_part(votes.is_new == 1, own),
                share_of_old=_part(is_old, own),
            )
        )
    return tuple(sorted(rows, key=lambda row: (-row.num_votes, row.source)))


def _part(where: NDArray[np.bool_], own: Ints) -> float:
    """Share of some votes that are a source's own; NaN if there are none."""
    return float(where[own].sum() / where.sum()) if where.any() else math.nan
