"""Prompts to train on with the remedies that change pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rm.data.preferences import Comparison
from rm.remedies.balanced_length import LengthBalance
from rm.remedies.config import RemediesConfig
from rm.remedies.foreign_responses import partners
from rm.tokens.items import TokenizedPrompt
from rm.tokens.token_files import Compared, TokenizedSplit

Ints = NDArray[np.int64]


def remedied(prompts: TokenizedSplit, remedies: RemediesConfig, seed: int) -> TokenizedSplit | Remedied:
    """The prompts as training reads them; the same where no remedy changes pairs."""
    if not remedies.balanced_length and not remedies.foreign_share:
        return prompts
    return Remedied(prompts, remedies, seed)


class Remedied(Sequence[TokenizedPrompt]):
    """Prompts whose pairs are weighed, or which get further pairs, when they are read.

    Parameters
    ----------
    prompts : TokenizedSplit
    remedies : RemediesConfig
    seed : int
        Seed of the partners.
    """

    def __init__(self, prompts: TokenizedSplit, remedies: RemediesConfig, seed: int) -> None:
        self._prompts = prompts
        every = prompts.compared()
        self._balance: LengthBalance | None = None
        if remedies.balanced_length:
            log_length = np.log(every.first_tokens / every.second_tokens)
            self._balance = LengthBalance(log_length, every.preference, every.weight)
        self._partner, self._needed = _partners(prompts, every, remedies.foreign_share, seed)

    def __len__(self) -> int:
        return len(self._prompts)

    def __getitem__(self, index: int) -> TokenizedPrompt:  # type: ignore[override]  # no slices
        prompt = self._prompts[index]
        if self._balance is not None:
            prompt = replace(prompt, comparisons=list(_balanced(prompt, self._balance)))
        partner = int(self._partner[index])
        return prompt if partner < 0 else _with_foreign(prompt, self._prompts[partner])

    def num_comparisons(self) -> Ints:
        """Number of comparisons of each prompt, shape (P,)."""
        return self._prompts.num_comparisons() + _NUM_ADDED * (self._partner >= 0)

    def longest(self) -> Ints:
        """Number of tokens of each prompt with its longest response, shape (P,)."""
        return np.maximum(self._prompts.longest(), self._needed)

    def subset(self, indices: Ints) -> list[TokenizedPrompt]:
        """Some of these prompts, by their indices here, in the given order."""
        return [self[int(index)] for index in indices]


_NUM_ADDED = 3
"""Pairs of a prompt with a partner: each own response over a foreign one, and the foreign ones with one another."""


def _partners(prompts: TokenizedSplit, every: Compared, share: float, seed: int) -> tuple[Ints, Ints]:
    """Each prompt's partner, -1 for none, and the tokens of the prompt with the longer foreign response, 0 for none."""
    none = np.full(len(prompts), -1, dtype=np.int64)
    if not share or not len(prompts):
        return none, np.zeros_like(none)
    counts = prompts.num_comparisons()
    has_one = counts > 0
    first = np.where(has_one, np.cumsum(counts) - counts, 0)  # the prompt's first pair is the one that is taken
    preferred = np.where(every.preference > 0.5, every.first_tokens, every.second_tokens)[first]
    usable = has_one & (every.preference[first] != 0.5)
    found = partners(np.where(usable, preferred, -1), share, seed)
    longer = np.maximum(every.first_tokens, every.second_tokens)[first][found]
    needed = np.where(found >= 0, prompts.prompt_tokens() + longer, 0)
    fits = needed <= prompts.longest().max()  # more than any prompt needs could be more than the model can read
    return np.where(fits, found, -1), np.where(fits, needed, 0)


def _balanced(prompt: TokenizedPrompt, balance: LengthBalance) -> Iterator[Comparison]:
    lengths = [len(ids) for ids in prompt.response_ids]
    for pair in prompt.comparisons:
        yield balance.balanced(pair, float(np.log(lengths[pair.first] / lengths[pair.second])))


def _with_foreign(prompt: TokenizedPrompt, other: TokenizedPrompt) -> TokenizedPrompt:
    """The prompt with both responses of the other's first pair.

    Each response of the prompt's own first pair wins over the foreign one of its rank, and the foreign ones are a tie:
    what makes one of them better than the other is nothing without its prompt.
    """
    own, foreign = prompt.comparisons[0], other.comparisons[0]
    preferred, rejected = _ranked(own)
    count = len(prompt.response_ids)
    pairs = [(preferred, count, 1.0), (rejected, count + 1, 1.0), (count, count + 1, 0.5)]
    return replace(
        prompt,
        response_ids=[*prompt.response_ids, *(other.response_ids[index] for index in _ranked(foreign))],
        response_attributes=[*prompt.response_attributes, {}, {}],
        response_indices=[*prompt.response_indices, -1, -1],
        comparisons=[
            *prompt.comparisons,
            *(replace(own, first=one, second=two, preference=share, target_margin=0.0) for one, two, share in pairs),
        ],
    )


def _ranked(pair: Comparison) -> tuple[int, int]:
    """Indices of the preferred response and of the other."""
    return (pair.first, pair.second) if pair.preference > 0.5 else (pair.second, pair.first)
