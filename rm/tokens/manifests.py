"""The manifest of a tokenized data set."""

from __future__ import annotations

from typing import ClassVar

from rm.manifests import Manifest


class TokenizedManifest(Manifest):
    """Token ids of a dataset, and the tokenizer that made them; rows are prompts."""

    KIND: ClassVar[str] = "tokenized"
    TOKENS_NAME: ClassVar[str] = "tokens.parquet"
    TOKENIZER_NAME: ClassVar[str] = "tokenizer"

    num_pairs: dict[str, int]
    """Split to number of comparisons."""
    num_tokens: dict[str, int]
    """Split to number of tokens, each prompt and each response counted once."""
    overlong: dict[str, dict[str, int]]
    """Reason to length bucket to number of responses that were dropped or whose prompt was cut."""
