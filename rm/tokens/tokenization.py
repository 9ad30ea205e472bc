"""Tokenizing a snapshot: each prompt once and each response once.

Texts are rendered with the tokenizer's chat template, which is saved with the model, so that serving renders them in
the same way. A rendered conversation is split after the generation prompt: the ids before are the prompt's, the rest,
end token included, are the response's.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from transformers import PreTrainedTokenizerFast

from rm.data import snapshots
from rm.data.manifests import DatasetManifest
from rm.data.preferences import SPLITS, Comparison, PromptGroup, Split
from rm.errors import ModelError
from rm.model import base_models, pretrained
from rm.model.tokenizer import save_tokenizer
from rm.parquet import write_table
from rm.progress import OnProgress
from rm.tokens import chat_template
from rm.tokens.config import TokenizeConfig
from rm.tokens.encoder import Encoder, encode_chunks
from rm.tokens.items import TokenizedPrompt
from rm.tokens.manifests import TokenizedManifest
from rm.tokens.truncation import cut_prompt, has_room

TOKENS_SCHEMA = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("split", pa.string()),
        ("prompt_ids", pa.list_(pa.int32())),
        ("prompt_cut", pa.bool_()),
        ("response_indices", pa.list_(pa.int32())),
        ("response_ids", pa.list_(pa.list_(pa.int32()))),
        ("response_attributes", snapshots.GROUP_SCHEMA.field("response_attributes").type),
        ("comparisons", snapshots.GROUP_SCHEMA.field("comparisons").type),
    ]
)
_LENGTH_BUCKET = 256
_GROUPS_AT_ONCE = 256


def tokenize(
    dataset: DatasetManifest,
    base: base_models.BaseModelRef,
    config: TokenizeConfig,
    folder: Path,
    on_progress: OnProgress | None = None,
) -> TokenizedManifest:
    """Tokenize a snapshot with the base model's tokenizer.

    Parameters
    ----------
    dataset : DatasetManifest
    base : BaseModelRef
    config : TokenizeConfig
    folder : Path
        Gets ``tokens.parquet`` (`TOKENS_SCHEMA`), the tokenizer and the manifest.
    on_progress : callable, optional

    Returns
    -------
    TokenizedManifest
        It also counts what was dropped or cut, by reason and length.

    Raises
    ------
    ModelError
        If the tokenizer cannot be used, `TokenizeConfig.max_tokens` exceeds the positions of the base model, or no pair
        of a split fits into it.
    """
    if (positions := base_models.max_positions(base)) is not None and config.max_tokens > positions:
        raise ModelError(f"tokenize.max_tokens is {config.max_tokens}, but {base.name} has {positions} positions")
    groups = {split: snapshots.read_groups(dataset, split) for split in SPLITS}
    every_group = [group for some in groups.values() for group in some]
    # Only training texts: a tokenizer trained on held-out texts would know their words.
    tokenizer = base_models.load_tokenizer(base, _texts(groups["train"]))
    chat_template.check_template(
        tokenizer, with_system=any(message.role == "system" for group in every_group for message in group.prompt)
    )
    limit = _Limit(config, tokenizer)
    chunks = [
        (split, some[start : start + _GROUPS_AT_ONCE])
        for split, some in groups.items()
        for start in range(0, len(some), _GROUPS_AT_ONCE)
    ]
    texts = ([(group.prompt, group.responses) for group in chunk] for _, chunk in chunks)
    tables, num_done = [TOKENS_SCHEMA.empty_table()], 0
    for (split, chunk), encoded in zip(chunks, encode_chunks(Encoder(tokenizer), texts), strict=True):
        prompts = [limit.apply(group, *ids) for group, ids in zip(chunk, encoded, strict=True)]
        # Arrow needs 4 bytes per id, a Python list at least 8.
        rows = [_row(prompt, split) for prompt in prompts if prompt.comparisons]
        tables.append(pa.Table.from_pylist(rows, schema=TOKENS_SCHEMA))
        num_done += len(chunk)
        if on_progress:
            on_progress(num_done, len(every_group))
    table = pa.concat_tables(tables)
    num_pairs, num_tokens = _totals(table)
    if any(num_before and not num_pairs[split] for split, num_before in dataset.num_pairs.items()):
        raise ModelError(
            f"tokenize.max_tokens {config.max_tokens}: expected pairs that fit in every split, got {num_pairs}"
        )
    tokenizer.model_max_length = config.max_tokens  # saved with the model, so that prompts are cut in scoring as here
    save_tokenizer(tokenizer, folder / TokenizedManifest.TOKENIZER_NAME)
    write_table(folder / TokenizedManifest.TOKENS_NAME, table)
    return TokenizedManifest.seal(
        folder,
        inputs=(dataset,),
        config=config,
        num_rows=len(table),
        num_pairs=num_pairs,
        num_tokens=num_tokens,
        overlong={reason: dict(sorted(lengths.items())) for reason, lengths in sorted(limit.overlong.items())},
    )


def _texts(groups: Iterable[PromptGroup]) -> Iterator[str]:
    for group in groups:
        yield from (message.content for message in group.prompt)
        yield from group.responses


def _row(prompt: TokenizedPrompt, split: Split) -> dict[str, Any]:
    """A row of `TOKENS_SCHEMA`."""
    comparisons = [dataclasses.asdict(pair) for pair in prompt.comparisons]
    values = {name: getattr(prompt, name) for name in TOKENS_SCHEMA.names if name != "split"}
    return {**values, "split": split, "comparisons": comparisons}


class _Limit:
    """Applies `TokenizeConfig.max_tokens` to prompts and counts what it drops or cuts."""

    def __init__(self, config: TokenizeConfig, tokenizer: PreTrainedTokenizerFast) -> None:
        self.max_tokens = config.max_tokens
        self.cuts = config.overlong == "truncate_prompt_left"
        self.special_ids = set(tokenizer.all_special_ids)
        self.overlong: dict[str, Counter[str]] = defaultdict(Counter)

    def apply(self, group: PromptGroup, prompt_ids: list[int], response_ids: list[list[int]]) -> TokenizedPrompt:
        """A prompt with the responses that fit and the comparisons among them."""
        kept = self._kept(prompt_ids, response_ids)
        new_index = {old: new for new, old in enumerate(kept)}
        comparisons = [
            dataclasses.replace(pair, first=new_index[pair.first], second=new_index[pair.second])
            for pair in group.comparisons
            if pair.first in new_index and pair.second in new_index
        ]
        # The same cut for all responses, so that they are compared on the same prompt.
        longest = max((len(response_ids[index]) for index in kept), default=0)
        cut_ids = cut_prompt(prompt_ids, longest, self.max_tokens, self.special_ids)
        if comparisons and cut_ids != prompt_ids:  # a prompt without comparisons is dropped, not cut
            self.overlong["prompt cut at its beginning"][_bucket(len(prompt_ids) + longest)] += len(kept)
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
                self.overlong["response dropped"][_bucket(whole)] += 1
        return kept


def _bucket(num_tokens: int) -> str:
    low = num_tokens // _LENGTH_BUCKET * _LENGTH_BUCKET
    return f"{low:05d}-{low + _LENGTH_BUCKET - 1:05d} tokens"


def _totals(table: pa.Table) -> tuple[dict[str, int], dict[str, int]]:
    num_pairs: dict[str, int] = {}
    num_tokens: dict[str, int] = {}
    for split in SPLITS:
        part = table.filter(pc.field("split") == split)
        num_pairs[split] = len(pc.list_flatten(part["comparisons"]))
        response_ids = pc.list_flatten(pc.list_flatten(part["response_ids"]))
        num_tokens[split] = len(pc.list_flatten(part["prompt_ids"])) + len(response_ids)
    return num_pairs, num_tokens


def read_tokens(tokenized: TokenizedManifest, split: Split) -> list[TokenizedPrompt]:
    """The prompts of one split, in order of prompt id; token ids are int32 arrays."""
    table = pq.read_table(tokenized.path / TokenizedManifest.TOKENS_NAME, filters=[("split", "=", split)])
    ids = table.select(["prompt_ids", "response_ids"])
    # Lists of Python integers would take about ten times the memory.
    rows = table.drop_columns([*ids.column_names, "split"]).to_pylist(maps_as_pydicts="strict")
    prompts, responses = (ids[name].combine_chunks() for name in ids.column_names)
    every_response = iter(_arrays(responses.flatten()))
    return [
        TokenizedPrompt(
            **row | {"comparisons": [Comparison(**pair) for pair in row["comparisons"]]},
            prompt_ids=prompt_ids,
            response_ids=[next(every_response) for _ in range(num_responses)],
        )
        for row, prompt_ids, num_responses in zip(
            rows, _arrays(prompts), responses.value_lengths().to_pylist(), strict=True
        )
    ]


def _arrays(lists: pa.ListArray) -> list[Sequence[int]]:
    """Each list as an int32 array, without copying."""
    values = lists.flatten().to_numpy(zero_copy_only=False)
    ends = np.cumsum(lists.value_lengths().to_numpy(zero_copy_only=False))
    return cast(list[Sequence[int]], np.split(values, ends[:-1])) if len(ends) else []


def read_tokenizer(tokenized: TokenizedManifest) -> PreTrainedTokenizerFast:
    """The tokenizer that the ids were made with."""
    return pretrained.load_tokenizer(tokenized.path / TokenizedManifest.TOKENIZER_NAME)
