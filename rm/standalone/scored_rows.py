"""Scoring the rows of a file: each has a prompt and a response, and gets a reward."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rm.data.formats.chosen_rejected import prompt_of
from rm.data.formats.row import RowError, text
from rm.data.formats.tools import tools_of
from rm.data.preferences import Message
from rm.data.sources import open_file
from rm.errors import DataError
from rm.score.scorer import Scorer


def score_rows(model: Path, data: Path) -> Iterator[dict[str, Any]]:
    """Every row of a file, with the key ``reward`` added.

    Parameters
    ----------
    model : Path
        Folder of a model that `rm.score.scorer.Scorer` loads.
    data : Path
        JSON, JSONL, CSV or Parquet with ``prompt`` (text or messages) and ``response`` in each row.

    Raises
    ------
    DataError
        If the file cannot be read, or a row lacks a prompt or a response; names the row.
    """
    items: list[tuple[tuple[Message, ...], str]] = []
    rows: list[dict[str, Any]] = []
    for row in open_file(data).rows:
        try:
            value = row.parsed()
            if not isinstance(value, dict):
                raise RowError(f"expected an object with prompt and response, got {type(value).__name__}")
            items.append(((*tools_of(value), *prompt_of(value, "prompt", "input")), text(value, "response")))
        except RowError as error:
            raise DataError(f"{data}: row {row.line}: {error}") from None
        rows.append(value)
    for value, reward in zip(rows, Scorer(model).score_texts(items), strict=True):
        yield {**value, "reward": float(reward)}
