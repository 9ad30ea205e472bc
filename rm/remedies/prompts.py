"""Prompts to train on with the remedies that change pairs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from rm.errors import TrainingError
from rm.remedies import foreign_responses, stock_responses, worsened_responses
from rm.remedies.config import FOREIGN_PAIRS, STOCK_PAIRS, WORSENED_PAIRS, RemediesConfig
from rm.remedies.controlled_features import Controlled, ControlledFeatures
from rm.remedies.edited_responses import EditedResponses
from rm.remedies.stock_responses import StockResponses
from rm.remedies.texts import Texts
from rm.remedies.worsened_responses import ALONE, WORSE
from rm.tokens.items import TokenizedPrompt
from rm.tokens.token_files import Compared, TokenizedSplit

LOGGER = logging.getLogger(__name__)
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def remedied(
    prompts: TokenizedSplit,
    remedies: RemediesConfig,
    seed: int,
    texts: Callable[[], Texts],
) -> TokenizedSplit | Remedied:
    """The prompts as training reads them; the same where no remedy needs more of them.

    Parameters
    ----------
    prompts : TokenizedSplit
    remedies : RemediesConfig
    seed : int
        Seed of partners and edits.
    texts : callable
        Gives the texts of the prompts from the first one on; called by each remedy that looks at them.
    """
    changes = (
        remedies.controlled,
        remedies.foreign_share,
        remedies.worsened_share,
        remedies.stock_share,
    )
    return Remedied(prompts, remedies, seed, texts) if any(changes) else prompts


def controlled_alike(
    prompts: TokenizedSplit, trained: TokenizedSplit | Remedied, texts: Callable[[], Texts]
) -> TokenizedSplit | Controlled:
    """Other prompts, with the controlled features of those that are trained on, in the same unit.

    Parameters
    ----------
    prompts : TokenizedSplit
    trained : TokenizedSplit or Remedied
        What `remedied` gave.
    texts : callable
        Gives the texts of the other prompts.
    """
    if not isinstance(trained, Remedied) or trained.features is None:
        return prompts
    features = ControlledFeatures(trained.features.names, prompts, lambda: texts().groups, trained.features.deviations)
    return Controlled(prompts, features)


class Remedied(Sequence[TokenizedPrompt]):
    """Prompts whose pairs get features, or which get further pairs, when they are read.

    Parameters
    ----------
    prompts : TokenizedSplit
    remedies : RemediesConfig
    seed : int
        Seed of the partners.
    texts : callable
        Gives the texts of the prompts.
    """

    def __init__(
        self, prompts: TokenizedSplit, remedies: RemediesConfig, seed: int, texts: Callable[[], Texts]
    ) -> None:
        self._prompts, self._remedies = prompts, remedies
        every = prompts.compared()
        self.features: ControlledFeatures | None = None
        if remedies.controlled:
            self.features = ControlledFeatures(remedies.controlled, prompts, lambda: texts().groups)
        self._worsened: EditedResponses | None = None
        if remedies.worsened_share:
            self._worsened = EditedResponses(prompts, *texts(), seed, WORSE, ALONE, remedies.worsened_share)
        self._stock: StockResponses | None = None
        if remedies.stock_share:
            self._stock = StockResponses(prompts, texts, seed, remedies.stock_share)
        self._partner, self._needed = _partners(prompts, every, remedies.foreign_share, seed)

    def __len__(self) -> int:
        return len(self._prompts)

    def __getitem__(self, index: int) -> TokenizedPrompt:  # type: ignore[override]  # no slices
        prompt = self._compared(index)
        stock = None if self._stock is None else self._stock[index]
        if stock is not None:
            prompt = stock_responses.with_stock(prompt, stock)
        worsened = None if self._worsened is None else self._worsened[index]
        if worsened is not None:
            prompt = worsened_responses.with_worsened(prompt, worsened)
        return prompt if self.features is None else self.features.added_to(prompt, index)

    def _compared(self, index: int) -> TokenizedPrompt:
        """A prompt with its own pairs and those with foreign responses."""
        prompt, partner = self._prompts[index], int(self._partner[index])
        return prompt if partner < 0 else foreign_responses.with_foreign(prompt, self._prompts[partner])

    def num_comparisons(self) -> Ints:
        """Number of comparisons of each prompt, shape (P,)."""
        found = self._prompts.num_comparisons() + FOREIGN_PAIRS * (self._partner >= 0)
        if self._stock is not None:
            found = found + STOCK_PAIRS * self._stock.are_there()
        if self._worsened is not None:
            found = found + WORSENED_PAIRS * self._worsened.are_there()
        return found

    def check_added(self) -> None:
        """Warn of a remedy that adds pairs to less than half of the prompts that it was asked to.

        Raises
        ------
        TrainingError
            If it adds none: the training would be taken for one with the remedy.
        """
        added = {
            "foreign_share": int((self._partner >= 0).sum()),
            "stock_share": 0 if self._stock is None else int(self._stock.are_there().sum()),
            "worsened_share": 0 if self._worsened is None else int(self._worsened.are_there().sum()),
        }
        for name, count in added.items():
            share = getattr(self._remedies, name)
            told = (
                f"train.remedies.{name}: {share} of {len(self)} prompts should get pairs, and {count} do: others have "
                "no room beside their own responses, as prompts that were cut never have; see tokenize.max_tokens"
            )
            if share and not count:
                raise TrainingError(told)
            if count < share * len(self) / 2:
                LOGGER.warning("%s", told)

    def longest(self) -> Ints:
        """Number of tokens of each prompt with its longest response, without edits and stock ones, shape (P,).

        None has more with these than all have at most without.
        """
        return np.maximum(self._prompts.longest(), self._needed)

    def subset(self, indices: Ints) -> list[TokenizedPrompt]:
        """Some of these prompts, by their indices here, in the given order."""
        return [self[int(index)] for index in indices]


def _starts(counts: Ints) -> Ints:
    """Place of the first pair of each prompt among all pairs."""
    return np.cumsum(counts) - counts


def _partners(prompts: TokenizedSplit, every: Compared, share: float, seed: int) -> tuple[Ints, Ints]:
    """Each prompt's partner, -1 for none, and the tokens of the prompt with the longer foreign response, 0 for none."""
    found = np.full(len(prompts), -1, dtype=np.int64)
    if not share or not len(every.weight):
        return found, np.zeros_like(found)
    counts = prompts.num_comparisons()
    first = np.where(counts > 0, _starts(counts), 0)
    decided = (counts > 0) & (every.preference[first] != 0.5)
    preferred = np.where(every.preference > 0.5, every.first_tokens, every.second_tokens)[first]
    longer = np.maximum(every.first_tokens, every.second_tokens)[first].astype(np.int64)
    # With more than any prompt needs a text could have more tokens than the model can read.
    room = prompts.longest().max() - prompts.prompt_tokens()
    pairs = foreign_responses.FirstPairs(np.where(decided, preferred, -1).astype(np.int64), longer, room)
    found = foreign_responses.partners(pairs, share, seed)
    lengths = [set(map(int, both)) for both in zip(every.first_tokens[first], every.second_tokens[first], strict=True)]
    for index in np.flatnonzero(found >= 0).tolist():
        partner = int(found[index])
        # Texts are read only where lengths are equal.
        if not lengths[index].isdisjoint(lengths[partner]) and foreign_responses.share_a_text(
            prompts[index], prompts[partner]
        ):
            found[index] = -1
    return found, np.where(found >= 0, prompts.prompt_tokens() + longer[found], 0)
