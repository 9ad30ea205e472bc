"""How the responses of each pair differ in the features that a training controls for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from rm.data.preferences import PromptGroup, prompt_text
from rm.errors import TrainingError
from rm.features import battery
from rm.features.battery import BATTERY
from rm.features.reading import Read, listed
from rm.features.responses import Responses
from rm.remedies.controllable import LENGTH, WORD, problem
from rm.remedies.texts import with_texts
from rm.tokens.items import TokenizedPrompt
from rm.tokens.token_files import Compared, TokenizedSplit

LOGGER = logging.getLogger(__name__)
Floats = NDArray[np.float64]
_AT_ONCE = 1024
"""Prompts whose texts are read together."""


class ControlledFeatures:
    """The controlled features of the pairs of some prompts, in standard deviations over training pairs.

    Parameters
    ----------
    names : sequence of str
        F names of `rm.remedies.controllable`.
    prompts : TokenizedSplit
    groups : callable
        Gives the prompts with their texts.
    deviations : array of shape (F,), optional
        Default: of these prompts' pairs.

    Raises
    ------
    TrainingError
        If nothing can be controlled by a name.
    """

    def __init__(
        self,
        names: Sequence[str],
        prompts: TokenizedSplit,
        groups: Callable[[], Iterable[PromptGroup]],
        deviations: Floats | None = None,
    ) -> None:
        self.names = tuple(names)
        found = np.column_stack(list(differences(names, prompts, prompts.compared(), groups)))
        if deviations is None:
            deviations = np.sqrt((found**2).sum(axis=0) / max(len(found), 1))
            for name, deviation in zip(names, deviations.tolist(), strict=True):
                if deviation == 0:
                    LOGGER.warning(
                        "train.remedies.controlled: %s: no training pair differs in it, so it does nothing", name
                    )
        self.deviations = deviations
        self._values = found / np.where(deviations > 0, deviations, 1.0)
        self._ends = np.cumsum(prompts.num_comparisons())

    def added_to(self, prompt: TokenizedPrompt, index: int) -> TokenizedPrompt:
        """A prompt, given with its index, with the features of its pairs.

        Those that were added to its own have 0: no annotator has seen them.
        """
        start, end = (int(self._ends[index - 1]) if index else 0), int(self._ends[index])
        features = np.zeros((len(prompt.comparisons), self._values.shape[1]), dtype=np.float32)
        features[: end - start] = self._values[start:end]
        return replace(prompt, controlled=features)


class Controlled(Sequence[TokenizedPrompt]):
    """Prompts that get the features of their pairs when they are read.

    Parameters
    ----------
    prompts : TokenizedSplit
    features : ControlledFeatures
        Of these prompts.
    """

    def __init__(self, prompts: TokenizedSplit, features: ControlledFeatures) -> None:
        self._prompts, self._features = prompts, features

    def __len__(self) -> int:
        return len(self._prompts)

    def __getitem__(self, index: int) -> TokenizedPrompt:  # type: ignore[override]  # no slices
        return self._features.added_to(self._prompts[index], index)


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
        If nothing can be controlled by a name.
    """
    for told in filter(None, map(problem, names)):
        raise TrainingError(f"train.remedies.controlled: {told}")
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
