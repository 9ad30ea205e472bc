"""What labels do with each mark of style: how often the response with more of it wins, and its effect beside length."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from rm.features import battery
from rm.features.battery import BATTERY, Feature
from rm.features.reading import there_is
from rm.features.responses import Responses, count
from rm.labels import shares
from rm.labels.pairs import LabelledPairs
from rm.labels.records import Estimate, MarkRow
from rm.stats.clustered import Floats
from rm.stats.regressions import DEPENDENT, Remainders, maximise
from rm.stats.sufficiency import MIN_CLUSTERS, critical_value, usual

_HIDDEN = "what no reader sees, and a tokenizer may: artefacts of how responses were collected"


def _carriage_returns(texts: Responses) -> Floats:
    return np.minimum(count(texts.raw, r"\r"), 1.0)


HIDDEN: tuple[Feature, ...] = (
    Feature("starts with white space", "typography", there_is(r"^\s"), "first character is white space", _HIDDEN),
    Feature("ends with white space", "typography", there_is(r"\s$"), "last character is white space", _HIDDEN),
    Feature("carriage returns", "typography", _carriage_returns, "line ends of Windows", _HIDDEN),
    Feature(
        "invisible characters",
        "typography",
        there_is(r"[\x{200b}-\x{200f}\x{2060}\x{feff}\x{00ad}]"),
        "zero-width characters, soft hyphens and byte order marks",
        _HIDDEN,
    ),
)
MARKS = (*BATTERY, *HIDDEN)
"""The battery, with what is hidden."""


def read(pairs: LabelledPairs) -> tuple[Floats, Floats]:
    """All marks of both sides, each of shape (B, F)."""
    texts = Responses([*pairs.first, *pairs.second], [*pairs.prompts, *pairs.prompts])
    values = battery.read(MARKS, texts)
    return values[: len(pairs)], values[len(pairs) :]


def measure(pairs: LabelledPairs, differences: Floats, num_draws: int, seed: int) -> tuple[MarkRow, ...]:
    """Every mark that is not one of length and differs in some pair, the surest effect first.

    Parameters
    ----------
    pairs : LabelledPairs
    differences : array of shape (B, F)
        Of `MARKS`, first minus second.
    num_draws, seed : int
        Of the multiplier bootstrap.

    Notes
    -----
    With p the probability that a logistic regression on the difference of log length gives a vote y, ``W = p (1 - p)``
    and d' what a W-weighted projection on length leaves of a mark's difference, the effect is
    ``mean(W) sum(d' (y - p)) / sum(W d'^2)``, one step of Newton's from no effect, for the usual size of d': its root
    mean square over the pairs that differ. Its error is by cluster, and not below that of independent votes. So a mark
    is not charged with the length that it goes along with; one that is hardly anything else has a small d'.

    The intervals hold together for all marks: their width is the quantile of the largest of all standardised effects,
    each cluster with a random sign (`rm.stats.sufficiency.critical_value`), so that marks that go together cost little.
    """
    own = [at for at, mark in enumerate(MARKS) if mark.family != "length" and differences[:, at].any()]
    effects, errors, scores = _effects(pairs, usual(differences[:, own]))
    critical = critical_value(np.hstack([scores, -scores]), num_draws, seed)
    rows = []
    for place, at in enumerate(own):
        d = differences[:, at]
        more = np.where(d > 0, pairs.preference, np.where(d < 0, 1 - pairs.preference, np.nan))
        effect, half = effects[place], critical * errors[place]
        rows.append(
            MarkRow(
                feature=MARKS[at].name,
                family=MARKS[at].family,
                num_pairs=int((d != 0).sum()),
                more_wins=shares.of_known(more, pairs.cluster),
                effect=Estimate(value=effect, low=effect - half, high=effect + half),
            )
        )
    return tuple(sorted(rows, key=lambda row: (-least(row.effect), row.feature)))


def least(effect: Estimate) -> float:
    """How large an effect is at least, whatever its sign; below 0 where none is shown, and where nothing is known."""
    bound = max(effect.low, -effect.high)
    return -math.inf if math.isnan(bound) else bound


def _effects(pairs: LabelledPairs, d: Floats) -> tuple[list[float], list[float], NDArray[np.float32]]:
    """Effects and errors of F marks, NaN where too few prompts differ, and standardised scores by cluster."""
    count = d.shape[1]
    effects, errors = [math.nan] * count, [math.nan] * count
    scores = np.zeros((pairs.num_clusters, count), dtype=np.float32)
    length = usual(pairs.log_length[:, None])
    fit = maximise(length, pairs.preference, np.ones(len(pairs)))
    if fit is None:  # the longer response wins always, or never: nothing is left to explain
        return effects, errors, scores
    rest = Remainders(fit)
    for at in range(count):
        (left,) = rest.of(d[None, :, at])
        information, whole = (float(fit.curvature @ each**2) for each in (left, d[:, at]))
        where = d[:, at] != 0
        if len(np.unique(pairs.cluster[where])) < MIN_CLUSTERS or information < DEPENDENT * whole:
            continue
        by_cluster = np.bincount(pairs.cluster, left * fit.residual, pairs.num_clusters)
        spread = math.sqrt(max(float(by_cluster @ by_cluster), information))
        unit = math.sqrt(np.average(left[where] ** 2, weights=fit.curvature[where]))
        scale = float(fit.curvature.mean()) / information * unit
        effects[at], errors[at] = scale * float(by_cluster.sum()), scale * spread
        scores[:, at] = by_cluster / spread
    return effects, errors, scores
