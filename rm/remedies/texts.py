"""The texts of tokenized prompts, for remedies that look at more than token ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from transformers import PreTrainedTokenizerFast

from rm.data.preferences import PromptGroup
from rm.errors import TrainingError
from rm.tokens.items import TokenizedPrompt
from rm.tokens.token_files import TokenizedSplit


class Texts(NamedTuple):
    """The texts of prompts and the tokenizer of their ids."""

    groups: Iterable[PromptGroup]
    """In order of prompt id; there may be others among them."""
    tokenizer: PreTrainedTokenizerFast


def with_texts(prompts: TokenizedSplit, groups: Iterable[PromptGroup]) -> Iterator[tuple[TokenizedPrompt, PromptGroup]]:
    """Each prompt with its texts; both are in order of prompt id.

    Raises
    ------
    TrainingError
        If the texts of a prompt are missing.
    """
    left = iter(groups)
    for prompt in prompts:
        found = next((group for group in left if group.prompt_id == prompt.prompt_id), None)
        if found is None:
            raise TrainingError(f"prompt {prompt.prompt_id}: expected its texts in the snapshot, which has none of it")
        yield prompt, found
