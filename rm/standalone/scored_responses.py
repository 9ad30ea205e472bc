"""Responses with the rewards that all rows of a file give them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rm.data.formats.row import RowError
from rm.errors import DataError
from rm.standalone.score_formats import ScoredText
from rm.stats.clustered import Floats, Ints

_MOST_NOISE = 0.1
"""Standard deviations by which rewards of one response may differ. Batches of bfloat16 differ: in published files of
rewards by up to 0.08."""


@dataclass(slots=True)
class ScoredResponse:
    """One response, with its rewards from all rows."""

    line: int
    """Its first row."""
    text: str
    """As its first row has it."""
    num_tokens: int | None
    label: float | None
    features: Mapping[str, float]
    rewards: list[float] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    """The row of each reward."""
    num_respelled: int = 0
    """Rows whose text is equal only after Unicode NFC and trimming: a model reads them as others."""

    @classmethod
    def of(cls, line: int, scored: ScoredText) -> ScoredResponse:
        """A response in its first row, still without rewards; `add` adds those of every row."""
        return cls(line, scored.text, scored.num_tokens, scored.label, scored.features)

    def add(self, line: int, scored: ScoredText) -> None:
        """Add the rewards of a row; of a text that is equal only but for its spelling, the first row's count.

        Raises
        ------
        RowError
            If the row contradicts an earlier one in its label, or, for the same text, in anything but the reward.
        """
        is_same = scored.text == self.text
        for name in ("label", "num_tokens", "features") if is_same else ("label",):
            before, now = getattr(self, name), getattr(scored, name)
            if before != now:
                of = (
                    "the same response"
                    if is_same
                    else "a response that is equal but for white space or its Unicode form"
                )
                raise RowError(f"{name}: expected {before} as in row {self.line} for {of}, got {now}")
        if not is_same:
            self.num_respelled += 1
            return
        self.rewards += scored.rewards
        self.lines += [line] * len(scored.rewards)


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """One reward, length and value of each feature per response, for `rm.audit.heldout.build_heldout`."""

    rewards: list[Floats]
    """Arrays of shape (K,), one per prompt."""
    num_rescored: int
    """Responses with several rewards that differ by noise; their mean is used."""
    num_respelled: int
    """Rewards of texts that are equal to an earlier one only after Unicode NFC and trimming; they are not used."""
    num_tokens: list[Ints] | None
    """None if not every response has a number of tokens."""
    own: dict[str, list[Floats]]
    """Features by name."""


def merge(responses: Sequence[Sequence[ScoredResponse]], path: Path) -> Merged:
    """Merge the rows of each response.

    A reward that is computed twice may differ by rounding, since batches differ; a larger difference is an error.

    Parameters
    ----------
    responses : sequence of sequences of ScoredResponse
        The responses of each prompt.
    path : Path
        The file of scores, for error messages.

    Raises
    ------
    DataError
        If rewards of a response differ too much, or responses have different features; names the row.
    """
    every = [one for group in responses for one in group]
    rescored = [one for one in every if len(set(one.rewards)) > 1]
    rewards = [
        np.array(
            [
                one.rewards[0] if len(set(one.rewards)) == 1 else math.fsum(one.rewards) / len(one.rewards)
                for one in group
            ]
        )
        for group in responses
    ]
    _check_noise(rescored, _MOST_NOISE * float(np.std(np.concatenate(rewards))), path)
    counts = [[one.num_tokens for one in group] for group in responses]
    known = all(count is not None for group in counts for count in group)
    return Merged(
        rewards=rewards,
        num_rescored=len(rescored),
        num_respelled=sum(one.num_respelled for one in every),
        num_tokens=[np.array(group, dtype=np.int64) for group in counts] if known else None,
        own={
            name: [np.array([one.features[name] for one in group], dtype=np.float64) for group in responses]
            for name in _feature_names(every, path)
        },
    )


def _check_noise(rescored: Sequence[ScoredResponse], allowed: float, path: Path) -> None:
    for one in rescored:
        earlier, later = sorted((int(np.argmin(one.rewards)), int(np.argmax(one.rewards))))
        if abs(one.rewards[later] - one.rewards[earlier]) > allowed:
            raise DataError(
                f"{path}: row {one.lines[later]}: reward: expected {one.rewards[earlier]} as in row "
                f"{one.lines[earlier]} for the same response to the same prompt, got {one.rewards[later]}; rewards of "
                "one response may "
                f"differ by {_MOST_NOISE} standard deviations"
            )


def _feature_names(every: Sequence[ScoredResponse], path: Path) -> tuple[str, ...]:
    """Names of the features, the same in every row."""
    first = min(every, key=lambda one: one.line)
    for one in sorted(every, key=lambda one: one.line):
        if one.features.keys() != first.features.keys():
            raise DataError(
                f"{path}: row {one.line}: expected {_listed(first)} as in row {first.line}, got {_listed(one)}"
            )
    return tuple(first.features)


def _listed(response: ScoredResponse) -> str:
    return f"the features {', '.join(sorted(response.features))}" if response.features else "no features"
