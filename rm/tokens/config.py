"""Settings of tokenization."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rm.section import Section


class TokenizeConfig(Section):
    """How texts are tokenized."""

    max_tokens: int | None = Field(None, ge=8)
    """Most tokens of a prompt with one response; default: what 99.9 % of the responses need with their prompts, but at
    least 512, and at most as many as the base model has positions."""
    overlong: Literal["drop", "truncate_prompt_left"] = "truncate_prompt_left"
    """What to do with more tokens: drop the response, or cut the prompt at its beginning. A response is never cut; one
    that leaves no room for a prompt is dropped."""
    max_refused_share: float = Field(0.05, ge=0, le=1)
    """Largest share of prompts that the chat template may refuse, such as those with a system message or two messages
    of the user in a row. They are left out, and their rows are put into quarantine."""
    max_lost_share: float = Field(0.01, ge=0, le=1)
    """Largest share of responses that `max_tokens` may leave no room for. They are the long ones, so that to lose them
    selects by length; with more nothing is trained."""
