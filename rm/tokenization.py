"""From text to token ids: the prompt once a prompt, each response once.

Text is rendered with the tokenizer's chat template, which is saved with the model, so that serving renders the same.
A rendered conversation is split after the generation prompt: what stands before are the prompt's ids; the rest, end
token included, are the response's.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from rm import base_models, snapshots
from rm.config import TokenizeConfig
from rm.errors import ModelError
from rm.files import replacing
from rm.manifests import DatasetManifest, TokenizedManifest
from rm.preferences import Message

TOKENIZER_FOLDER = "tokenizer"

TOKENS_SCHEMA = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("split", pa.string()),
        ("prompt_ids", pa.list_(pa.int32())),
        ("prompt_cut", pa.bool_()),
        ("response_places", pa.list_(pa.int32())),
        ("response_ids", pa.list_(pa.list_(pa.int32()))),
        ("comparisons", snapshots.GROUP_SCHEMA.field("comparisons").type),
    ]
)
_MIN_PROMPT_TOKENS = 16
"""A prompt is never cut below this many tokens: a response cannot be judged without one."""
_LENGTH_BUCKET = 256
_GROUPS_AT_ONCE = 256

Progress = Callable[[int, int], None]
"""Called with how many are done and how many there are."""


class TokenIds(NamedTuple):
    """The token ids of a prompt and of one response to it."""

    prompt_ids: list[int]
    response_ids: list[int]

    @property
    def num_tokens(self) -> int:
        """Tokens of both together."""
        return len(self.prompt_ids) + len(self.response_ids)


def encode(
    tokenizer: PreTrainedTokenizerFast, items: Sequence[tuple[Sequence[Message], Sequence[str]]]
) -> list[tuple[list[int], list[list[int]]]]:
    """Token ids of prompts with their responses; each prompt is tokenized once.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerFast
        With a chat template.
    items : sequence of (prompt, responses)

    Returns
    -------
    list of (prompt ids, response ids of each response)

    Raises
    ------
    ModelError
        If the template does not put the response after the prompt as rendered for generation.
    """
    prompts: list[str] = []
    responses: list[str] = []
    for prompt, texts in items:
        messages = [message._asdict() for message in prompt]
        prompts.append(_render(tokenizer, messages, generation=True))
        responses += [_render_response(tokenizer, messages, prompts[-1], text) for text in texts]
    prompt_ids, response_ids = _ids(tokenizer, prompts), iter(_ids(tokenizer, responses))
    return [(ids, [next(response_ids) for _ in texts]) for ids, (_, texts) in zip(prompt_ids, items, strict=True)]


def _render(tokenizer: PreTrainedTokenizerFast, messages: list[dict[str, str]], *, generation: bool) -> str:
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=generation))


def _render_response(
    tokenizer: PreTrainedTokenizerFast, messages: list[dict[str, str]], prompt: str, response: str
) -> str:
    whole = _render(tokenizer, [*messages, {"role": "assistant", "content": response}], generation=False)
    if not whole.startswith(prompt):
        raise ModelError(
            "the chat template renders a prompt differently once it is answered; expected the conversation to begin "
            f"with {prompt[-80:]!r}, got {whole[: len(prompt)][-80:]!r}"
        )
    return whole[len(prompt) :]


def _ids(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> list[list[int]]:
    if not texts:
        return []
    # The template has put in the special tokens; letting the tokenizer add its own would double them.
    ids: list[list[int]] = tokenizer(texts, add_special_tokens=False, return_attention_mask=False, verbose=False)[
        "input_ids"
    ]
    return ids


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
    limit = _Limit(config, tokenizer)
    rows = []
    for start in range(0, len(groups), _GROUPS_AT_ONCE):
        chunk = groups[start : start + _GROUPS_AT_ONCE]
        encoded = encode(tokenizer, [(_messages(group), group["responses"]) for group in chunk])
        rows += [limit.apply(group, *ids) for group, ids in zip(chunk, encoded, strict=True)]
        if on_progress:
            on_progress(start + len(chunk), len(groups))
    rows = [row for row in rows if row["comparisons"]]
    num_pairs, num_tokens = _totals(rows)
    if 0 in num_pairs.values():
        raise ModelError(f"tokenize.max_tokens {config.max_tokens}: no pair of a split fits, left are {num_pairs}")
    tokenizer.model_max_length = config.max_tokens  # travels with the model: what is scored later is cut alike
    base_models.save_tokenizer(tokenizer, folder / TOKENIZER_FOLDER)
    with replacing(folder / "tokens.parquet") as partial:
        pq.write_table(pa.Table.from_pylist(rows, schema=TOKENS_SCHEMA), partial, compression="zstd")
    return TokenizedManifest.seal(
        folder,
        parents=(dataset,),
        config=config,
        num_rows=len(rows),
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


def _totals(rows: list[dict[str, Any]]) -> tuple[dict[str, int], dict[str, int]]:
    num_pairs, num_tokens = {"train": 0, "heldout": 0}, {"train": 0, "heldout": 0}
    for row in rows:
        num_pairs[row["split"]] += len(row["comparisons"])
        num_tokens[row["split"]] += len(row["prompt_ids"]) + sum(map(len, row["response_ids"]))
    return num_pairs, num_tokens


def read_tokens(tokenized: TokenizedManifest, split: str) -> list[dict[str, Any]]:
    """The rows of one split as `TOKENS_SCHEMA` says, in order of prompt id."""
    table = pq.read_table(tokenized.path / "tokens.parquet", filters=[("split", "=", split)])
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def read_tokenizer(tokenized: TokenizedManifest) -> PreTrainedTokenizerFast:
    """The tokenizer that made the ids."""
    return AutoTokenizer.from_pretrained(tokenized.path / TOKENIZER_FOLDER)
