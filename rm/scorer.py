"""A loaded reward model that gives rewards."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from rm import chat, export, layout
from rm.classifier import Classifier, PairEncoder
from rm.encoding import Encoder
from rm.errors import DataError, ModelError
from rm.layout import Layout
from rm.model import RewardModelConfig
from rm.packing import TokenGroup
from rm.pairs import ItemRewards
from rm.preferences import Message
from rm.tokenization import Encoded, Item, Progress, TokenIds, cut_prompt, encode, has_room


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
            self.layout = Layout(packed=False, reading=self.model.reading)
        else:
            self.layout = layout.choose(self.model, self.tokenizer.model_max_length)

    @property
    def reads_pairs(self) -> bool:
        """Whether prompt and response are given as a pair of texts, for want of a chat template."""
        return self.tokenizer.chat_template is None

    def _encoded_by(self) -> Callable[[Sequence[Item]], list[Encoded]]:
        if self.tokenizer.chat_template is not None:
            chat.check_template(self.tokenizer)
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

    def score_items(self, items: Sequence[Item], on_progress: Progress | None = None) -> list[ItemRewards]:
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

    @torch.inference_mode()
    def score_groups(self, groups: Sequence[TokenGroup], on_progress: Progress | None = None) -> Rewards:
        """Rewards of prompts' responses, of N in all, in the order given."""
        starts = np.cumsum([0] + [len(group.response_ids) for group in groups]).tolist()
        parts = [part for group, start in zip(groups, starts, strict=False) for part in self._fitting(group, start)]
        outputs = np.empty((starts[-1], self.model.config.num_heads + len(self.model.config.attributes)))
        done = 0
        for some in self.layout.fill(parts, self.tokens_per_batch):
            sequences = self.layout.lay_out([part.tokens for part in some]).to(self.device)
            places = [part.start + place for part in some for place in range(len(part.tokens.response_ids))]
            outputs[places] = self.model.outputs(sequences).double().cpu().numpy()
            done += len(places)
            if on_progress:
                on_progress(done, len(outputs))
        return Rewards.of(outputs, self.model.config)

    def _fitting(self, group: TokenGroup, start: int) -> list[_Part]:
        """The group, its responses halved until each part holds."""
        half = len(group.response_ids) // 2
        if not half or self.layout.num_tokens([group]) <= self.tokens_per_batch:
            return [_Part(group, start)]
        first, second = group.response_ids[:half], group.response_ids[half:]
        return [
            *self._fitting(TokenGroup(group.prompt_ids, first), start),
            *self._fitting(TokenGroup(group.prompt_ids, second), start + half),
        ]


class _Part(NamedTuple):
    """Some responses to a prompt, and the number of the first one."""

    tokens: TokenGroup
    start: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewards:
    """What a model says of N responses."""

    rewards: NDArray[np.float64]
    """(N,), the mean over the reward heads."""
    disagreement: NDArray[np.float64] | None
    """(N,), standard deviation over the reward heads; None where there is one."""
    attributes: dict[str, NDArray[np.float64]]
    """Name of each attribute head to its estimates, (N,), in the annotations' units."""

    @classmethod
    def of(cls, outputs: NDArray[np.float64], config: RewardModelConfig) -> Rewards:
        """Tell apart the heads' outputs, (N, heads)."""
        heads, estimates = outputs[:, : config.num_heads], outputs[:, config.num_heads :]
        return cls(
            rewards=heads.mean(axis=1),
            disagreement=heads.std(axis=1, ddof=1) if config.num_heads > 1 else None,
            attributes={name: estimates[:, at] * std + mean for at, (name, mean, std) in enumerate(config.attributes)},
        )

    def rows(self) -> list[dict[str, Any]]:
        """One row a response, as in `SCORES_SCHEMA`."""
        disagreement = [None] * len(self.rewards) if self.disagreement is None else self.disagreement.tolist()
        return [
            {
                "reward": reward,
                "disagreement": deviation,
                "attributes": {name: float(values[at]) for name, values in self.attributes.items()},
            }
            for at, (reward, deviation) in enumerate(zip(self.rewards.tolist(), disagreement, strict=True))
        ]
