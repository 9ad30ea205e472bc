"""Encoding many texts at once as token ids."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import fastokens
from transformers import PreTrainedTokenizerFast

from rm.data.preferences import Message
from rm.errors import RefusedConversation
from rm.tokens import chat_template

_COMPARED_EVERY = 64
_log = logging.getLogger(__name__)


class Encoder:
    """Encodes texts with a tokenizer, without adding special tokens.

    Two libraries can read a ``tokenizer.json``: tokenizers, which reads all of them and is used in serving, and
    fastokens, which is several times as fast (``bench/tokenization.py``) but supports only byte-pair encodings.
    fastokens is used if it can read the tokenizer. Both encode the first text of a call and every 64th after it; if the
    ids differ, tokenizers encodes the texts of this call and of all later calls.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerFast
        It must not be changed afterwards.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer
        self._backend = tokenizer.backend_tokenizer
        self._forget_limits()
        try:
            self._fast = fastokens.Tokenizer.from_json_str(self._backend.to_str())
        except ValueError as error:
            _log.info("fastokens cannot read this tokenizer, so tokenizers is used: %s", error)
            self._fast = None

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text; uses all cores."""
        if self._fast is None:
            return self._slowly(texts)
        ids: list[list[int]] = [encoding.ids for encoding in self._fast.encode_batch(list(texts))]
        for text, by_fast, expected in zip(
            texts[::_COMPARED_EVERY], ids[::_COMPARED_EVERY], self._slowly(texts[::_COMPARED_EVERY]), strict=True
        ):
            if by_fast != expected:
                _log.warning("fastokens and tokenizers encode %r differently; tokenizers is used from now on", text)
                self._fast = None
                return self._slowly(texts)
        return ids

    def _slowly(self, texts: Sequence[str]) -> list[list[int]]:
        self._forget_limits()
        # The chat template has added the special tokens already.
        return [encoding.ids for encoding in self._backend.encode_batch_fast(list(texts), add_special_tokens=False)]

    def _forget_limits(self) -> None:
        """Turn off truncation and padding: some tokenizers are saved with them, and a call may turn them on."""
        self._backend.no_truncation()
        self._backend.no_padding()


Item = tuple[Sequence[Message], Sequence[str]]
"""A prompt and responses to it."""

Encoded = tuple[list[int], list[list[int]]]
"""Token ids of an `Item`: those of its prompt, and those of each response."""


def encode(encoder: Encoder, items: Sequence[Item]) -> list[Encoded | RefusedConversation]:
    """Token ids of prompts with their responses; each prompt is tokenized once.

    Parameters
    ----------
    encoder : Encoder
        Its tokenizer has a chat template.
    items : sequence of (prompt, responses)

    Returns
    -------
    list of (prompt ids, list of response ids) or RefusedConversation
        For an item that the template refuses, or whose answered conversation does not begin with the rendered prompt,
        the reason.
    """
    (encoded,) = encode_chunks(encoder, [items])
    return encoded


def encode_chunks(encoder: Encoder, chunks: Iterable[Sequence[Item]]) -> Iterator[list[Encoded | RefusedConversation]]:
    """Token ids of each chunk of prompts, as `encode` gives them.

    Encoding runs on all cores without holding Python's interpreter lock. Meanwhile the next chunk is rendered, and the
    caller uses the previous one.
    """
    with ThreadPoolExecutor(1) as background:
        before = None
        for items in chunks:
            rendered = _render(encoder.tokenizer, items)
            now = (rendered, background.submit(encoder.ids, [*rendered.prompts, *rendered.responses]))
            if before:
                yield before[0].with_ids(before[1].result())
            before = now
        if before:
            yield before[0].with_ids(before[1].result())


class _Rendered(NamedTuple):
    """Items, the rendered texts of those that the template does not refuse, and the reasons for the others."""

    items: Sequence[Item]
    prompts: list[str]
    responses: list[str]
    refused: dict[int, RefusedConversation]

    def with_ids(self, ids: list[list[int]]) -> list[Encoded | RefusedConversation]:
        """The token ids of the texts, by item."""
        prompt_ids, response_ids = iter(ids[: len(self.prompts)]), iter(ids[len(self.prompts) :])
        return [
            self.refused[index]
            if index in self.refused
            else (next(prompt_ids), [next(response_ids) for _ in responses])
            for index, (_, responses) in enumerate(self.items)
        ]


def _render(tokenizer: PreTrainedTokenizerFast, items: Sequence[Item]) -> _Rendered:
    try:
        prompts = chat_template.render_prompts(tokenizer, [prompt for prompt, _ in items])
        return _Rendered(items, prompts, chat_template.render_responses(tokenizer, items, prompts), {})
    except RefusedConversation as refusal:
        if len(items) == 1:
            return _Rendered(items, [], [], {0: refusal})
    parts = [_render(tokenizer, [item]) for item in items]
    return _Rendered(
        items,
        [text for part in parts for text in part.prompts],
        [text for part in parts for text in part.responses],
        {index: part.refused[0] for index, part in enumerate(parts) if part.refused},
    )
