"""How much the labels depend on length and style, and how much more the model does."""

from __future__ import annotations

import numpy as np

from rm.audit import style_features
from rm.audit.heldout import ScoredPairs
from rm.stats import clustered
from rm.stats.clustered import Floats
from rm.stats.finding import key
from rm.stats.logistic import logistic
from rm.stats.measurements import Measurements

FEATURES = (
    "list items",
    "bold",
    "headers",
    "code",
    "code blocks",
    "links",
    "emoji",
    "exclamation marks",
    "affirmative opener",
    "hedges",
    "refusal",
)
"""Style features used beside the length, from `rm.audit.style_features.FEATURE_NAMES`."""

ADDED_LABEL = key("coefficient", of="added", feature="label")
"""How much the model's choice depends on the annotators', at equal style."""

_MIN_DIFFERING = 10


def add_reliance(collected: Measurements, pairs: ScoredPairs) -> None:
    """Add how well style predicts the labels, the model's choices, and the model's choices given the label.

    Parameters
    ----------
    collected : Measurements
        Gets ``coefficient``, with the labels ``of`` (label, model or added) and ``feature`` (length or one of
        `FEATURES`), `ADDED_LABEL`, ``style_controlled_accuracy`` and ``accuracy_length_balanced``.
    pairs : ScoredPairs

    Notes
    -----
    Three logistic regressions on the differences d between two responses, in units of their root mean square:

        P(annotators choose A)                       = sigmoid(a . d)
        P(model prefers A)                           = sigmoid(b . d)
        P(model prefers A | which the annotators chose) = sigmoid(c0 * label + c . d),  label = +1 or -1

    A is the chosen response of every pair. The label is then always 1, so c0 is an intercept and sigmoid(c0) the
    accuracy on pairs without a difference in style. A noisy label controls for quality only in part: if labels follow
    a feature because it goes with quality, a sound model's c is small but not 0.

    A feature that differs in fewer than 10 pairs is left out, and the methods say so. Differences are of
    log(1 + length) and of log(1 + count of a style feature).
    """
    names, differences, left_out = _differences(pairs)
    count, inputs = len(pairs.margin), style_features.standardised(differences)
    one = np.ones((count, 1))
    cases = {
        "label": (inputs, np.ones(count), "annotators' choice", []),
        "model": (inputs, pairs.correct, "model's choice", []),
        "added": (np.hstack([one, inputs]), pairs.correct, "model's choice, given the annotators'", [ADDED_LABEL]),
    }
    omitted = f"; differ in fewer than {_MIN_DIFFERING} pairs: {', '.join(left_out)}" if left_out else ""
    regressions = {}
    for of, (columns, target, what, before) in cases.items():
        statistic = regressions[of] = logistic(columns, target, pairs.cluster, collected.num_clusters, pairs.weight)
        collected.add_together(
            [*before, *(key("coefficient", of=of, feature=name) for name in names)],
            statistic,
            count,
            "log-odds per root mean square difference",
            f"logistic regression of the {what}, chosen minus rejected, on style{omitted}",
        )
    collected.add(
        key("style_controlled_accuracy"),
        clustered.combined(lambda coefficients: 1 / (1 + np.exp(-coefficients[:, 0])), regressions["added"]),
        count,
        "share of pairs",
        f"chance to be right on a pair without a difference in length and style, by logistic regression{omitted}",
    )
    _add_balanced_accuracy(collected, pairs)


def _differences(pairs: ScoredPairs) -> tuple[list[str], Floats, list[str]]:
    """Names and differences of the features that differ often enough, and names of the others."""
    found = style_features.differences(pairs.chosen, pairs.rejected)
    columns = {name: found[:, style_features.FEATURE_NAMES.index(name)] for name in FEATURES}
    columns = {"length": np.log1p(pairs.length_chosen) - np.log1p(pairs.length_rejected), **columns}
    used = [name for name, column in columns.items() if np.count_nonzero(column) >= _MIN_DIFFERING]
    inputs = np.stack([columns[name] for name in used], axis=1) if used else np.empty((len(found), 0))
    return used, inputs, [name for name in columns if name not in used]


def _add_balanced_accuracy(collected: Measurements, pairs: ScoredPairs) -> None:
    longer, shorter = pairs.length_difference > 0, pairs.length_difference < 0
    sides = [pairs.mean(pairs.correct, collected.num_clusters, where) for where in (longer, shorter)]
    collected.add(
        key("accuracy_length_balanced"),
        clustered.combined(lambda one, other: (one + other) / 2, *sides),
        int((longer | shorter).sum()),
        "share of pairs of unequal length",
        "accuracy if the longer and the shorter response were chosen equally often",
    )
