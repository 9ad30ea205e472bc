"""Settings of tokenization."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rm.section import Section


class TokenizeConfig(Section):
    """How texts are tokenized."""

    max_tokens: int = Field(512, ge=8)
    """Most tokens of a prompt with one response."""
    overlong: Literal["drop", "truncate_prompt_left"] = "truncate_prompt_left"
    """What to do with more tokens: drop the response, or cut the prompt at its beginning. A response is never cut; one
    that leaves no room for a prompt is dropped."""
