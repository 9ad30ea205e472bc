"""One tokenized prompt with its responses and comparisons: the unit of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rm.data.preferences import Comparison


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # arrays of ids cannot be compared by ==
class TokenizedPrompt:
    """The token ids of a prompt and of its K responses, and the comparisons among the responses."""

    prompt_id: str
    prompt_ids: Sequence[int]
    response_ids: Sequence[Sequence[int]]
    """Token ids of each of the K responses, end token included."""
    comparisons: Sequence[Comparison]
    """``first`` and ``second`` are indices into `response_ids`."""
    response_attributes: Sequence[Mapping[str, float]]
    """For each response: name of an attribute to its value; values may be missing."""
    response_indices: Sequence[int]
    """For each response its index in the prompt's group of the snapshot, which also has the responses that are too
    long."""
    prompt_cut: bool = False
    """Whether the beginning of the prompt was cut off."""
    controlled: NDArray[np.float32] | None = None
    """Differences of features between the responses of each comparison, shape (C, F), that a remedy of training asks
    for; they are in no file."""
