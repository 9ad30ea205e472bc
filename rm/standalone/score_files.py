"""Rewards of any model, read from a file together with their texts and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rm.audit.heldout import Heldout, build_heldout
from rm.data import sources
from rm.data.formats.row import RowError
from rm.data.preferences import PromptGroup
from rm.data.prompt_builder import PromptBuilder, PromptBuilders
from rm.errors import DataError
from rm.standalone import score_formats
from rm.standalone.labelled_files import DataFile, mixed_prompts
from rm.standalone.score_formats import ScoredRow, ScoredText
from rm.standalone.scored_responses import ScoredResponse, merge


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreFile:
    """A file of scores, prepared for the audit."""

    path: Path
    digest: str
    """SHA-256 of the file."""
    format: str
    """``pairs``, ``responses`` or ``judgebench``; see `rm.standalone.score_formats`. Or how rewards were joined with
    their pairs."""
    num_rows: int
    num_duplicates: int
    """Rows that repeat an earlier row; they are not counted again."""
    num_rescored: int
    """Responses with several rewards that differ by noise; their mean is used."""
    num_respelled: int
    """As in `rm.standalone.scored_responses.Merged`."""
    mixed: tuple[str, ...]
    """`rm.standalone.labelled_files.mixed_prompts`."""
    heldout: Heldout
    pairs: DataFile | None = None
    """The file with the pairs, if they lie in a file of their own."""


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
    merged = merge(collected.responses, path)
    groups = collected.groups()
    return ScoreFile(
        path=path,
        digest=source.digest,
        format=name,
        num_rows=num_rows,
        num_duplicates=collected.num_duplicates,
        num_rescored=merged.num_rescored,
        num_respelled=merged.num_respelled,
        mixed=mixed_prompts(groups, collected.domains),
        heldout=build_heldout(groups, merged.rewards, merged.num_tokens, str(path), merged.own),
    )


class _Collected:
    """Prompts and responses with their rewards, from all rows so far."""

    def __init__(self) -> None:
        self.num_duplicates = 0
        self.responses: list[list[ScoredResponse]] = []
        self.domains: list[tuple[str, str | None]] = []
        """Id of the prompt and domain of each row."""
        self._builders = PromptBuilders()
        self._has_ids: bool | None = None

    def add(self, line: int, row: ScoredRow) -> None:
        has_id = row.prompt_id is not None
        if self._has_ids is None:
            self._has_ids = has_id
        if has_id != self._has_ids:
            came = "one" if has_id else "none"
            raise RowError(f"prompt_id: expected {'one' if self._has_ids else 'none'}, as in earlier rows, got {came}")
        builder = self._builders.find_or_add(row.prompt, row.prompt_id, domain=row.domain, source=row.source)
        self.domains.append((builder.key, row.domain))
        if builder.index == len(self.responses):
            self.responses.append([])
        indices = [self._add_response(line, builder, response) for response in row.responses]
        if len(indices) == 2:
            is_new = indices[0] != indices[1] and builder.choose(indices[0], indices[1], row.sampling_probability)
            self.num_duplicates += not is_new

    def _add_response(self, line: int, builder: PromptBuilder, scored: ScoredText) -> int:
        index, known = builder.add_response(scored.text), self.responses[builder.index]
        if index == len(known):
            known.append(ScoredResponse.of(line, scored))
        elif scored.label is not None:
            self.num_duplicates += 1
        known[index].add(line, scored)
        return index

    def groups(self) -> tuple[PromptGroup, ...]:
        for builder, responses in zip(self._builders, self.responses, strict=True):
            for index, label in _labels(responses):
                for other, lower in _labels(responses):
                    if label > lower:
                        builder.choose(index, other)
        return self._builders.groups()


def _labels(responses: Sequence[ScoredResponse]) -> list[tuple[int, float]]:
    """Index and label of each response that has a label."""
    return [(index, response.label) for index, response in enumerate(responses) if response.label is not None]
