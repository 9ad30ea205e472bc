"""The manifests of a tokenized data set, and of a look at what it will be."""

from __future__ import annotations

from typing import ClassVar

from rm.data.preferences import Split
from rm.manifests import Manifest


class TokenizedManifest(Manifest):
    """Token ids of a dataset, and the tokenizer that made them; rows are prompts."""

    KIND: ClassVar[str] = "tokenized"
    TOKENIZER_NAME: ClassVar[str] = "tokenizer"
    REFUSED_NAME: ClassVar[str] = "refused.parquet"

    num_pairs: dict[str, int]
    """Split to number of comparisons."""
    num_tokens: dict[str, int]
    """Split to number of tokens, each prompt and each response counted once."""
    num_refused: int
    """Number of prompts that the chat template refuses."""
    overlong: dict[str, dict[str, int]]
    """Reason to length bucket to number of responses that were dropped or whose prompt was cut."""

    @staticmethod
    def tokens_name(split: Split) -> str:
        """Name of the file with the token ids of a split (`rm.tokens.token_files`)."""
        return f"{split}.arrow"


class SurveyManifest(Manifest):
    """What `rm.tokens.survey` found; rows are the prompts that were tokenized for it."""

    KIND: ClassVar[str] = "survey"
    SURVEY_NAME: ClassVar[str] = "survey.json"
