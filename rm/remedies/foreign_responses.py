"""Responses to other prompts, which lose: a reward that can be told without the prompt does not win there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
_NEIGHBOURS = 16
"""Another prompt is drawn among so many whose response is about as long."""


def partners(num_tokens: Ints, share: float, seed: int) -> Ints:
    """For some prompts another one, whose preferred response is about as long.

    Parameters
    ----------
    num_tokens : array of shape (P,)
        Tokens of each prompt's preferred response; below 0 if it has none.
    share : float
        Share of the prompts that get a partner.
    seed : int

    Returns
    -------
    array of shape (P,)
        Index of another prompt, never of the prompt itself; -1 for none.

    Notes
    -----
    The prompt's own preferred response and the foreign one become a pair that the own one wins. Lengths are matched, as
    the pair would else teach length: the partner is drawn from the 16 prompts around it in order of length, on both
    sides alike, so that the foreign response is as often the longer as the shorter one.

    References
    ----------
    Liu et al. (2024), RRM: robust reward model training mitigates reward hacking, arXiv:2409.13156
    """
    random = np.random.default_rng((seed, len(num_tokens)))
    found = np.full(len(num_tokens), -1, dtype=np.int64)
    usable = np.flatnonzero(num_tokens >= 0)
    if len(usable) < 2:
        return found
    # Among equal lengths the order is drawn, or it would be that of the prompts' names.
    order = usable[np.lexsort((random.random(len(usable)), num_tokens[usable]))]
    chosen = random.random(len(order)) < share
    steps = random.integers(1, _NEIGHBOURS // 2 + 1, len(order)) * random.choice((-1, 1), len(order))
    places = np.arange(len(order)) + steps
    # At the ends of the order, and with few prompts, it goes on at the other side by reflection.
    places = np.abs(places)
    places = np.where(places >= len(order), 2 * (len(order) - 1) - places, places)
    places = np.clip(places, 0, len(order) - 1)
    same = places == np.arange(len(order))
    places = np.where(same, np.where(places > 0, places - 1, 1), places)
    found[order[chosen]] = order[places[chosen]]
    return found
