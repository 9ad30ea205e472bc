"""Rewards that someone else's model gave, read from a file together with their texts and labels."""

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
    """A file of scores as the audit sees it."""

    path: Path
    digest: str
    """SHA-256 of the file."""
    layout: str
    """``pairs``, ``responses`` or ``judgebench``, see `rm.standalone.score_formats`."""
    num_rows: int
    num_duplicates: int
    """Rows that say again what an earlier one said; they count once."""
    num_rescored: int
    """Responses with several rewards that differ by noise; their mean is used."""
    heldout: Heldout


@dataclass(slots=True)
class _Response:
    """What the file says of one response, from its first row on."""

    line: int
    num_tokens: int | None
    label: float | None
    rewards: list[float] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)


def read(path: Path) -> ScoreFile:
    """Read a file of scores in any of the layouts of `rm.standalone.score_formats`.

    Lengths are in the model's tokens where every response has a number of them, else in characters. A prompt is known
    by ``prompt_id`` where the rows have one, else by its text. Of responses with labels every two of one prompt with
    different labels are a pair; equal labels are not a tie of annotators and count as nothing. A pair that rows decide
    both ways is a tie.

    Raises
    ------
    DataError
        If the file cannot be read, mixes layouts, or a row lacks or contradicts something; names the row.
    AuditError
        If no pair is decided.
    """
    source = sources.open_file(path)
    collected = _Collected()
    layout, num_rows = "", 0
    for row in source.rows:
        num_rows += 1
        try:
            if row.error:
                raise RowError(row.error)
            found = score_formats.format_of(row.value)
            if found.name != (layout := layout or found.name):
                raise RowError(f"expected the layout of the rows before, {layout}, got {found.name}")
            collected.add(row.line, found.read(row.value))
        except RowError as error:
            raise DataError(f"{path}: row {row.line}: {error}") from None
    if not num_rows:
        raise DataError(f"{path}: expected rows with scores, got none")
    rewards, num_rescored = collected.rewards(path)
    return ScoreFile(
        path=path,
        digest=source.digest,
        layout=layout,
        num_rows=num_rows,
        num_duplicates=collected.num_duplicates,
        num_rescored=num_rescored,
        heldout=build_heldout(collected.groups(), rewards, collected.num_tokens(), str(path)),
    )


class _Collected:
    """Prompts and responses with their rewards, from all rows so far."""

    def __init__(self) -> None:
        self.num_duplicates = 0
        self._drafts = PromptBuilders()
        self._responses: list[list[_Response]] = []
        self._has_ids: bool | None = None

    def add(self, line: int, row: ScoredRow) -> None:
        has_id = row.prompt_id is not None
        if self._has_ids is None:
            self._has_ids = has_id
        if has_id != self._has_ids:
            raise RowError(f"prompt_id: expected {'one' if self._has_ids else 'none'}, as in the rows before")
        draft = self._drafts.draft(row.prompt, row.prompt_id, domain=row.domain, source=row.source)
        if draft.number == len(self._responses):
            self._responses.append([])
        places = [self._add_response(line, draft, response) for response in row.responses]
        if len(places) == 2 and not draft.choose(*places):
            self.num_duplicates += 1

    def _add_response(self, line: int, draft: PromptBuilder, scored: ScoredText) -> int:
        place, known = draft.place(scored.text), self._responses[draft.number]
        if place == len(known):
            known.append(_Response(line, scored.num_tokens, scored.label))
        elif scored.label is not None:
            self.num_duplicates += 1
        response = known[place]
        for name in ("label", "num_tokens"):
            before, now = getattr(response, name), getattr(scored, name)
            if before != now:
                raise RowError(f"{name}: expected {before} as in row {response.line} for the same response, got {now}")
        response.rewards += scored.rewards
        response.lines += [line] * len(scored.rewards)
        return place

    def groups(self) -> tuple[PromptGroup, ...]:
        for draft, responses in zip(self._drafts, self._responses, strict=True):
            for place, label in _by_label(responses):
                for other, lower in _by_label(responses):
                    if label > lower:
                        draft.choose(place, other)
        return self._drafts.groups()

    def num_tokens(self) -> list[Ints] | None:
        counts = [[response.num_tokens for response in group] for group in self._responses]
        if any(count is None for group in counts for count in group):
            return None
        return [np.array(group, dtype=np.int64) for group in counts]

    def rewards(self, path: Path) -> tuple[list[Floats], int]:
        """Rewards of each prompt's responses, and how many of these had several that differ.

        A reward computed twice differs by rounding, with other batches or in other order; more than that is a mistake.
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


def _by_label(responses: Sequence[_Response]) -> list[tuple[int, float]]:
    return [(place, response.label) for place, response in enumerate(responses) if response.label is not None]
