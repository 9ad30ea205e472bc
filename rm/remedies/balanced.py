"""Weights of labels by which, among pairs that differ about as much in something, more and less of it win alike."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from rm.data.preferences import PromptGroup, prompt_text
from rm.errors import TrainingError
from rm.features import battery, words
from rm.features.battery import BATTERY
from rm.features.reading import Read, listed
from rm.features.responses import Responses
from rm.remedies.texts import with_texts
from rm.tokens.items import TokenizedPrompt
from rm.tokens.token_files import Compared, TokenizedSplit

Floats = NDArray[np.float64]
LENGTH, WORD = "length", "word:"
_NUM_BINS = 10
_LARGEST = 5.0
"""Most that votes are weighed by, before weights are divided by their mean."""
_AT_ONCE = 1024
"""Prompts whose texts are read together."""


def problem(name: str) -> str | None:
    """Why nothing can be balanced by this name; None if it can."""
    word = name.removeprefix(WORD)
    if name.startswith(WORD):
        return None if words.split(word) == [word] else f"{name!r}: expected {WORD} and one word in lower case"
    if name == LENGTH or any(feature.name == name for feature in BATTERY):
        return None
    names = [LENGTH, *(feature.name for feature in BATTERY)]
    near = " or ".join(difflib.get_close_matches(name, names, n=2)) or ", ".join(names)
    return f"{name!r}: expected {LENGTH}, {WORD}WORD or a feature of the audit's battery: {near}"


def balanced(difference: Floats, preference: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Shares of votes and weights by which more and less of something win alike.

    Parameters
    ----------
    difference : array of shape (C,)
        What the first response has of it minus what the second one has, over all pairs that are trained on.
    preference : array of shape (C,)
        Share of votes for the first response.
    weight : array of shape (C,)

    Returns
    -------
    tuple of two arrays of shape (C,)
        Preferences and weights.

    Notes
    -----
    Pairs that differ are divided into ten bins of about equal number by the size of the difference. In each bin the
    votes for the side with more get the weight S / 2M and those for the side with less S / 2L, at most 5, with M and L
    the weights of these votes and S = M + L. A pair with votes p for its first response becomes one with the sum of
    both sides' weights, and the share that falls on the first. Votes in pairs that do not differ get the weight 1. At
    the end all weights are divided by their mean.
    Weighing keeps the data that balancing by leaving out pairs loses, which cost 7 to 9 points of accuracy there.

    References
    ----------
    Singhal et al. (2023), A long way to go: investigating length correlations in RLHF, arXiv:2310.03716
    """
    size = np.abs(difference)
    apart = size > 0
    quantiles = np.linspace(0, 1, _NUM_BINS + 1)[1:-1]
    edges = np.quantile(size[apart], quantiles) if apart.any() else np.empty(0)
    bins = np.searchsorted(edges, size, side="right")
    for_more = np.where(difference > 0, preference, 1 - preference)
    votes = [np.bincount(bins[apart], (side * weight)[apart], minlength=_NUM_BINS) for side in (for_more, 1 - for_more)]
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = [np.minimum(sum(votes) / (2 * side), _LARGEST) for side in votes]
    more, less = (np.where(np.isfinite(each), each, 1.0)[bins] for each in factors)
    first = np.where(difference > 0, more, np.where(difference < 0, less, 1.0)) * preference
    second = np.where(difference > 0, less, np.where(difference < 0, more, 1.0)) * (1 - preference)
    both = first + second
    total = weight.sum()
    mean = float((weight * both).sum() / total) if total > 0 else 1.0
    return first / both, weight * both / mean


def differences(
    names: Sequence[str],
    prompts: TokenizedSplit,
    every: Compared,
    groups: Callable[[], Iterable[PromptGroup]],
) -> Iterator[Floats]:
    """What the first response of each pair has of something minus what the second has, by name, shape (C,).

    Parameters
    ----------
    names : sequence of str
        ``length``: log of tokens. ``word:WORD``: how often the response has the word, as log of one plus it. Others:
        features of `rm.features.battery`.
    prompts : TokenizedSplit
    every : Compared
        Their C pairs.
    groups : callable
        Gives the prompts with their texts; called only for other names than length.

    Raises
    ------
    TrainingError
        If nothing can be balanced by a name.
    """
    for told in filter(None, map(problem, names)):
        raise TrainingError(f"train.remedies.balanced: {told}")
    reads = [_read(name) for name in names if name != LENGTH]
    read = iter(_of_texts(reads, prompts, groups).T if reads else ())
    for name in names:
        yield np.log(every.first_tokens / every.second_tokens) if name == LENGTH else next(read)


def _read(name: str) -> Read:
    if name.startswith(WORD):
        return listed(frozenset({name.removeprefix(WORD)}))
    (feature,) = (feature for feature in BATTERY if feature.name == name)
    return lambda texts: battery.read([feature], texts)[:, 0]


def _of_texts(reads: Sequence[Read], prompts: TokenizedSplit, groups: Callable[[], Iterable[PromptGroup]]) -> Floats:
    """Shape (C, F)."""
    pairs, parts = with_texts(prompts, groups()), [np.empty((0, len(reads)))]
    while some := list(islice(pairs, _AT_ONCE)):
        parts.append(_of_some(reads, some))
    return np.concatenate(parts)


def _of_some(reads: Sequence[Read], some: Sequence[tuple[TokenizedPrompt, PromptGroup]]) -> Floats:
    texts: list[str] = []
    asked: list[str] = []
    first: list[int] = []
    second: list[int] = []
    for prompt, group in some:
        start = len(texts)
        texts += [group.responses[index] for index in prompt.response_indices]
        asked += [prompt_text(group.prompt)] * len(prompt.response_indices)
        first += [start + pair.first for pair in prompt.comparisons]
        second += [start + pair.second for pair in prompt.comparisons]
    responses = Responses(texts, asked)
    values = np.column_stack([read(responses) for read in reads])
    return values[np.array(first, dtype=np.int64)] - values[np.array(second, dtype=np.int64)]
