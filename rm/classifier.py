"""Reward models with a head of their own, as transformers reads them: most encoders on the hub."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from rm.encoding import Encoder
from rm.model import RewardModelConfig, portable
from rm.packing import PackedSequences, Reading
from rm.padding import PaddedSequences
from rm.preferences import Message
from rm.tokenization import Encoded, Item


class Classifier(nn.Module):
    """A sequence classification model with one label, read on padded rows only.

    Parameters
    ----------
    loaded : PreTrainedModel
        An encoder, such as `DebertaV2ForSequenceClassification`.
    reads_pairs : bool
        Whether prompt and response are two segments to it, not one text.
    """

    reading = Reading(pooling="last", token_id=None, causal=False)
    """How its rows are divided; where it reads its reward is its own business."""

    def __init__(self, loaded: Any, reads_pairs: bool) -> None:
        super().__init__()
        self.loaded = loaded
        self.config = RewardModelConfig(backbone=portable(loaded.config), pad_token_id=loaded.config.pad_token_id)
        self._has_segments = reads_pairs and (getattr(loaded.config, "type_vocab_size", None) or 0) > 1

    def max_tokens(self) -> int | None:
        """Most tokens that it has positions for; None if it does not say."""
        limit = getattr(self.loaded.config, "max_position_embeddings", None)
        table = getattr(getattr(self.loaded.base_model, "embeddings", None), "position_embeddings", None)
        reserved = getattr(table, "padding_idx", None)  # RoBERTa counts positions from behind that of its padding
        return None if limit is None or limit < 1 else int(limit) - (0 if reserved is None else reserved + 1)

    def outputs(self, sequences: PackedSequences | PaddedSequences) -> Tensor:
        """Rewards of N padded sequences, shape (N, 1), float32; a response is the second segment, where there are two.

        Raises
        ------
        TypeError
            If they are packed, which only `rm.model.RewardModel` reads.
        """
        if not isinstance(sequences, PaddedSequences):
            raise TypeError("a classifier reads padded sequences")
        extra = {"token_type_ids": sequences.response_mask} if self._has_segments else {}
        logits: Tensor = self.loaded(sequences.input_ids, attention_mask=sequences.attention_mask, **extra).logits
        return logits.float()


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
        """Token ids of prompts with their responses, as `rm.tokenization.encode` gives them."""
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
