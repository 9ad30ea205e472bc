"""One tokenized prompt with its responses and comparisons: the unit of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rm.data.preferences import Comparison


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # arrays of ids cannot be compared by ==
class TokenizedPrompt:
    """The token ids of a prompt and of its K responses, and the comparisons among these."""

    prompt_id: str
    prompt_ids: Sequence[int]
    response_ids: Sequence[Sequence[int]]
    """K of them, end token included."""
    comparisons: Sequence[Comparison]
    """Their ``first`` and ``second`` are indices into `response_ids`."""
    response_attributes: Sequence[Mapping[str, float]]
    """Of each response; an attribute that annotations do not give is absent."""
    response_indices: Sequence[int]
    """Of each response in the prompt's group in the data set, where responses that are too long still stand."""
    prompt_cut: bool = False
    """Whether the beginning of the prompt was cut off."""
