"""A loaded reward model that gives rewards."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from rm.data.preferences import Message
from rm.errors import DataError, ModelError
from rm.model import batch_layout, export
from rm.model.batch_layout import BatchLayout
from rm.model.sequence_classifier import Classifier
from rm.model.token_ids import TokenGroup, TokenIds
from rm.progress import OnProgress
from rm.score.rewards import ItemRewards, Rewards, score_groups
from rm.tokens import chat_template
from rm.tokens.encoder import Encoded, Encoder, Item, encode
from rm.tokens.text_pairs import PairEncoder
from rm.tokens.truncation import cut_prompt, has_room


class Scorer:
    """A loaded reward model and its tokenizer.

    Parameters
    ----------
    folder : Path
        A checkpoint, or any sequence classification model with one label. It needs a chat template; an encoder without
        one, with a head of its own, reads prompt and response as a pair of texts.
    tokens_per_batch : int
        Most tokens in one forward pass; a sequence that is longer is read by itself.
    """

    def __init__(self, folder: Path, tokens_per_batch: int = 8192) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.folder, self.tokens_per_batch = folder, tokens_per_batch
        self.model, self.tokenizer = export.load(folder, self.device)
        self._encode = self._encoded_by()
        if isinstance(self.model, Classifier):
            self.tokenizer.model_max_length = min(
                self.tokenizer.model_max_length, self.model.max_tokens() or self.tokenizer.model_max_length
            )
            self.layout = BatchLayout(packed=False, reading=self.model.reading)
        else:
            self.layout = batch_layout.choose(self.model, self.tokenizer.model_max_length)

    @property
    def reads_pairs(self) -> bool:
        """Whether prompt and response are given as a pair of texts, for want of a chat template."""
        return self.tokenizer.chat_template is None

    def _encoded_by(self) -> Callable[[Sequence[Item]], list[Encoded]]:
        if self.tokenizer.chat_template is not None:
            chat_template.check_template(self.tokenizer)
            return functools.partial(encode, Encoder(self.tokenizer))
        if isinstance(self.model, Classifier):
            return PairEncoder(self.tokenizer).encode
        raise ModelError(f"{self.folder}: the tokenizer has no chat template, so prompts cannot be rendered as trained")

    def score_texts(self, items: Sequence[tuple[Sequence[Message], str]]) -> NDArray[np.float64]:
        """Rewards of (prompt, response) texts, shape (N,); a prompt that is too long is cut at its beginning.

        Raises
        ------
        DataError
            If a response is too long to leave room for a prompt.
        """
        sequences: list[TokenIds] = []
        for row, sequence in enumerate(self.encode(items), start=1):
            if sequence is None:
                limit = self.tokenizer.model_max_length
                raise DataError(f"row {row}: the response leaves no room for a prompt, the model takes {limit} tokens")
            sequences.append(sequence)
        return self.score_groups([TokenGroup(prompt_ids, [ids]) for prompt_ids, ids in sequences]).rewards

    def encode(self, items: Sequence[tuple[Sequence[Message], str]]) -> list[TokenIds | None]:
        """Token ids of (prompt, response) texts, prompts cut as in training; None where no room is left for one."""
        limit, special_ids = self.tokenizer.model_max_length, self.tokenizer.all_special_ids
        encoded = self._encode([(prompt, [response]) for prompt, response in items])
        return [
            TokenIds(cut_prompt(prompt_ids, len(ids), limit, special_ids), ids)
            if has_room(prompt_ids, len(ids), limit)
            else None
            for prompt_ids, (ids,) in encoded
        ]

    def score_items(self, items: Sequence[Item], on_progress: OnProgress | None = None) -> list[ItemRewards]:
        """Rewards of prompts' responses, each prompt read once for all of them where the layout allows it.

        Parameters
        ----------
        items : sequence of (prompt, responses)
        on_progress : callable, optional

        Returns
        -------
        list of ItemRewards
            Of each item; NaN for a response that leaves no room for a prompt.

        Raises
        ------
        ModelError
            If the model gives a reward that is not finite.
        """
        limit, special_ids = self.tokenizer.model_max_length, self.tokenizer.all_special_ids
        groups, kept = [], []
        for prompt_ids, response_ids in self._encode(items):
            fitting = [place for place, ids in enumerate(response_ids) if has_room(prompt_ids, len(ids), limit)]
            longest = max((len(response_ids[place]) for place in fitting), default=0)
            kept.append((fitting, [len(ids) for ids in response_ids], len(prompt_ids) + longest > limit))
            if fitting:
                cut_ids = cut_prompt(prompt_ids, longest, limit, special_ids)
                groups.append(TokenGroup(cut_ids, [response_ids[place] for place in fitting]))
        found = self.score_groups(groups, on_progress).rewards
        if num_broken := int((~np.isfinite(found)).sum()):  # NaN is to mean no room, and nothing else
            raise ModelError(f"{self.folder}: the model gives {num_broken} of {len(found)} rewards that are not finite")
        rewards = iter(found)
        results = []
        for fitting, lengths, is_cut in kept:
            values = np.full(len(lengths), np.nan)
            values[fitting] = [next(rewards) for _ in fitting]
            results.append(ItemRewards(values, np.array(lengths, dtype=np.int64), is_cut))
        return results

    def score_groups(self, groups: Sequence[TokenGroup], on_progress: OnProgress | None = None) -> Rewards:
        """Rewards of prompts' responses, of N in all, in the order given."""
        return score_groups(self.model, self.layout, groups, self.tokens_per_batch, self.device, on_progress)
