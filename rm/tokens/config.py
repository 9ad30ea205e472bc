"""Settings of tokenization."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rm.section import Section


class TokenizeConfig(Section):
    """How text becomes token ids."""

    max_tokens: int = Field(512, ge=8)
    """Most tokens in a prompt with one response."""
    overlong: Literal["drop", "truncate_prompt_left"] = "truncate_prompt_left"
    """What happens above max_tokens. A response and its end token are never cut; one too long alone is dropped."""
