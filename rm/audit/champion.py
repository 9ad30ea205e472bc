"""A new model compared with the model in use, on the same held-out pairs."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from rm.audit.baselines import folds
from rm.audit.heldout import Heldout, ScoredPairs
from rm.audit.surface import length_part
from rm.stats import clustered
from rm.stats.clustered import Floats, Interval, Statistic
from rm.stats.correlation import spearman
from rm.stats.finding import Finding, key
from rm.stats.measurements import Measurements, finding
from rm.stats.sufficiency import ranked

KIND = "over_champion"
"""Kind of all findings in this module; their label ``of`` says what is compared."""
_UNIT = "difference of shares"


def add(collected: Measurements, heldout: Heldout, champion: Heldout) -> None:
    """Add paired differences, new minus champion, over the pairs that both models have scored.

    Parameters
    ----------
    collected : Measurements
    heldout, champion : Heldout
        Of the same held-out prompts.
    """
    new, old, clusters, count = _common(heldout, champion)
    num_clusters = collected.num_clusters
    longer = new.length_difference > 0  # by the new model's tokens, for both
    differs = new.length_difference != 0

    def paired(values: NDArray[np.float64], where: NDArray[np.bool_] | None = None) -> Statistic:
        return new.mean(values, num_clusters, where)

    gain = new.correct - old.correct
    about = "accuracy minus the champion's, same pairs"
    collected.add(key(KIND, of="accuracy"), paired(gain), count, _UNIT, about)
    for name, where in {"longer": longer, "shorter": differs & ~longer}.items():
        method = f"the same, where the chosen response is the {name} one"
        compared = key(KIND, of=f"accuracy_{name}_chosen")
        collected.add(compared, paired(gain, where), int(where.sum()), _UNIT, method)
    for name, flipped in {"gained": gain > 0, "lost": gain < 0}.items():
        method = f"pairs on which accuracy is {name} against the champion"
        share = paired(flipped.astype(np.float64))
        collected.add(key(KIND, of=f"flips_{name}"), share, count, "share of pairs", method)
    agreement = spearman(new.margin, old.margin, clusters, num_clusters)
    collected.add(key(KIND, of="spearman"), agreement, count, "Spearman correlation", "margins of the two models")
    growth = _gain_without_length(new) - _gain_without_length(old)
    method = "what accuracy gains where length is taken out of the reward, minus the same of the champion"
    collected.add(key(KIND, of="gain_without_length"), paired(growth), count, _UNIT, method)


def incomparable(num_common: int, num_pairs: int) -> tuple[Finding, ...]:
    """In the place of a comparison: what the gate asks is undefined, since the champion has too few of the rewards.

    Parameters
    ----------
    num_common, num_pairs : int
        Pairs that both models have scored, and pairs that the new one has.
    """
    detail = f"the model in use has rewards for {num_common:,} of {num_pairs:,} pairs, as most are too long for it"
    interval = Interval(math.nan, math.nan, math.nan)
    return tuple(
        finding(key(KIND, of=of), interval, num_common, _UNIT, "not compared").model_copy(update={"detail": detail})
        for of in ("accuracy", "gain_without_length")
    )


def _gain_without_length(pairs: ScoredPairs) -> Floats:
    """Whether each pair is right without what length predicts of the reward, minus whether it is right, shape (B,)."""
    reward, weight = ranked(pairs.margin, pairs.weight), pairs.weight
    rest = reward - length_part(reward, pairs.log_length_difference, folds(pairs.cluster_texts), weight)
    return clustered.win_indicator(rest) - pairs.correct


def num_common(heldout: Heldout, champion: Heldout) -> int:
    """Number of pairs that both models have scored."""
    return len(set(heldout.pairs.keys) & set(champion.pairs.keys))


def _common(heldout: Heldout, champion: Heldout) -> tuple[ScoredPairs, ScoredPairs, NDArray[np.int64], int]:
    """The pairs that both models have scored, in the same order, with the clusters of their prompts."""
    index_of = {pair: index for index, pair in enumerate(champion.pairs.keys)}
    indices = [(index, index_of[pair]) for index, pair in enumerate(heldout.pairs.keys) if pair in index_of]
    columns = np.array(indices, dtype=np.int64).reshape(-1, 2)
    new, old = heldout.pairs.take(columns[:, 0]), champion.pairs.take(columns[:, 1])
    return new, old, new.cluster, len(indices)
