"""Which hidden states the reward is read from. Settings name it, so this loads nothing heavy."""

from __future__ import annotations

from typing import Literal

Pooling = Literal["last", "mean_response", "mean", "token"]
"""The last token of the response, the mean over the response, the mean over prompt and response, or one named token."""
