"""Rewards of any model, read from a file together with their texts and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rm.audit.heldout import Heldout, build_heldout
from rm.data import sources
from rm.data.formats.row import RowError
from rm.data.preferences import PromptGroup
from rm.data.prompt_builder import PromptBuilder, PromptBuilders
from rm.errors import DataError
from rm.standalone import score_formats
from rm.standalone.score_formats import ScoredRow, ScoredText
from rm.stats.clustered import Floats, Ints

_MOST_NOISE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreFile:
    """A file of scores, prepared for the audit."""

    path: Path
    digest: str
    """SHA-256 of the file."""
    format: str
    """``pairs``, ``responses`` or ``judgebench``; see `rm.standalone.score_formats`."""
    num_rows: int
    num_duplicates: int
    """Rows that repeat an earlier row; they are not counted again."""
    num_rescored: int
    """Responses with several rewards that differ by noise; their mean is used."""
    heldout: Heldout


@dataclass(slots=True)
class _Response:
    """One response, with its rewards from all rows."""

    line: int
    """Its first row."""
    num_tokens: int | None
    label: float | None
    rewards: list[float] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    """The row of each reward."""


def read(path: Path) -> ScoreFile:
    """Read a file of scores in any format of `rm.standalone.score_formats`.

    Lengths are in tokens of the model if every response has a number of tokens, else in characters. A prompt is
    identified by ``prompt_id`` if the rows have it, else by its text. If responses have labels, any two responses to
    one prompt with different labels are a pair; equal labels do not make a tie. A pair that two rows decide in opposite
    ways is a tie.

    Raises
    ------
    DataError
        If the file cannot be read, mixes formats, lacks a value, or contradicts itself; names the row.
    AuditError
        If no pair is decided.
    """
    source = sources.open_file(path)
    collected = _Collected()
    name, num_rows = "", 0
    for row in source.rows:
        num_rows += 1
        try:
            value = row.parsed()
            found = score_formats.format_of(value)
            if found.name != (name := name or found.name):
                raise RowError(f"expected the format of the earlier rows, {name}, got {found.name}")
            collected.add(row.line, found.read(value))
        except RowError as error:
            raise DataError(f"{path}: row {row.line}: {error}") from None
    if not num_rows:
        raise DataError(f"{path}: expected rows with scores, got none")
    rewards, num_rescored = collected.rewards(path)
    return ScoreFile(
        path=path,
        digest=source.digest,
        format=name,
        num_rows=num_rows,
        num_duplicates=collected.num_duplicates,
        num_rescored=num_rescored,
        heldout=build_heldout(collected.groups(), rewards, collected.num_tokens(), str(path)),
    )


class _Collected:
    """Prompts and responses with their rewards, from all rows so far."""

    def __init__(self) -> None:
        self.num_duplicates = 0
        self._builders = PromptBuilders()
        self._responses: list[list[_Response]] = []
        self._has_ids: bool | None = None

    def add(self, line: int, row: ScoredRow) -> None:
        has_id = row.prompt_id is not None
        if self._has_ids is None:
            self._has_ids = has_id
        if has_id != self._has_ids:
            came = "one" if has_id else "none"
            raise RowError(f"prompt_id: expected {'one' if self._has_ids else 'none'}, as in earlier rows, got {came}")
        builder = self._builders.find_or_add(row.prompt, row.prompt_id, domain=row.domain, source=row.source)
        if builder.index == len(self._responses):
            self._responses.append([])
        indices = [self._add_response(line, builder, response) for response in row.responses]
        if len(indices) == 2 and not builder.choose(*indices):
            self.num_duplicates += 1

    def _add_response(self, line: int, builder: PromptBuilder, scored: ScoredText) -> int:
        index, known = builder.add_response(scored.text), self._responses[builder.index]
        if index == len(known):
            known.append(_Response(line, scored.num_tokens, scored.label))
        elif scored.label is not None:
            self.num_duplicates += 1
        response = known[index]
        for name in ("label", "num_tokens"):
            before, now = getattr(response, name), getattr(scored, name)
            if before != now:
                raise RowError(f"{name}: expected {before} as in row {response.line} for the same response, got {now}")
        response.rewards += scored.rewards
        response.lines += [line] * len(scored.rewards)
        return index

    def groups(self) -> tuple[PromptGroup, ...]:
        for builder, responses in zip(self._builders, self._responses, strict=True):
            for index, label in _labels(responses):
                for other, lower in _labels(responses):
                    if label > lower:
                        builder.choose(index, other)
        return self._builders.groups()

    def num_tokens(self) -> list[Ints] | None:
        counts = [[response.num_tokens for response in group] for group in self._responses]
        if any(count is None for group in counts for count in group):
            return None
        return [np.array(group, dtype=np.int64) for group in counts]

    def rewards(self, path: Path) -> tuple[list[Floats], int]:
        """Rewards of each prompt's responses, and the number of responses with several different rewards.

        A reward that is computed twice may differ by rounding, since batches differ; a larger difference is an error.
        """
        allowed = _MOST_NOISE * float(np.std([one.rewards[0] for group in self._responses for one in group]))
        rescored = [one for group in self._responses for one in group if len(set(one.rewards)) > 1]
        for one in rescored:
            worst = int(np.argmax(np.abs(np.subtract(one.rewards, one.rewards[0]))))
            if abs(one.rewards[worst] - one.rewards[0]) > allowed:
                raise DataError(
                    f"{path}: row {one.lines[worst]}: reward: expected {one.rewards[0]} as in row {one.lines[0]} for "
                    f"the same response to the same prompt, got {one.rewards[worst]}; rewards of one response may "
                    f"differ by {_MOST_NOISE} standard deviations"
                )
        values = [
            np.array([one.rewards[0] if len(set(one.rewards)) == 1 else np.mean(one.rewards) for one in group])
            for group in self._responses
        ]
        return values, len(rescored)


def _labels(responses: Sequence[_Response]) -> list[tuple[int, float]]:
    """Index and label of each response that has a label."""
    return [(index, response.label) for index, response in enumerate(responses) if response.label is not None]
