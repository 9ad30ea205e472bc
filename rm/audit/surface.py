"""What a reward is made of, and whether it would be better without its surface.

The reward is predicted from surface alone, without labels and from other prompts only. What is predicted is its
surface; the rest is what surface does not tell. A sound model loses accuracy where a part of its surface is taken out;
one that overpays for that part gains, which is also its first remedy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse

from rm.audit.records import EVERYTHING
from rm.features.battery import BATTERY, LOG_LENGTH, Feature
from rm.features.prompt_kinds import Bools
from rm.stats import clustered
from rm.stats.clustered import Floats, Ints, Statistic
from rm.stats.cross_fit import Matrix, boosted, cross_fit, ridge, stacked
from rm.stats.finding import key
from rm.stats.interactions import InKinds, products
from rm.stats.measurements import Measurements
from rm.stats.sufficiency import Account, Judged, Sufficiency, ranked, usual

Kinds = Mapping[str, Bools]
"""By name of a kind of prompt, whether each pair belongs to it."""
LENGTH = "length"
"""The part that has the log of characters alone: other features of length know how many sentences there are."""
JOINT_CRITICAL = 2.33
"""Standard errors below each joint test's estimate: 1 % for each of three, beside the 5 % of all single features."""
_SHOWN = 5
_RAREST, _MOST_KINDS = 0.05, 12
"""Share of the pairs that a kind of prompt has at least, inside and outside; and kinds that are looked at."""
_OUT = "the sign of the ranked margin minus its cross-fitted prediction from"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """The ranked margin of B pairs, and what parts of surface predict of it."""

    reward: Floats
    """(B,), ranked."""
    predicted: Mapping[str, Floats]
    """By part (each family of features, and all of them as ``surface``), shape (B,)."""

    @classmethod
    def of(
        cls,
        pairs: Judged,
        differences: Floats,
        fold: Ints,
        kinds: Kinds,
        features: Sequence[Feature] = BATTERY,
    ) -> Surface:
        """Predict the margin's ranks from features.

        Parameters
        ----------
        pairs : Judged
        differences : array of shape (B, F)
            Features, chosen minus rejected.
        fold : array of shape (B,)
            All pairs of a prompt in one fold.
        kinds : dict of arrays of bool, shape (B,)
            `rm.features.prompt_kinds.kinds`.
        features : sequence of Feature, F of them
        """
        reward, units = ranked(pairs.margin, pairs.weight), usual(differences, weight=pairs.weight)
        columns = {family: [feature.family == family for feature in features] for family in _families(features)}
        columns[LENGTH] = [feature.name == LOG_LENGTH for feature in features]
        parts = {
            part: cross_fit(ridge, units[:, chosen], reward, fold, pairs.weight) for part, chosen in columns.items()
        }
        return cls(
            reward=reward, predicted={**parts, EVERYTHING: whole_part(pairs, differences, fold, kinds, features)}
        )


def _families(features: Sequence[Feature]) -> list[str]:
    return list(dict.fromkeys(feature.family for feature in features))


def add(collected: Measurements, surface: Surface, pairs: Judged) -> None:
    """Add the share of surface, the accuracy of surface alone, and accuracies with parts taken out.

    Findings ``surface_share``, ``surface_accuracy``, ``accuracy_without`` and ``gain_without``, the last two with the
    label ``part``.
    """
    count = len(surface.reward)

    def mean(values: Floats) -> Statistic:
        return clustered.mean(values, pairs.cluster, collected.num_clusters, weight=pairs.weight)

    every = surface.predicted[EVERYTHING]
    rest, whole = mean((surface.reward - every) ** 2), mean(surface.reward**2)
    collected.add(
        key("surface_share"),
        clustered.combined(_explained, rest, whole),
        count,
        "share of the ranked margin's square",
        "what features of surface predict of it, 5-fold by prompt, labels unused",
    )
    collected.add(
        key("surface_accuracy"), mean(clustered.win_indicator(every)), count, "share of pairs", "the sign of that alone"
    )
    right = clustered.win_indicator(surface.reward)
    for part, predicted in surface.predicted.items():
        without = clustered.win_indicator(surface.reward - predicted)
        about = f"{_OUT} {'every feature' if part == EVERYTHING else f'features of {part}'}"
        collected.add(key("accuracy_without", part=part), mean(without), count, "share of pairs", about)
        collected.add(
            key("gain_without", part=part),
            mean(without - right),
            count,
            "difference of shares",
            f"{about}, minus accuracy",
        )


def _explained(rest: Floats, whole: Floats) -> Floats:
    return 1 - rest / np.where(whole > 0, whole, np.nan)


def joint(pairs: Judged, predicted: Floats) -> Account:
    """What the labels ask of all surface together, and what the model pays for it.

    Where they ask for less of it, the reward's surface is overpaid, even if no single feature shows it.

    Parameters
    ----------
    pairs : Judged
    predicted : array of shape (B,)
        What surface predicts of the ranked margin, labels unused.
    """
    (account,), _ = Sufficiency(pairs).accounts(predicted[:, None], [True])
    return account


def whole_part(
    pairs: Judged, differences: Floats, fold: Ints, kinds: Kinds, features: Sequence[Feature] = BATTERY
) -> Floats:
    """What all features together predict of the ranked margin, shape (B,); parameters as for `Surface.of`.

    What is linear comes first. Of the rest, trees learn what is not linear, and products with kinds of prompts what is
    paid for on some prompts only.
    """
    ours = usual(differences, weight=pairs.weight)[:, _not_own(features)]
    reward = ranked(pairs.margin, pairs.weight)
    linear = cross_fit(ridge, ours, reward, fold, pairs.weight)
    rest = reward - linear
    others = [cross_fit(boosted, ours, rest, fold, pairs.weight)]
    common = _common(kinds)
    if common:
        within = InKinds(ours, np.column_stack([kinds[name] for name in common]))
        others.append(cross_fit(products, within, rest, fold, pairs.weight))
    return linear + stacked(others, rest, pairs.weight)


def _not_own(features: Sequence[Feature]) -> Bools:
    """All but features of your own, shape (F,): one may be a judgement of quality, which is no surface."""
    return np.array([feature.family != "own" for feature in features], dtype=np.bool_)


def _common(kinds: Kinds) -> list[str]:
    """Names of kinds that have enough pairs inside and outside, those nearest to half of the pairs first."""
    away = {name: abs(float(holds.mean()) - 0.5) for name, holds in kinds.items()}
    return sorted((name for name in away if away[name] <= 0.5 - _RAREST), key=lambda name: away[name])[:_MOST_KINDS]


def length_part(reward: Floats, log_length: Floats, fold: Ints, weight: Floats) -> Floats:
    """What the difference of log length predicts of the ranked margin; arrays of shape (B,)."""
    return cross_fit(ridge, usual(log_length, weight=weight)[:, None], reward, fold, weight)


def largest_parts(predicted: Floats, differences: Matrix) -> list[int]:
    """Indices of the five columns that a prediction goes with most, the closest first.

    Parameters
    ----------
    predicted : array of shape (B,)
    differences : array or sparse matrix of shape (B, F)
    """
    return _largest(_cosines(predicted, differences))


def largest_features(
    predicted: Floats, differences: Floats, kinds: Kinds, features: Sequence[Feature]
) -> list[tuple[Feature, str | None]]:
    """The five features that a prediction goes with most, each over all pairs or within a kind of prompt.

    Features of your own are left out, as in `whole_part`.

    Parameters
    ----------
    predicted : array of shape (B,)
    differences : array of shape (B, F)
    kinds : dict of arrays of bool, shape (B,)
    features : sequence of Feature, F of them
    """
    names, kept = _common(kinds), _not_own(features)
    features, differences = [features[place] for place in np.flatnonzero(kept).tolist()], differences[:, kept]
    cosines = [_cosines(predicted, differences)]
    for name in names:
        inside = predicted[kinds[name]]
        share = np.sqrt(inside @ inside / max(float(predicted @ predicted), np.finfo(float).tiny))
        cosines.append(_cosines(inside, differences[kinds[name]]) * share)
    places, within = _largest(np.concatenate(cosines)), (None, *names)
    return [(features[place % len(features)], within[place // len(features)]) for place in places]


def _cosines(predicted: Floats, differences: Matrix) -> Floats:
    """Size of the cosine of a prediction with each column; 0 where one of them is 0."""
    squares = differences.power(2) if scipy.sparse.issparse(differences) else differences**2
    size = np.sqrt(np.asarray(squares.sum(axis=0)).ravel() * (predicted @ predicted))
    cosines: Floats = np.abs(np.asarray(differences.T @ predicted).ravel()) / np.where(size > 0, size, np.inf)
    return cosines


def _largest(values: Floats) -> list[int]:
    return list(np.argsort(-values, kind="stable")[:_SHOWN].tolist())
