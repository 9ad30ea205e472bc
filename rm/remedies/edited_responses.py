"""Responses after edits, as token ids."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from rm.data.preferences import PromptGroup
from rm.errors import RefusedConversation
from rm.remedies.stored_ids import StoredIds
from rm.remedies.texts import with_texts
from rm.tokens import encoder
from rm.tokens.encoder import Encoder
from rm.tokens.items import TokenizedPrompt
from rm.tokens.token_files import TokenizedSplit

Edits = Mapping[str, Callable[[str, Random], str | None]]
"""What makes another text of a text, by the names of the probes that make the same edits (`rm.probes.catalog`)."""
_AT_ONCE = 256
"""Prompts that are encoded together."""


class Edited(NamedTuple):
    """One response of a prompt after an edit."""

    response: int
    """Index of the response."""
    ids: Sequence[int]
    """In an int32 array."""


class EditedResponses:
    """An edited response to each of P prompts that has one.

    Parameters
    ----------
    prompts : TokenizedSplit
        In order of prompt id.
    groups : iterable of PromptGroup
        These prompts with their texts, and perhaps others, in order of prompt id.
    tokenizer : PreTrainedTokenizerFast
        The one that the prompts' ids were made with.
    seed : int
    edits : mapping
    alone : str
        The name of one that keeps the length, which is used wherever not all of them can be.
    share : float
        Of the prompts that get one.

    Raises
    ------
    TrainingError
        If the texts of a prompt are missing.

    Notes
    -----
    The response is drawn among those that are compared, and the edit among all, if each of them applies, changes the
    token ids and has room: an edited text with more tokens than any prompt with a response is not used, as the model
    may not be able to read it. Where one of them cannot be used, only the one that keeps the length is, or none: an
    edit that makes a response longer is the first without room, and one that makes it shorter needs some words, so
    that without this rule the shorter response would lose where room is short, and the longer one among short ones.
    """

    def __init__(
        self,
        prompts: TokenizedSplit,
        groups: Iterable[PromptGroup],
        tokenizer: PreTrainedTokenizerFast,
        seed: int,
        edits: Edits,
        alone: str,
        share: float,
    ) -> None:
        encodes, most = Encoder(tokenizer), int(prompts.longest().max(initial=0))
        drawn = (_Drawn.of(prompt, group, seed, edits, share) for prompt, group in with_texts(prompts, groups))
        responses: list[int] = []

        def rows() -> Iterator[Sequence[int] | None]:
            while some := list(itertools.islice(drawn, _AT_ONCE)):
                responses.extend(one.response for one in some)
                yield from _chosen(some, encodes, most, len(edits), alone)

        self._ids = StoredIds(rows())
        self._response = responses

    def are_there(self) -> NDArray[np.bool_]:
        """Whether each prompt has an edited response, shape (P,)."""
        return self._ids.are_there()

    def __getitem__(self, index: int) -> Edited | None:
        """The edited response of a prompt, None if it has none."""
        ids = self._ids[index]
        return None if ids is None else Edited(self._response[index], ids)


class _Drawn(NamedTuple):
    """A response of a prompt and those of its edits that apply, in an order that is drawn."""

    prompt: TokenizedPrompt
    group: PromptGroup
    response: int
    texts: dict[str, str]
    """By the names of the edits."""

    @classmethod
    def of(cls, prompt: TokenizedPrompt, group: PromptGroup, seed: int, edits: Edits, share: float) -> _Drawn:
        draw = Random(f"{seed}/{prompt.prompt_id}")
        response = draw.choice(sorted({index for pair in prompt.comparisons for index in (pair.first, pair.second)}))
        text = group.responses[prompt.response_indices[response]]
        order = draw.sample(list(edits.items()), len(edits)) if share >= 1 or draw.random() < share else []
        texts = {name: edited for name, edit in order if (edited := edit(text, draw)) is not None and edited != text}
        return cls(prompt, group, response, texts)


def _chosen(some: list[_Drawn], encodes: Encoder, most: int, num_edits: int, alone: str) -> Iterator[list[int] | None]:
    """For each prompt the ids of its first edit, if all can be used, else of the one that can be used alone."""
    every = encoder.encode(encodes, [(one.group.prompt, list(one.texts.values())) for one in some])
    for one, encoded in zip(some, every, strict=True):
        if isinstance(encoded, RefusedConversation):
            yield None
            continue
        own = list(map(int, one.prompt.response_ids[one.response]))
        room = most - len(one.prompt.prompt_ids)
        usable = {name: ids for name, ids in zip(one.texts, encoded[1], strict=True) if ids != own and len(ids) <= room}
        yield next(iter(usable.values())) if len(usable) == num_edits else usable.get(alone)
