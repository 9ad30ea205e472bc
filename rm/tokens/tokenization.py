"""Tokenizing a snapshot: each prompt once and each response once.

Texts are rendered with the tokenizer's chat template, which is saved with the model, so that serving renders them in
the same way. A rendered conversation is split after the generation prompt: the ids before are the prompt's, the rest,
end token included, are the response's.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from transformers import PreTrainedTokenizerFast

from rm.data import prompt_groups
from rm.data.manifests import DatasetManifest
from rm.data.preferences import SPLITS, PromptGroup, Split
from rm.engine.engines import LOCAL, Engine
from rm.errors import ModelError, RefusedConversation
from rm.model import base_models, pretrained
from rm.model.base_files import BaseModelRef
from rm.model.tokenizer import save_tokenizer
from rm.parquet import write_rows
from rm.progress import OnProgress
from rm.tokens import chat_template, limit, overlong
from rm.tokens.config import TokenizeConfig
from rm.tokens.encoder import Encoded, Encoder, encode_chunks
from rm.tokens.items import TokenizedPrompt
from rm.tokens.manifests import TokenizedManifest
from rm.tokens.token_files import TokenizedSplit, TokenWriter, token_batch
from rm.tokens.truncation import cut_prompt, has_room

REFUSED_SCHEMA = pa.schema([("prompt_id", pa.string()), ("reason", pa.string())])
_SHARD, _ENCODED_AT_ONCE = 1024, 256
"""Prompts of a shard, and of those that are encoded together."""


def tokenize(
    dataset: DatasetManifest,
    base: BaseModelRef,
    config: TokenizeConfig,
    folder: Path,
    on_progress: OnProgress | None = None,
    engine: Engine = LOCAL,
) -> TokenizedManifest:
    """Tokenize a snapshot with the base model's tokenizer.

    Parameters
    ----------
    dataset : DatasetManifest
    base : BaseModelRef
    config : TokenizeConfig
    folder : Path
        Gets a file of token ids for each split (`rm.tokens.token_files`), the tokenizer, ``refused.parquet`` (id and
        reason of each prompt that the chat template refuses), and the manifest.
    on_progress : callable, optional
    engine : Engine

    Returns
    -------
    TokenizedManifest
        It also counts what was dropped or cut, by reason and length.

    Raises
    ------
    ModelError
        If the tokenizer cannot be used, `TokenizeConfig.max_tokens` exceeds the positions of the base model, no pair of
        a split fits into it, more responses than `TokenizeConfig.max_lost_share` allows do not fit, or the chat
        template refuses more prompts than `TokenizeConfig.max_refused_share` allows.
    """
    tokenizer = checked_tokenizer(dataset, base, prompt_groups.each_group(dataset, "train"))
    max_tokens = limit.max_tokens(config, base, tokenizer, limit.sample(dataset))
    left_out = LeftOut()
    with ExitStack() as opened:
        writers = {
            split: opened.enter_context(TokenWriter(folder / TokenizedManifest.tokens_name(split))) for split in SPLITS
        }
        for part in engine.map(functools.partial(Tokenizing, tokenizer, config, max_tokens), _shards(dataset)):
            for split, batch in part.batches.items():
                writers[split].write(batch)
            left_out.add(part)
            if on_progress:
                on_progress(left_out.num_read, dataset.num_rows)
        left_out.check_share(dataset.num_rows, config)
        num_pairs = {split: writer.num_pairs for split, writer in writers.items()}
        _check_pairs(num_pairs, dataset, max_tokens)
        fit = overlong.total(left_out.fits.values())
        overlong.check(fit, config, max_tokens)
    write_rows(folder / TokenizedManifest.REFUSED_NAME, left_out.refused, REFUSED_SCHEMA)
    tokenizer.model_max_length = max_tokens  # saved with the model, so that prompts are cut in scoring as here
    save_tokenizer(tokenizer, folder / TokenizedManifest.TOKENIZER_NAME)
    return TokenizedManifest.seal(
        folder,
        inputs=(dataset,),
        config=config,
        num_rows=sum(writer.num_prompts for writer in writers.values()),
        num_pairs=num_pairs,
        num_tokens={split: writer.num_tokens for split, writer in writers.items()},
        num_refused=len(left_out.refused),
        overlong=fit.by_reason(),
    )


def checked_tokenizer(
    dataset: DatasetManifest, base: BaseModelRef, groups: Iterable[PromptGroup]
) -> PreTrainedTokenizerFast:
    """The base model's tokenizer, whose chat template can be used; for random weights trained on the groups' texts.

    They are training prompts: a tokenizer trained on held-out texts would know their words.
    """
    tokenizer = base_models.load_tokenizer(base, _texts(groups))
    chat_template.check_template(tokenizer, with_system=prompt_groups.has_role(dataset, "system"))
    return tokenizer


def _check_pairs(num_pairs: Mapping[Split, int], dataset: DatasetManifest, max_tokens: int) -> None:
    if any(dataset.num_pairs[split] and not num_pairs[split] for split in SPLITS):
        raise ModelError(f"tokenize.max_tokens {max_tokens}: expected pairs that fit in every split, got {num_pairs}")


def _texts(groups: Iterable[PromptGroup]) -> Iterator[str]:
    for group in groups:
        yield from (message.content for message in group.prompt)
        yield from group.responses


def _shards(dataset: DatasetManifest) -> Iterator[tuple[str, pa.RecordBatch]]:
    for start, batch in zip(itertools.count(1, _SHARD), prompt_groups.batches(dataset, _SHARD), strict=False):
        yield f"{dataset.path}: prompts {start} to {start + batch.num_rows - 1}", batch


class Part(NamedTuple):
    """What became of the prompts of a shard."""

    num_prompts: int
    batches: dict[Split, pa.RecordBatch]
    refused: list[dict[str, str]]
    fits: dict[Split, overlong.Fit]


class Tokenizing:
    """Tokenizes the prompts of shards."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, config: TokenizeConfig, max_tokens: int) -> None:
        self._config, self._max_tokens = config, max_tokens
        self._encoder = Encoder(tokenizer)

    def __call__(self, shard: pa.RecordBatch) -> Part:
        """Tokenize the prompts of a shard."""
        limits = {split: _Limit(self._config, self._max_tokens, self._encoder.tokenizer) for split in SPLITS}
        groups = prompt_groups.groups_of(shard)
        kept: dict[Split, list[TokenizedPrompt]] = {split: [] for split in SPLITS}
        refused = []
        for (split, group), ids in zip(groups, self._encoded([group for _, group in groups]), strict=True):
            if isinstance(ids, RefusedConversation):
                refused.append({"prompt_id": group.prompt_id, "reason": str(ids)})
            elif (prompt := limits[split].apply(group, *ids)).comparisons:
                kept[split].append(prompt)
        batches = {split: token_batch(prompts) for split, prompts in kept.items()}
        return Part(len(groups), batches, refused, {split: limit.fit for split, limit in limits.items()})

    def _encoded(self, groups: Sequence[PromptGroup]) -> Iterator[Encoded | RefusedConversation]:
        chunks = (groups[start : start + _ENCODED_AT_ONCE] for start in range(0, len(groups), _ENCODED_AT_ONCE))
        texts = ([(group.prompt, group.responses) for group in chunk] for chunk in chunks)
        return itertools.chain.from_iterable(encode_chunks(self._encoder, texts))


class LeftOut:
    """What was refused or cut of the prompts read so far."""

    def __init__(self) -> None:
        self.num_read = 0
        self.refused: list[dict[str, str]] = []
        self.fits = {split: overlong.Fit() for split in SPLITS}

    def add(self, part: Part) -> None:
        """Count another part."""
        self.num_read += part.num_prompts
        self.refused += part.refused
        for split, fit in part.fits.items():
            self.fits[split].add(fit)

    def check_share(self, num_prompts: int, config: TokenizeConfig) -> None:
        """Refuse a template that refuses too many of the prompts."""
        if len(self.refused) > config.max_refused_share * num_prompts:
            raise ModelError(
                f"the chat template refuses {len(self.refused)} of {num_prompts} prompts, more than the share of "
                f"{config.max_refused_share} that tokenize.max_refused_share allows; the first, "
                f"{self.refused[0]['prompt_id']}: {self.refused[0]['reason']}"
            )


class _Limit:
    """Applies the limit of tokens to prompts and counts what it drops or cuts."""

    def __init__(self, config: TokenizeConfig, max_tokens: int, tokenizer: PreTrainedTokenizerFast) -> None:
        self.max_tokens = max_tokens
        self.cuts = config.overlong == "truncate_prompt_left"
        self.special_ids = set(tokenizer.all_special_ids)
        self.fit = overlong.Fit()

    def apply(self, group: PromptGroup, prompt_ids: list[int], response_ids: list[list[int]]) -> TokenizedPrompt:
        """A prompt with the responses that fit and the comparisons among them."""
        kept = self._kept(prompt_ids, response_ids)
        new_index = {old: new for new, old in enumerate(kept)}
        comparisons = [
            dataclasses.replace(pair, first=new_index[pair.first], second=new_index[pair.second])
            for pair in group.comparisons
            if pair.first in new_index and pair.second in new_index
        ]
        self.fit.num_responses += len(response_ids)
        self.fit.num_pairs += len(group.comparisons)
        self.fit.num_lost_pairs += len(group.comparisons) - len(comparisons)
        # The same cut for all responses, so that they are compared on the same prompt.
        longest = max((len(response_ids[index]) for index in kept), default=0)
        cut_ids = cut_prompt(prompt_ids, longest, self.max_tokens, self.special_ids)
        if comparisons and cut_ids != prompt_ids:  # a prompt without comparisons is dropped, not cut
            self.fit.overlong[overlong.CUT][overlong.bucket(len(prompt_ids) + longest)] += len(kept)
        return TokenizedPrompt(
            prompt_id=group.prompt_id,
            prompt_ids=cut_ids,
            prompt_cut=cut_ids != prompt_ids,
            response_indices=kept,
            response_ids=[response_ids[index] for index in kept],
            response_attributes=[group.response_attributes[index] for index in kept],
            comparisons=comparisons,
        )

    def _kept(self, prompt_ids: list[int], response_ids: list[list[int]]) -> list[int]:
        kept = []
        for index, ids in enumerate(response_ids):
            whole = len(prompt_ids) + len(ids)
            if whole <= self.max_tokens or (self.cuts and has_room(prompt_ids, len(ids), self.max_tokens)):
                kept.append(index)
            else:
                self.fit.overlong[overlong.DROPPED][overlong.bucket(whole)] += 1
        return kept


def read_tokens(tokenized: TokenizedManifest, split: Split) -> TokenizedSplit:
    """The prompts of one split, in order of prompt id."""
    return TokenizedSplit(tokenized.path / TokenizedManifest.tokens_name(split))


def read_refused(tokenized: TokenizedManifest) -> dict[str, str]:
    """Id of each prompt that the chat template refuses, to the reason."""
    table = pq.read_table(tokenized.path / TokenizedManifest.REFUSED_NAME)
    return dict(zip(table["prompt_id"].to_pylist(), table["reason"].to_pylist(), strict=True))


def read_tokenizer(tokenized: TokenizedManifest) -> PreTrainedTokenizerFast:
    """The tokenizer that the ids were made with."""
    return pretrained.load_tokenizer(tokenized.path / TokenizedManifest.TOKENIZER_NAME)
