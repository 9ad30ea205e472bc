"""Encoding many texts at once as token ids."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import fastokens
from transformers import PreTrainedTokenizerFast

from rm.data.preferences import Message
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


def encode(encoder: Encoder, items: Sequence[Item]) -> list[Encoded]:
    """Token ids of prompts with their responses; each prompt is tokenized once.

    Parameters
    ----------
    encoder : Encoder
        Its tokenizer has a chat template.
    items : sequence of (prompt, responses)

    Returns
    -------
    list of (prompt ids, list of response ids)

    Raises
    ------
    ModelError
        If the template refuses a conversation, or an answered conversation does not begin with the rendered prompt.
    """
    (encoded,) = encode_chunks(encoder, [items])
    return encoded


def encode_chunks(encoder: Encoder, chunks: Iterable[Sequence[Item]]) -> Iterator[list[Encoded]]:
    """Token ids of each chunk of prompts, as `encode` gives them.

    Encoding runs on all cores without holding Python's interpreter lock. Meanwhile the next chunk is rendered, and the
    caller uses the previous one.
    """
    with ThreadPoolExecutor(1) as background:
        before = None
        for items in chunks:
            prompts = chat_template.render_prompts(encoder.tokenizer, [prompt for prompt, _ in items])
            responses = chat_template.render_responses(encoder.tokenizer, items, prompts)
            now = (items, background.submit(encoder.ids, [*prompts, *responses]))
            if before:
                yield _by_prompt(before[0], before[1].result())
            before = now
        if before:
            yield _by_prompt(before[0], before[1].result())


def _by_prompt(items: Sequence[Item], ids: list[list[int]]) -> list[Encoded]:
    prompt_ids, response_ids = ids[: len(items)], iter(ids[len(items) :])
    return [
        (of_prompt, [next(response_ids) for _ in texts])
        for of_prompt, (_, texts) in zip(prompt_ids, items, strict=True)
    ]
