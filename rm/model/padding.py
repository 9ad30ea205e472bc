"""Sequences as padded rows: used in serving, and for models that cannot read packed rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rm.model.device import to_device
from rm.model.token_ids import TokenIds


@dataclass(frozen=True, slots=True, kw_only=True)
class PaddedSequences:
    """N sequences padded on the right to T tokens."""

    input_ids: Tensor
    """(N, T), int64."""
    attention_mask: Tensor
    """(N, T), int64, 1 at real tokens."""
    response_mask: Tensor
    """(N, T), int64, 1 at the response's tokens."""

    def to(self, device: torch.device) -> PaddedSequences:
        """Copy to another device."""
        return PaddedSequences(
            input_ids=to_device(self.input_ids, device),
            attention_mask=to_device(self.attention_mask, device),
            response_mask=to_device(self.response_mask, device),
        )


def pad(sequences: Sequence[TokenIds], pad_id: int = 0) -> PaddedSequences:
    """Lay sequences out as rows, padded on the right with ``pad_id``, which the attention mask hides."""
    longest = max(sequence.num_tokens for sequence in sequences)
    shape = (len(sequences), longest)
    input_ids = torch.full(shape, pad_id, dtype=torch.int64)
    attention, response = torch.zeros(shape, dtype=torch.int64), torch.zeros(shape, dtype=torch.int64)
    for row, (prompt_ids, response_ids) in enumerate(sequences):
        start, end = len(prompt_ids), len(prompt_ids) + len(response_ids)
        input_ids[row, :start] = torch.from_numpy(np.asarray(prompt_ids, dtype=np.int64))
        input_ids[row, start:end] = torch.from_numpy(np.asarray(response_ids, dtype=np.int64))
        attention[row, :end] = 1
        response[row, start:end] = 1
    return PaddedSequences(input_ids=input_ids, attention_mask=attention, response_mask=response)
