"""AlpacaEval and AlpacaFarm annotations: two outputs and a graded preference from 1 (first) to 2 (second)."""

from __future__ import annotations

from typing import Any

from rm.data.formats.row import RowError, number, origin, text
from rm.data.preferences import Judgement, Message

NAME = "alpaca_eval"
KEYS = "instruction, output_1, output_2, preference"


def matches(row: dict[str, Any]) -> bool:
    """Whether the row has an instruction and two numbered outputs."""
    return {"instruction", "output_1", "output_2"} <= row.keys()


def read(row: dict[str, Any]) -> Judgement:
    """A preference of 1 is for the first output, 2 for the second; 1.5 is a tie, other values are soft labels."""
    if row.get("preference") is None:
        raise RowError("preference: expected 1 (first) to 2 (second), got none: the judge gave no verdict")
    graded = number(row, "preference")
    if not 1 <= graded <= 2:
        raise RowError(f"preference: expected 1 (first) to 2 (second), got {graded}")
    instruction = text(row, "instruction")
    if row.get("input"):
        instruction = f"{instruction}\n\n{text(row, 'input')}"
    return Judgement(
        prompt=(Message("user", instruction),),
        first=text(row, "output_1"),
        second=text(row, "output_2"),
        preference=2 - graded,
        **origin({**row, "domain": row.get("domain") or row.get("dataset")}),
    )
