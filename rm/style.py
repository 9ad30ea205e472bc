"""What a heuristic that understands nothing can see of a response, and how far that alone predicts the labels."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

Floats = NDArray[np.float64]

_PATTERNS = {
    "list items": re.compile(r"^\s*(?:[-*•]|\d+[.)])\s", re.MULTILINE),
    "bold": re.compile(r"\*\*[^*\n]+\*\*"),
    "headers": re.compile(r"^#{1,6} ", re.MULTILINE),
    "code": re.compile(r"`[^`]+`"),
    "links": re.compile(r"https?://|\]\("),
    "exclamation marks": re.compile("!"),
    "question marks": re.compile(r"\?"),
    "line breaks": re.compile(r"\n"),
    "affirmative opener": re.compile(r"\A\s*(?:sure|certainly|of course|absolutely|yes|great)\b", re.IGNORECASE),
    "hedges": re.compile(r"\b(?:maybe|perhaps|might|possibly|i think|not sure|probably)\b", re.IGNORECASE),
    "refusal": re.compile(r"\b(?:i'm sorry|i am sorry|i can't|i cannot|i won't|as an ai)\b", re.IGNORECASE),
}
FEATURE_NAMES = ("characters", "log characters", *_PATTERNS)


def features(text: str) -> list[float]:
    """Counts of surface features, in the order of `FEATURE_NAMES`; all but the characters as log(1 + count)."""
    counts = [len(pattern.findall(text)) for pattern in _PATTERNS.values()]
    return [float(len(text)), float(np.log1p(len(text))), *np.log1p(counts).tolist()]


def differences(chosen: Sequence[str], rejected: Sequence[str]) -> Floats:
    """Features of the chosen minus those of the rejected response, shape (B, F)."""
    if not chosen:
        return np.empty((0, len(FEATURE_NAMES)))
    rows = [np.subtract(features(one), features(other)) for one, other in zip(chosen, rejected, strict=True)]
    return np.array(rows, dtype=np.float64)


def length_floor(train: Floats, heldout: Floats) -> Floats:
    """Whether "pick the longer" (or the shorter, whichever is right more often in training) is right.

    Parameters
    ----------
    train, heldout : array of shape (B, F)
        As `differences` gives them.

    Returns
    -------
    array of shape (B,)
        1 where right, 0 where wrong, 0.5 at equal length; NaN without training pairs.
    """
    if not len(train):
        return np.full(len(heldout), np.nan)
    direction = np.sign(np.sign(train[:, 0]).sum()) or 1.0
    return _correct(direction * heldout[:, 0])


def style_floor(train: Floats, heldout: Floats) -> Floats:
    """Whether a logistic regression on the feature differences and on which is longer, fitted in training, is right.

    Without "which is longer" it can do worse than `length_floor`, since labels need not follow by how much. Without an
    intercept, so that swapping a pair swaps the verdict. Parameters and result as in `length_floor`.
    """
    if not len(train):
        return np.full(len(heldout), np.nan)
    train, heldout = (np.column_stack([rows, np.sign(rows[:, 0])]) for rows in (train, heldout))
    scale = train.std(axis=0)
    scale[scale == 0] = 1.0
    inputs = np.concatenate([train / scale, -train / scale])  # both orders, for both classes
    labels = np.repeat([1, 0], len(train))
    model = LogisticRegression(fit_intercept=False, max_iter=1000).fit(inputs, labels)
    return _correct(heldout / scale @ model.coef_[0])


def _correct(margin: Floats) -> Floats:
    correct: Floats = (np.sign(margin) + 1) / 2
    return correct
