"""How many tokens of a text are read, where the recipe leaves it open: what the data need, up to what the model has."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from transformers import PreTrainedTokenizerFast

from rm.data import prompt_groups
from rm.data.manifests import DatasetManifest
from rm.data.preferences import PromptGroup
from rm.errors import ModelError, RefusedConversation
from rm.model import base_models
from rm.model.base_files import BaseModelRef
from rm.tokens.config import TokenizeConfig
from rm.tokens.encoder import Encoder, encode_chunks

MOST_PROMPTS = 4096
"""Prompts that are looked at; a snapshot with fewer is looked at whole."""
_SHARE = 0.999
_LEAST = 512
"""Edits that a probe makes are longer than the texts, and must have room too."""
_ROUNDED_TO = 64
"""So that some more annotations seldom change it."""
_AT_ONCE = 256


def sample(dataset: DatasetManifest) -> list[pa.RecordBatch]:
    """The first prompts of a snapshot: they are in the order of their ids, which are digests, so these are random."""
    found: list[pa.RecordBatch] = []
    num_prompts = MOST_PROMPTS
    for batch in prompt_groups.batches(dataset, 1024):
        found.append(batch.slice(0, num_prompts))
        num_prompts -= found[-1].num_rows
        if not num_prompts:
            break
    return found


def max_tokens(
    config: TokenizeConfig, base: BaseModelRef, tokenizer: PreTrainedTokenizerFast, sampled: Iterable[pa.RecordBatch]
) -> int:
    """Most tokens of a prompt with one response.

    Parameters
    ----------
    config : TokenizeConfig
    base : BaseModelRef
    tokenizer : PreTrainedTokenizerFast
    sampled : iterable of RecordBatch
        Prompts, as of `sample`.

    Returns
    -------
    int
        The recipe's; if it leaves it open, as many as 99.9 % of the responses need with their prompts, but at least
        512, and at most as many as the base model has positions.

    Raises
    ------
    ModelError
        If the recipe asks for more tokens than the base model has positions.
    """
    positions = base_models.max_positions(base)
    if config.max_tokens is not None:
        if positions is not None and config.max_tokens > positions:
            raise ModelError(f"tokenize.max_tokens is {config.max_tokens}, but {base.name} has {positions} positions")
        return config.max_tokens
    lengths = _lengths(tokenizer, [group for batch in sampled for _, group in prompt_groups.groups_of(batch)])
    needed = int(np.quantile(lengths, _SHARE, method="higher")) if lengths else 0
    rounded = max(_LEAST, -(-needed // _ROUNDED_TO) * _ROUNDED_TO)
    return min(rounded, positions or rounded)


def _lengths(tokenizer: PreTrainedTokenizerFast, groups: list[PromptGroup]) -> list[int]:
    """Tokens of each response with its prompt; what the chat template refuses has none."""
    texts = [(group.prompt, group.responses) for group in groups]
    chunks = (texts[start : start + _AT_ONCE] for start in range(0, len(texts), _AT_ONCE))
    found = []
    for chunk in encode_chunks(Encoder(tokenizer), chunks):
        for encoded in chunk:
            if not isinstance(encoded, RefusedConversation):
                prompt_ids, response_ids = encoded
                found += [len(prompt_ids) + len(ids) for ids in response_ids]
    return found
