"""From text to token ids: the prompt once a prompt, each response once.

Text is rendered with the tokenizer's chat template, which is saved with the model, so that serving renders the same.
A rendered conversation is split after the generation prompt: what stands before are the prompt's ids; the rest, end
token included, are the response's.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from rm import base_models, chat, pretrained, snapshots
from rm.config import TokenizeConfig
from rm.encoding import Encoder
from rm.errors import ModelError
from rm.files import replacing
from rm.manifests import DatasetManifest, TokenizedManifest
from rm.preferences import SPLITS, Message

TOKENIZER_FOLDER = "tokenizer"

TOKENS_SCHEMA = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("split", pa.string()),
        ("prompt_ids", pa.list_(pa.int32())),
        ("prompt_cut", pa.bool_()),
        ("response_places", pa.list_(pa.int32())),
        ("response_ids", pa.list_(pa.list_(pa.int32()))),
        ("response_attributes", snapshots.GROUP_SCHEMA.field("response_attributes").type),
        ("comparisons", snapshots.GROUP_SCHEMA.field("comparisons").type),
    ]
)
_MIN_PROMPT_TOKENS = 16
"""A prompt is never cut below this many tokens: a response cannot be judged without one."""
_LENGTH_BUCKET = 256
_GROUPS_AT_ONCE = 256

Item = tuple[Sequence[Message], Sequence[str]]
"""A prompt and responses to it."""

Encoded = tuple[list[int], list[list[int]]]
"""The token ids of an `Item`: of its prompt and of each response."""

Progress = Callable[[int, int], None]
"""Called with how many are done and how many there are."""


class TokenIds(NamedTuple):
    """The token ids of a prompt and of one response to it."""

    prompt_ids: Sequence[int]
    response_ids: Sequence[int]

    @property
    def num_tokens(self) -> int:
        """Tokens of both together."""
        return len(self.prompt_ids) + len(self.response_ids)


def encode(encoder: Encoder, items: Sequence[Item]) -> list[Encoded]:
    """Token ids of prompts with their responses; each prompt is tokenized once.

    Parameters
    ----------
    encoder : Encoder
        Of a tokenizer with a chat template.
    items : sequence of (prompt, responses)

    Returns
    -------
    list of (prompt ids, response ids of each response)

    Raises
    ------
    ModelError
        If the template refuses a conversation, or does not put the response after the prompt as rendered for
        generation.
    """
    (encoded,) = encode_chunks(encoder, [items])
    return encoded


def encode_chunks(encoder: Encoder, chunks: Iterable[Sequence[Item]]) -> Iterator[list[Encoded]]:
    """Token ids of one chunk of prompts after another, each as `encode` gives them.

    Tokenizing runs on all cores and needs no interpreter: the next chunk is rendered, and the last one used by the
    caller, while it goes on.
    """
    with ThreadPoolExecutor(1) as beside:
        before = None
        for items in chunks:
            prompts = chat.render_prompts(encoder.tokenizer, [prompt for prompt, _ in items])
            responses = chat.render_responses(encoder.tokenizer, items, prompts)
            now = (items, beside.submit(encoder.ids, [*prompts, *responses]))
            if before:
                yield _by_prompt(before[0], before[1].result())
            before = now
        if before:
            yield _by_prompt(before[0], before[1].result())


def _by_prompt(items: Sequence[Item], ids: list[list[int]]) -> list[Encoded]:
    prompt_ids, response_ids = ids[: len(items)], iter(ids[len(items) :])
    return [
        (of_prompt, [next(response_ids) for _ in texts])
        for of_prompt, (_, texts) in zip(prompt_ids, items, strict=True)
    ]


def tokenize(
    dataset: DatasetManifest,
    base: base_models.BaseModelRef,
    config: TokenizeConfig,
    folder: Path,
    on_progress: Progress | None = None,
) -> TokenizedManifest:
    """Tokenize a snapshot with the base model's tokenizer.

    Parameters
    ----------
    dataset : DatasetManifest
    base : BaseModelRef
    config : TokenizeConfig
    folder : Path
        Gets ``tokens.parquet``, the tokenizer and the manifest.
    on_progress : callable, optional

    Returns
    -------
    TokenizedManifest
        With what was dropped or cut, by reason and length.

    Raises
    ------
    ModelError
        If the tokenizer cannot be used, or no pair of a split fits `TokenizeConfig.max_tokens`.
    """
    if (positions := base_models.max_positions(base)) is not None and config.max_tokens > positions:
        raise ModelError(f"tokenize.max_tokens is {config.max_tokens}, but {base.name} has {positions} positions")
    groups = snapshots.read_groups(dataset)
    # The held-out texts stay unseen: a tokenizer trained on them would know their words.
    tokenizer = base_models.load_tokenizer(base, _texts(group for group in groups if group["split"] == "train"))
    chat.check_template(
        tokenizer, with_system=any(turn["role"] == "system" for group in groups for turn in group["prompt"])
    )
    limit = _Limit(config, tokenizer)
    chunks = [groups[start : start + _GROUPS_AT_ONCE] for start in range(0, len(groups), _GROUPS_AT_ONCE)]
    texts = ([(_messages(group), group["responses"]) for group in chunk] for chunk in chunks)
    tables, num_done = [TOKENS_SCHEMA.empty_table()], 0
    for chunk, encoded in zip(chunks, encode_chunks(Encoder(tokenizer), texts), strict=True):
        rows = [limit.apply(group, *ids) for group, ids in zip(chunk, encoded, strict=True)]
        # Arrow keeps an id in 4 bytes, a Python list in 8 and more.
        tables.append(pa.Table.from_pylist([row for row in rows if row["comparisons"]], schema=TOKENS_SCHEMA))
        num_done += len(chunk)
        if on_progress:
            on_progress(num_done, len(groups))
    table = pa.concat_tables(tables)
    num_pairs, num_tokens = _totals(table)
    if any(num_before and not num_pairs[split] for split, num_before in dataset.num_pairs.items()):
        raise ModelError(f"tokenize.max_tokens {config.max_tokens}: no pair of a split fits, left are {num_pairs}")
    tokenizer.model_max_length = config.max_tokens  # travels with the model: what is scored later is cut alike
    base_models.save_tokenizer(tokenizer, folder / TOKENIZER_FOLDER)
    with replacing(folder / "tokens.parquet") as partial:
        pq.write_table(table, partial, compression="zstd")
    return TokenizedManifest.seal(
        folder,
        parents=(dataset,),
        config=config,
        num_rows=len(table),
        num_pairs=num_pairs,
        num_tokens=num_tokens,
        overlong={reason: dict(sorted(lengths.items())) for reason, lengths in sorted(limit.overlong.items())},
    )


def _messages(group: dict[str, Any]) -> list[Message]:
    return [Message(turn["role"], turn["content"]) for turn in group["prompt"]]


def _texts(groups: Iterator[dict[str, Any]]) -> Iterator[str]:
    for group in groups:
        yield from (turn["content"] for turn in group["prompt"])
        yield from group["responses"]


class _Limit:
    """Applies `TokenizeConfig.max_tokens` to one prompt after another and counts what it dropped or cut."""

    def __init__(self, config: TokenizeConfig, tokenizer: PreTrainedTokenizerFast) -> None:
        self.max_tokens = config.max_tokens
        self.cuts = config.overlong == "truncate_prompt_left"
        self.special_ids = set(tokenizer.all_special_ids)
        self.overlong: dict[str, Counter[str]] = defaultdict(Counter)

    def apply(self, group: dict[str, Any], prompt_ids: list[int], response_ids: list[list[int]]) -> dict[str, Any]:
        """One row of tokens, as `TOKENS_SCHEMA` says."""
        kept = self._kept(prompt_ids, response_ids)
        place_of = {place: position for position, place in enumerate(kept)}
        comparisons = [
            {**pair, "first": place_of[pair["first"]], "second": place_of[pair["second"]]}
            for pair in group["comparisons"]
            if pair["first"] in place_of and pair["second"] in place_of
        ]
        # One cut for all responses, so that they are compared on the same prompt.
        longest = max((len(response_ids[place]) for place in kept), default=0)
        cut_ids = cut_prompt(prompt_ids, longest, self.max_tokens, self.special_ids)
        if comparisons and cut_ids != prompt_ids:  # a prompt that no comparison is left of is dropped, not cut
            self.overlong["prompt cut at its beginning"][_bucket(len(prompt_ids) + longest)] += len(kept)
        return {
            "prompt_id": group["prompt_id"],
            "split": group["split"],
            "prompt_ids": cut_ids,
            "prompt_cut": cut_ids != prompt_ids,
            "response_places": kept,
            "response_ids": [response_ids[place] for place in kept],
            "response_attributes": [group["response_attributes"][place] for place in kept],
            "comparisons": comparisons,
        }

    def _kept(self, prompt_ids: list[int], response_ids: list[list[int]]) -> list[int]:
        kept = []
        for place, ids in enumerate(response_ids):
            whole = len(prompt_ids) + len(ids)
            if whole <= self.max_tokens or (self.cuts and has_room(prompt_ids, len(ids), self.max_tokens)):
                kept.append(place)
            else:
                self.overlong["response dropped"][_bucket(whole)] += 1
        return kept


def has_room(prompt_ids: list[int], num_response_tokens: int, max_tokens: int) -> bool:
    """Whether enough of the prompt can be kept beside a response to judge it."""
    return min(len(prompt_ids), _MIN_PROMPT_TOKENS) + num_response_tokens <= max_tokens


def cut_prompt(
    prompt_ids: list[int], num_response_tokens: int, max_tokens: int, special_ids: Collection[int]
) -> list[int]:
    """The end of a prompt that fits beside a response; a special token that opens it is kept."""
    excess = len(prompt_ids) + num_response_tokens - max_tokens
    if excess <= 0:
        return prompt_ids
    opening = [token for token in prompt_ids[:1] if token in special_ids]
    return opening + prompt_ids[excess + len(opening) :]


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


def read_tokens(tokenized: TokenizedManifest, split: str) -> list[dict[str, Any]]:
    """The rows of one split as `TOKENS_SCHEMA` says, in order of prompt id; token ids are int32 arrays."""
    table = pq.read_table(tokenized.path / "tokens.parquet", filters=[("split", "=", split)])
    ids = table.select(["prompt_ids", "response_ids"])
    # As lists of Python integers they would take some ten times the memory.
    rows: list[dict[str, Any]] = table.drop_columns(ids.column_names).to_pylist(maps_as_pydicts="strict")
    prompts, responses = (ids[name].combine_chunks() for name in ids.column_names)
    every_response = iter(_arrays(responses.flatten()))
    for row, prompt_ids, num_responses in zip(
        rows, _arrays(prompts), responses.value_lengths().to_pylist(), strict=True
    ):
        row["prompt_ids"] = prompt_ids
        row["response_ids"] = [next(every_response) for _ in range(num_responses)]
    return rows


def _arrays(lists: pa.ListArray) -> list[NDArray[np.int32]]:
    """Views of each list."""
    values = lists.flatten().to_numpy(zero_copy_only=False)
    ends = np.cumsum(lists.value_lengths().to_numpy(zero_copy_only=False))
    return np.split(values, ends[:-1]) if len(ends) else []


def read_tokenizer(tokenized: TokenizedManifest) -> PreTrainedTokenizerFast:
    """The tokenizer that made the ids."""
    return pretrained.load_tokenizer(tokenized.path / TOKENIZER_FOLDER)
