"""Scoring the rows of a file: each has a prompt and a response, and gets a reward."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rm.data.formats.chosen_rejected import prompt_of
from rm.data.formats.row import RowError, shown, text
from rm.data.formats.tools import tools_of
from rm.data.preferences import Message, conversation_problem, is_unicode
from rm.data.sources import open_file
from rm.errors import DataError
from rm.score.scorer import Scorer


@dataclass(frozen=True, slots=True)
class UnscoredRow:
    """A row as it stands in its file, and what is scored of it."""

    value: dict[str, Any]
    item: tuple[tuple[Message, ...], str]
    name: str
    """Its file and line, for errors."""


def read(data: Path) -> list[UnscoredRow]:
    """The rows of a file.

    Parameters
    ----------
    data : Path
        JSON, JSONL, CSV or Parquet with ``prompt`` (text or messages) and ``response`` in each row.

    Raises
    ------
    DataError
        If the file cannot be read, or a row lacks a prompt or a response, or has a reward; names the row.
    """
    rows: list[UnscoredRow] = []
    for row in open_file(data).rows:
        name = f"{data}: row {row.line}"
        try:
            value = row.parsed()
            if not isinstance(value, dict):
                raise RowError(f"expected an object with prompt and response, got {type(value).__name__}")
            prompt = (*tools_of(value), *prompt_of(value, "prompt", "input"))
            item = prompt, text(value, "response")
            if reason := conversation_problem(prompt, {}):  # a response may be empty, as policies write such
                raise RowError(reason)
            if value.get("reward") is not None:
                raise RowError(f"reward: expected none, since it would be overwritten, got {shown(value['reward'])}")
        except RowError as error:
            raise DataError(f"{name}: {error}") from None
        rows.append(UnscoredRow(value, item, name))
    return rows


def written(row: dict[str, Any]) -> str:
    """A row as a line of JSON; with escapes where a column that is not read holds half a surrogate pair."""
    line = json.dumps(row, ensure_ascii=False, default=str)
    return line if is_unicode(line) else json.dumps(row, default=str)


def score(rows: Sequence[UnscoredRow], model: Path) -> Iterator[dict[str, Any]]:
    """Every row, with the key ``reward`` added.

    Parameters
    ----------
    rows : sequence of UnscoredRow
    model : Path
        Folder of a model that `rm.score.scorer.Scorer` loads.

    Raises
    ------
    DataError, ModelError
        As for `rm.score.scorer.Scorer.score_texts`; names file and row.
    """
    rewards = Scorer(model).score_texts([row.item for row in rows], [row.name for row in rows])
    for row, reward in zip(rows, rewards, strict=True):
        yield {**row.value, "reward": float(reward)}
