"""Cutting the beginning of a prompt that is too long together with its response."""

from __future__ import annotations

from collections.abc import Collection

_MIN_PROMPT_TOKENS = 16
"""A prompt is never cut to fewer tokens: a response cannot be judged without its prompt."""


def has_room(prompt_ids: list[int], num_response_tokens: int, max_tokens: int) -> bool:
    """Whether a response leaves room for enough of the prompt: all of it, or at least 16 tokens."""
    return min(len(prompt_ids), _MIN_PROMPT_TOKENS) + num_response_tokens <= max_tokens


def cut_prompt(
    prompt_ids: list[int], num_response_tokens: int, max_tokens: int, special_ids: Collection[int]
) -> list[int]:
    """The end of a prompt that fits together with a response; a special token at its beginning is kept."""
    excess = len(prompt_ids) + num_response_tokens - max_tokens
    if excess <= 0:
        return prompt_ids
    opening = [token for token in prompt_ids[:1] if token in special_ids]
    return opening + prompt_ids[excess + len(opening) :]
