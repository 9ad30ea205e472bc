"""Encoding prompt and response as a pair of texts, for tokenizers without a chat template."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerFast

from rm.data.preferences import prompt_text
from rm.tokens.encoder import Encoded, Encoder, Item


class PairEncoder:
    """Encodes prompt and response as a pair of texts, with the special tokens that the tokenizer puts around them.

    A prompt of several messages is one text (`rm.data.preferences.prompt_text`).

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerFast
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._encoder = Encoder(tokenizer)
        both = tokenizer.backend_tokenizer.encode("a", "a")
        owner = both.sequence_ids  # 0 for the first text, 1 for the second, None for special tokens
        last_of_first, second = len(owner) - 1 - owner[::-1].index(0), owner.index(1)
        last_of_second = len(owner) - 1 - owner[::-1].index(1)
        self._opening = both.ids[: owner.index(0)]
        self._middle, self._end = both.ids[last_of_first + 1 : second], both.ids[last_of_second + 1 :]

    def encode(self, items: Sequence[Item]) -> list[Encoded]:
        """Token ids of prompts with their responses, in the form of `rm.tokens.encoder.encode`."""
        texts = [text for _, responses in items for text in responses]
        prompts = self._encoder.ids([prompt_text(prompt) for prompt, _ in items])
        found = iter(self._encoder.ids(texts))
        return [
            ([*self._opening, *prompt_ids, *self._middle], [[*next(found), *self._end] for _ in responses])
            for prompt_ids, (_, responses) in zip(prompts, items, strict=True)
        ]
