"""How responses look, as numbers that rewards should not follow."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from rm.data.preferences import PromptGroup
from rm.features import battery
from rm.features.responses import Responses
from rm.remedies.texts import with_texts
from rm.tokens.items import TokenizedPrompt
from rm.tokens.token_files import TokenizedSplit

Numbers = NDArray[np.float32]
_AT_ONCE = 1024
"""Prompts whose texts are read together."""


class Surface:
    """One number per family of features for each response to P prompts.

    Parameters
    ----------
    prompts : TokenizedSplit
    families : sequence of str
        ``length``: log of the response's tokens. Others: the first principal component of the features of this family
        of the battery (`rm.features.battery`) over all these responses.
    groups : callable
        Gives the prompts with their texts, as `rm.remedies.texts.with_texts` needs them; called only for other families
        than length.

    Notes
    -----
    One number stands for some twenty features that go together, since so many correlations cannot be told from chance
    in the pairs of a few steps.
    """

    def __init__(
        self, prompts: TokenizedSplit, families: Sequence[str], groups: Callable[[], Iterable[PromptGroup]]
    ) -> None:
        self._has_length = "length" in families
        others = [family for family in dict.fromkeys(families) if family != "length"]
        features = [[each for each in battery.BATTERY if each.family == family] for family in others]
        self._seen: Numbers = np.empty((0, 0), dtype=np.float32)
        self._starts: NDArray[np.int64] | None = None
        if not others:
            return
        pairs = with_texts(prompts, groups())
        parts, starts = [], [0]
        while some := list(itertools.islice(pairs, _AT_ONCE)):
            texts = [group.responses[index] for prompt, group in some for index in prompt.response_indices]
            starts += [len(prompt.response_indices) for prompt, _ in some]
            responses = Responses(texts, [""] * len(texts))
            parts.append([battery.read(family, responses).astype(np.float32) for family in features])
        if parts:
            self._seen = np.column_stack(
                [first_component(np.concatenate(family)) for family in zip(*parts, strict=True)]
            )
        self._starts = np.cumsum(starts)

    def of(self, index: int, prompt: TokenizedPrompt) -> Numbers:
        """The features of a prompt's responses, shape (K, F); the prompt is that with this index."""
        columns = []
        if self._has_length:
            columns.append(np.log([[len(ids)] for ids in prompt.response_ids]).astype(np.float32))
        if self._starts is not None:
            columns.append(self._seen[self._starts[index] : self._starts[index + 1]])
        return np.hstack(columns)


def first_component(values: Numbers) -> Numbers:
    """The first principal component of columns in standard scores, shape (N,), from values of shape (N, F).

    Its sign means nothing. Columns that do not differ have no part in it.
    """
    spread = values.std(axis=0)
    scores = (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1)
    _, vectors = np.linalg.eigh(scores.T.astype(np.float64) @ scores)
    component: Numbers = (scores @ vectors[:, -1]).astype(np.float32)
    return component
