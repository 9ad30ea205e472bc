"""Texts to token ids, many at once."""

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
    """The token ids that a tokenizer gives, without the special tokens that it would add.

    Two libraries read a ``tokenizer.json``: tokenizers, which reads every one and also serves the model, and fastokens,
    several times as fast (``bench/tokenization.py``) but for byte-pair encodings only. fastokens is used where it can
    read the tokenizer, and every 64th text of a call, the first among them, is encoded by both. Once they differ,
    tokenizers encodes that call's texts and all later ones.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerFast
        Not to be changed afterwards.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer
        self._backend = tokenizer.backend_tokenizer
        self._forget_limits()
        try:
            self._fast = fastokens.Tokenizer.from_json_str(self._backend.to_str())
        except ValueError as error:
            _log.info("fastokens cannot read this tokenizer, tokenizers encodes: %s", error)
            self._fast = None

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text; runs on all cores."""
        if self._fast is None:
            return self._slowly(texts)
        ids: list[list[int]] = [encoding.ids for encoding in self._fast.encode_batch(list(texts))]
        for text, by_fast, expected in zip(
            texts[::_COMPARED_EVERY], ids[::_COMPARED_EVERY], self._slowly(texts[::_COMPARED_EVERY]), strict=True
        ):
            if by_fast != expected:
                _log.warning("fastokens and tokenizers encode %r differently; tokenizers encodes from here on", text)
                self._fast = None
                return self._slowly(texts)
        return ids

    def _slowly(self, texts: Sequence[str]) -> list[list[int]]:
        self._forget_limits()
        # The template has put in the special tokens; letting the tokenizer add its own would double them.
        return [encoding.ids for encoding in self._backend.encode_batch_fast(list(texts), add_special_tokens=False)]

    def _forget_limits(self) -> None:
        """Some tokenizers are saved with a length to cut or fill to, and calling one may set it."""
        self._backend.no_truncation()
        self._backend.no_padding()


Item = tuple[Sequence[Message], Sequence[str]]
"""A prompt and responses to it."""

Encoded = tuple[list[int], list[list[int]]]
"""The token ids of an `Item`: of its prompt and of each response."""


def encode(encoder: Encoder, items: Sequence[Item]) -> list[Encoded]:
    """Token ids of prompts with their responses; each prompt is tokenized once.

    Parameters
    ----------
    encoder : Encoder
        Of a tokenizer with a chat template.
    items : sequence of (prompt, responses)

    Returns
    -------
    list of (prompt ids, response ids of each response)

    Raises
    ------
    ModelError
        If the template refuses a conversation, or does not put the response after the prompt as rendered for
        generation.
    """
    (encoded,) = encode_chunks(encoder, [items])
    return encoded


def encode_chunks(encoder: Encoder, chunks: Iterable[Sequence[Item]]) -> Iterator[list[Encoded]]:
    """Token ids of one chunk of prompts after another, each as `encode` gives them.

    Tokenizing runs on all cores and needs no interpreter: the next chunk is rendered, and the last one used by the
    caller, while it goes on.
    """
    with ThreadPoolExecutor(1) as beside:
        before = None
        for items in chunks:
            prompts = chat_template.render_prompts(encoder.tokenizer, [prompt for prompt, _ in items])
            responses = chat_template.render_responses(encoder.tokenizer, items, prompts)
            now = (items, beside.submit(encoder.ids, [*prompts, *responses]))
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
