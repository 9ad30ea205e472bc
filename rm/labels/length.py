"""Whether labels follow length, and whether the order of the snapshot tells them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from rm.labels.pairs import LabelledPairs
from rm.labels.shares import share
from rm.stats import clustered
from rm.stats.clustered import Floats
from rm.stats.finding import key
from rm.stats.logistic import logistic
from rm.stats.measurements import Measurements


def add(collected: Measurements, pairs: LabelledPairs) -> None:
    """Add ``label_longer_wins``, ``label_length_odds`` and ``label_order``.

    Parameters
    ----------
    collected : Measurements
    pairs : LabelledPairs

    Notes
    -----
    The odds ratio is ``2^b`` with b the slope of a logistic regression of the votes on the difference of log length,
    without intercept. It has the penalty of `rm.stats.logistic.logistic`, which weighs as much as four pairs.

    Which response of a pair is first depends on their texts alone. A text that answers many prompts, such as a stock
    refusal, is nearly always first or nearly never, whatever the labels say of it; such pairs are no coin and are left
    out of the order.
    """
    length = pairs.log_length
    differs = length != 0
    longer = np.where(length > 0, pairs.preference, 1 - pairs.preference)
    count = int(differs.sum())
    wins, method = share(longer, pairs.cluster, differs), "pairs of unequal length in characters"
    collected.add_interval(key("label_longer_wins"), wins, count, "share of votes", method)
    if count:
        _add_odds(collected, pairs, length, differs)
    alone = pairs.has_own_texts
    first = share(pairs.preference, pairs.cluster, alone)
    method = "the response that the snapshot has first, which its digest decides, is preferred; texts of one prompt"
    collected.add_interval(key("label_order"), first, int(alone.sum()), "share of votes", method)


def _add_odds(collected: Measurements, pairs: LabelledPairs, length: Floats, differs: NDArray[np.bool_]) -> None:
    doublings = length[:, None] / math.log(2)
    slope = logistic(doublings[differs], pairs.preference[differs], pairs.cluster[differs], collected.num_clusters)
    odds = clustered.combined(lambda coefficients: np.exp(coefficients[:, 0]), slope)
    method = "logistic regression of votes on the difference of log length, for twice the characters"
    collected.add(key("label_length_odds"), odds, int(differs.sum()), "odds ratio", method)
