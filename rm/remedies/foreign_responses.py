"""Responses to other prompts, which lose: what can be computed without the prompt does not win there."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from rm.data.preferences import Comparison
from rm.tokens.items import TokenizedPrompt

Ints = NDArray[np.int64]
_REACH = 8
"""A partner is at most so many places away in order of length."""


class FirstPairs(NamedTuple):
    """The first pair of each of P prompts, arrays of shape (P,)."""

    preferred: Ints
    """Tokens of the preferred response; -1 if the prompt has no pair, or the pair is a tie."""
    longer: Ints
    """Tokens of the longer response."""
    room: Ints
    """Tokens that a response to this prompt may have."""


def partners(pairs: FirstPairs, share: float, seed: int) -> Ints:
    """For some prompts another one, whose preferred response is about as long.

    Parameters
    ----------
    pairs : FirstPairs
    share : float
        Share of the prompts that get a partner.
    seed : int

    Returns
    -------
    array of shape (P,)
        Index of another prompt, never of the prompt itself; -1 for none.

    Notes
    -----
    Lengths are matched, as a longer or shorter foreign response would teach length: the partner is drawn from the 16
    prompts around it in order of length, on both sides alike. A prompt without room for the longest response of all 16
    gets none: else those without room would only get shorter ones.

    References
    ----------
    Liu et al. (2024), RRM: robust reward model training mitigates reward hacking, arXiv:2409.13156
    """
    random = np.random.default_rng((seed, len(pairs.preferred)))
    found = np.full(len(pairs.preferred), -1, dtype=np.int64)
    usable = np.flatnonzero(pairs.preferred >= 0)
    if len(usable) < 2:
        return found
    # Among equal lengths the order is drawn, or it would be that of the prompts' names.
    order = usable[np.lexsort((random.random(len(usable)), pairs.preferred[usable]))]
    last = len(order) - 1
    steps = random.integers(1, _REACH + 1, len(order)) * random.choice((-1, 1), len(order))
    places = np.abs(np.arange(len(order)) + steps)  # beyond an end it goes back from there
    places = np.clip(np.where(places > last, 2 * last - places, places), 0, last)
    own = places == np.arange(len(order))
    places[own] = np.where(places[own] > 0, places[own] - 1, 1)
    around = sliding_window_view(np.pad(pairs.longer[order], 2 * _REACH, mode="edge"), 4 * _REACH + 1).max(axis=1)
    chosen = (random.random(len(order)) < share) & (pairs.room[order] >= around)
    found[order[chosen]] = order[places[chosen]]
    return found


def with_foreign(prompt: TokenizedPrompt, other: TokenizedPrompt) -> TokenizedPrompt:
    """A prompt with both responses of another one's first pair, and three pairs with them.

    Each response of the prompt's own first pair wins over the foreign one of its rank, and the foreign ones are a tie:
    what makes one of them better than the other is nothing without its prompt.
    """
    own = prompt.comparisons[0]
    preferred, rejected = ranked(own)
    count = len(prompt.response_ids)
    pairs = [(preferred, count, 1.0), (rejected, count + 1, 1.0), (count, count + 1, 0.5)]
    added = [replace(own, first=one, second=two, preference=share, target_margin=0.0) for one, two, share in pairs]
    return replace(
        prompt,
        response_ids=[*prompt.response_ids, *(other.response_ids[index] for index in ranked(other.comparisons[0]))],
        response_attributes=[*prompt.response_attributes, {}, {}],
        response_indices=[*prompt.response_indices, -1, -1],
        comparisons=[*prompt.comparisons, *added],
    )


def share_a_text(prompt: TokenizedPrompt, other: TokenizedPrompt) -> bool:
    """Whether the first pairs of two prompts have a response in common, such as a stock reply."""
    both = [
        {tuple(map(int, each.response_ids[index])) for index in ranked(each.comparisons[0])} for each in (prompt, other)
    ]
    return not both[0].isdisjoint(both[1])


def ranked(pair: Comparison) -> tuple[int, int]:
    """Indices of the preferred response and of the other."""
    return (pair.first, pair.second) if pair.preference > 0.5 else (pair.second, pair.first)
