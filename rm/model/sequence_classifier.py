"""Reward models that keep their own head and pooling, as transformers defines them: most encoders on the hub."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from rm.model.architecture import portable
from rm.model.packing import PackedSequences, Reading
from rm.model.padding import PaddedSequences
from rm.model.reward_model import RewardModelConfig


class Classifier(nn.Module):
    """A sequence classification model with one label, read on padded rows only.

    Parameters
    ----------
    loaded : PreTrainedModel
        An encoder, such as `DebertaV2ForSequenceClassification`.
    reads_pairs : bool
        Whether it takes prompt and response as two segments instead of one text.
    """

    reading = Reading(pooling="last", token_id=None, causal=False)
    """Only ``causal`` is used: the model itself does the pooling."""

    def __init__(self, loaded: Any, reads_pairs: bool) -> None:
        super().__init__()
        self.loaded = loaded
        self.config = RewardModelConfig(backbone=portable(loaded.config), pad_token_id=loaded.config.pad_token_id)
        self._has_segments = reads_pairs and (getattr(loaded.config, "type_vocab_size", None) or 0) > 1

    def outputs(self, sequences: PackedSequences | PaddedSequences) -> Tensor:
        """Rewards of N padded sequences; if the model has segments, the response is the second one.

        Returns
        -------
        Tensor of shape (N, 1), float32

        Raises
        ------
        TypeError
            If the sequences are packed, which only `rm.model.reward_model.RewardModel` reads.
        """
        if not isinstance(sequences, PaddedSequences):
            raise TypeError(f"expected padded sequences for a classifier, got {type(sequences).__name__}")
        extra = {"token_type_ids": sequences.response_mask} if self._has_segments else {}
        logits: Tensor = self.loaded(sequences.input_ids, attention_mask=sequences.attention_mask, **extra).logits
        return logits.float()
