"""Rows with a prompt and a response, each with its reward."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rm.data.formats.row import RowError, messages, text
from rm.data.preferences import Message
from rm.data.sources import open_file
from rm.errors import DataError
from rm.score.scorer import Scorer


def score_rows(model: Path, data: Path) -> Iterator[dict[str, Any]]:
    """Every row of a file with ``reward`` added.

    Parameters
    ----------
    model : Path
        Folder of a model that `rm.score.scorer.Scorer` loads.
    data : Path
        JSON, JSONL, CSV or Parquet with ``prompt`` (text or messages) and ``response`` in each row.

    Raises
    ------
    DataError
        If the file cannot be read, or a row lacks something; names the row.
    """
    items: list[tuple[tuple[Message, ...], str]] = []
    rows: list[dict[str, Any]] = []
    for row in open_file(data).rows:
        try:
            if row.error or not isinstance(row.value, dict):
                raise RowError(row.error or "expected an object with prompt and response")
            items.append((messages(row.value.get("prompt"), "prompt"), text(row.value, "response")))
        except RowError as error:
            raise DataError(f"{data}, line {row.line}: {error}") from None
        rows.append(row.value)
    for value, reward in zip(rows, Scorer(model).score_texts(items), strict=True):
        yield {**value, "reward": float(reward)}
