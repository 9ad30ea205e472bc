"""Prompt and response as a pair of texts, for tokenizers without a chat template."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerFast

from rm.data.preferences import Message
from rm.tokens.encoder import Encoded, Encoder, Item


class PairEncoder:
    """Token ids of prompt and response as a pair of texts, for tokenizers without a chat template.

    Several messages of a prompt are one text, each after the name of its role.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerFast
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._encoder = Encoder(tokenizer)
        both = tokenizer.backend_tokenizer.encode("a", "a")
        owner = both.sequence_ids  # None at special tokens
        last_of_first, second = len(owner) - 1 - owner[::-1].index(0), owner.index(1)
        last_of_second = len(owner) - 1 - owner[::-1].index(1)
        self._opening = both.ids[: owner.index(0)]
        self._middle, self._end = both.ids[last_of_first + 1 : second], both.ids[last_of_second + 1 :]

    def encode(self, items: Sequence[Item]) -> list[Encoded]:
        """Token ids of prompts with their responses, as `rm.tokens.encoder.encode` gives them."""
        texts = [text for _, responses in items for text in responses]
        prompts = self._encoder.ids([_as_text(prompt) for prompt, _ in items])
        found = iter(self._encoder.ids(texts))
        return [
            ([*self._opening, *prompt_ids, *self._middle], [[*next(found), *self._end] for _ in responses])
            for prompt_ids, (_, responses) in zip(prompts, items, strict=True)
        ]


def _as_text(prompt: Sequence[Message]) -> str:
    if len(prompt) == 1:
        return prompt[0].content
    return "\n\n".join(f"{turn.role}: {turn.content}" for turn in prompt)
