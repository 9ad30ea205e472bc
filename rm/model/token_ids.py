"""Token ids of prompts and responses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class TokenGroup(NamedTuple):
    """The token ids of a prompt and of some responses to it."""

    prompt_ids: Sequence[int]
    response_ids: Sequence[Sequence[int]]

    def sequences(self) -> list[TokenIds]:
        """The prompt with each response."""
        return [TokenIds(self.prompt_ids, ids) for ids in self.response_ids]

    @property
    def longest(self) -> int:
        """Tokens of the prompt with its longest response."""
        return len(self.prompt_ids) + max(map(len, self.response_ids))

    def num_tokens(self, *, shared: bool) -> int:
        """Tokens of the prompt with all responses.

        Parameters
        ----------
        shared : bool
            Whether the prompt, and tokens that a response shares with the first one, are counted once.
        """
        if not shared:
            return len(self.response_ids) * len(self.prompt_ids) + sum(map(len, self.response_ids))
        return len(self.prompt_ids) + sum(map(len, self.response_ids)) - sum(self.nums_shared())

    def nums_shared(self) -> list[int]:
        """Number of tokens at its beginning that each response shares with the first one; never its last token."""
        first = self.response_ids[0]
        return [0, *(_num_equal(first, ids[:-1]) for ids in self.response_ids[1:])]


def _num_equal(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the common beginning."""
    pairs = zip(one, other, strict=False)
    return next((index for index, (left, right) in enumerate(pairs) if left != right), min(len(one), len(other)))


class TokenIds(NamedTuple):
    """The token ids of a prompt and of one response to it."""

    prompt_ids: Sequence[int]
    response_ids: Sequence[int]

    @property
    def num_tokens(self) -> int:
        """Tokens of the prompt and the response together."""
        return len(self.prompt_ids) + len(self.response_ids)
