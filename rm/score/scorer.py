"""A loaded reward model that scores texts."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from rm.data.preferences import Message
from rm.engine.engines import LOCAL, Engine, FindFolder
from rm.errors import DataError, ModelError, RefusedConversation
from rm.model import architecture, batch_layout, export, fused_norms
from rm.model.batch_layout import BatchLayout
from rm.model.sequence_classifier import Classifier
from rm.model.token_ids import TokenGroup, TokenIds
from rm.progress import OnProgress
from rm.score import rewards
from rm.score.rewards import ItemRewards, Rewards
from rm.stats.clustered import Ints
from rm.tokens import chat_template
from rm.tokens.encoder import Encoded, Encoder, Item, encode
from rm.tokens.text_pairs import PairEncoder
from rm.tokens.truncation import cut_prompt, has_room


class Scorer:
    """A loaded reward model and its tokenizer.

    Parameters
    ----------
    folder : Path
        A checkpoint, or any sequence classification model with one label. It needs a chat template, unless it is an
        encoder with its own head (`Classifier`): without a template that reads prompt and response as a pair of texts.
    tokens_per_batch : int
        Most tokens in one forward pass; a longer sequence is read alone.
    engine : Engine
        Where the forward passes are done.

    Raises
    ------
    ModelError
        If the model cannot be loaded, or its chat template cannot be used.
    """

    def __init__(self, folder: Path, tokens_per_batch: int = 8192, engine: Engine = LOCAL) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.folder, self.tokens_per_batch, self.engine = folder, tokens_per_batch, engine
        self.model, self.tokenizer = export.load(folder, self.device)
        if self.device.type == "cuda":
            fused_norms.fuse(self.model)
        self._encode = self._choose_encoder()
        is_classifier = isinstance(self.model, Classifier)
        positions = architecture.max_positions(self.model.loaded.base_model if is_classifier else self.model.backbone)
        self.tokenizer.model_max_length = min(self.tokenizer.model_max_length, positions or sys.maxsize)
        if isinstance(self.model, Classifier):
            self.layout = BatchLayout(packed=False, reading=self.model.reading)
        else:
            self.layout = batch_layout.choose(self.model, self.tokenizer.model_max_length)

    @property
    def reads_pairs(self) -> bool:
        """Whether prompt and response are read as a pair of texts, since there is no chat template."""
        return self.tokenizer.chat_template is None

    def _choose_encoder(self) -> Callable[[Sequence[Item]], Sequence[Encoded | RefusedConversation]]:
        if self.tokenizer.chat_template is not None:
            chat_template.check_template(self.tokenizer)
            return functools.partial(encode, Encoder(self.tokenizer))
        if isinstance(self.model, Classifier):
            return PairEncoder(self.tokenizer).encode
        raise ModelError(
            f"{self.folder}: the tokenizer has no chat template, so prompts cannot be rendered as in training"
        )

    def score_texts(
        self, items: Sequence[tuple[Sequence[Message], str]], names: Sequence[str] | None = None
    ) -> NDArray[np.float64]:
        """Rewards of N prompts with one response each; a prompt that is too long is cut at its beginning.

        Parameters
        ----------
        items : sequence of (prompt, response)
        names : sequence of str, optional
            What errors call the items; default: ``row 1``, ``row 2``, ...

        Returns
        -------
        array of shape (N,)

        Raises
        ------
        DataError
            If a response is so long that it leaves no room for a prompt, or the chat template refuses a prompt; names
            the item.
        ModelError
            As for `score_groups`.
        """
        named = _numbered(len(items)) if names is None else names
        sequences: list[TokenIds] = []
        for name, sequence in zip(named, self.encode(items, named), strict=True):
            if sequence is None:
                limit = self.tokenizer.model_max_length
                raise DataError(f"{name}: the response leaves no room for a prompt; the model reads {limit} tokens")
            sequences.append(sequence)
        shares = self.layout.packed and self.layout.reading.causal
        groups, places = _grouped(sequences, self.tokens_per_batch if shares else 0)
        found = np.empty(len(sequences))
        found[places] = self.score_groups(groups).rewards
        return found

    def encode(
        self, items: Sequence[tuple[Sequence[Message], str]], names: Sequence[str] | None = None
    ) -> list[TokenIds | None]:
        """Token ids of (prompt, response) texts, prompts cut as in training; None if there is no room for a prompt.

        Parameters
        ----------
        items, names
            As for `score_texts`.

        Raises
        ------
        DataError
            If the chat template refuses a prompt; names the item.
        """
        limit, special_ids = self.tokenizer.model_max_length, self.tokenizer.all_special_ids
        sequences: list[TokenIds | None] = []
        named = _numbered(len(items)) if names is None else names
        single = [(prompt, [response]) for prompt, response in items]
        for name, encoded in zip(named, self._encode(single), strict=True):
            if isinstance(encoded, RefusedConversation):
                raise DataError(f"{name}: {encoded}")
            prompt_ids, (ids,) = encoded
            room = has_room(prompt_ids, len(ids), limit)
            sequences.append(TokenIds(cut_prompt(prompt_ids, len(ids), limit, special_ids), ids) if room else None)
        return sequences

    def score_items(self, items: Sequence[Item], on_progress: OnProgress | None = None) -> list[ItemRewards]:
        """Rewards of the responses to each prompt; the packed layout reads each prompt only once.

        Parameters
        ----------
        items : sequence of (prompt, responses)
        on_progress : callable, optional

        Returns
        -------
        list of ItemRewards
            One per item; NaN for a response that leaves no room for a prompt, and for all responses of an item that the
            chat template refuses.

        Raises
        ------
        ModelError
            As for `score_groups`.
        """
        limit, special_ids = self.tokenizer.model_max_length, self.tokenizer.all_special_ids
        groups: list[TokenGroup] = []
        kept: list[tuple[list[int], list[int], bool]] = []
        for encoded, (_, responses) in zip(self._encode(items), items, strict=True):
            if isinstance(encoded, RefusedConversation):
                kept.append(([], [0] * len(responses), False))
                continue
            prompt_ids, response_ids = encoded
            fitting = [index for index, ids in enumerate(response_ids) if has_room(prompt_ids, len(ids), limit)]
            longest = max((len(response_ids[index]) for index in fitting), default=0)
            kept.append((fitting, [len(ids) for ids in response_ids], len(prompt_ids) + longest > limit))
            if fitting:
                cut_ids = cut_prompt(prompt_ids, longest, limit, special_ids)
                groups.append(TokenGroup(cut_ids, [response_ids[index] for index in fitting]))
        found = self.score_groups(groups, on_progress).rewards
        values_of = iter(found)
        results = []
        for fitting, lengths, is_cut in kept:
            values = np.full(len(lengths), np.nan)
            values[fitting] = [next(values_of) for _ in fitting]
            results.append(ItemRewards(values, np.array(lengths, dtype=np.int64), is_cut))
        return results

    def score_groups(self, groups: Sequence[TokenGroup], on_progress: OnProgress | None = None) -> Rewards:
        """Rewards of the responses of all groups, N in total, in the given order.

        Parameters
        ----------
        groups : sequence of TokenGroup
        on_progress : callable, optional
            Called after every few forward passes.

        Raises
        ------
        ModelError
            If the model gives a reward that is not finite: NaN only means that a response was not read.
        """
        shards = rewards.shards(groups, self.layout, self.tokens_per_batch)
        starts = np.cumsum([0] + [len(group.response_ids) for group in groups])
        config = self.model.config
        found = np.empty((starts[-1], config.num_heads + len(config.attributes)))
        done = 0
        for indices, outputs in zip(shards, self._outputs(groups, shards), strict=True):
            found[np.concatenate([np.arange(starts[index], starts[index + 1]) for index in indices])] = outputs
            done += len(outputs)
            if on_progress:
                on_progress(done, len(found))
        result = Rewards.of(found, config)
        if num_broken := int((~np.isfinite(result.rewards)).sum()):
            raise ModelError(f"{self.folder}: expected finite rewards, but {num_broken} of {len(found)} are not finite")
        return result

    def _outputs(self, groups: Sequence[TokenGroup], shards: Sequence[Ints]) -> Iterator[NDArray[np.float64]]:
        """The outputs for each shard, in order."""
        named = (
            (f"{self.folder}: shard {number} of {len(shards)} to score", [groups[index] for index in indices])
            for number, indices in enumerate(shards, start=1)
        )
        if self.engine.is_here or len(shards) == 1:  # workers would take longer to load the model
            return LOCAL.map(lambda: self.outputs, named)
        make = functools.partial(_elsewhere, self.engine.folder(self.folder), self.tokens_per_batch)
        return self.engine.map(make, named, on_gpus=True)

    def outputs(self, groups: Sequence[TokenGroup]) -> NDArray[np.float64]:
        """Outputs of all heads for the responses of all groups, computed here; see `rm.score.rewards.outputs`."""
        return rewards.outputs(self.model, self.layout, groups, self.tokens_per_batch, self.device)


def _numbered(count: int) -> list[str]:
    return [f"row {number}" for number in range(1, count + 1)]


def _grouped(sequences: Sequence[TokenIds], tokens_per_group: int) -> tuple[list[TokenGroup], list[int]]:
    """Sequences with the same prompt put together, so that it is read once, and the places of all of them in order."""
    members: list[list[int]] = []
    sizes: list[int] = []
    newest: dict[tuple[int, ...], int] = {}
    for place, (prompt_ids, ids) in enumerate(sequences):
        prompt = tuple(prompt_ids)
        group = newest.get(prompt)
        if group is None or sizes[group] + len(ids) > tokens_per_group:
            group = newest[prompt] = len(members)
            members.append([])
            sizes.append(len(prompt))
        members[group].append(place)
        sizes[group] += len(ids)
    groups = [
        TokenGroup(sequences[some[0]].prompt_ids, [sequences[each].response_ids for each in some]) for some in members
    ]
    return groups, [place for some in members for place in some]


def _elsewhere(find_folder: FindFolder, tokens_per_batch: int) -> Callable[[Sequence[TokenGroup]], NDArray[np.float64]]:
    with find_folder() as folder:
        return Scorer(folder, tokens_per_batch).outputs
