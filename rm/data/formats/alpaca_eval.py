"""AlpacaEval and AlpacaFarm annotations: two outputs and a graded preference from 1 (first) to 2 (second)."""

from __future__ import annotations

from typing import Any

from rm.data.formats.chosen_rejected import TURNS, prompt_of
from rm.data.formats.format import Format
from rm.data.formats.row import RowError, number, origin, text
from rm.data.preferences import Judgement


def _read(row: dict[str, Any]) -> list[Judgement]:
    if row.get("preference") is None:
        raise RowError("preference: expected 1 (first) to 2 (second), got none: the judge gave no verdict")
    graded = number(row, "preference")
    if not 1 <= graded <= 2:
        raise RowError(f"preference: expected 1 (first) to 2 (second), got {graded}")
    return [
        Judgement(
            prompt=prompt_of(row, "instruction", "input"),
            first=text(row, "output_1"),
            second=text(row, "output_2"),
            preference=2 - graded,
            **origin({**row, "domain": row.get("domain") or row.get("dataset")}),
        )
    ]


FORMATS = (
    Format(
        name="alpaca_eval",
        published="AlpacaEval, AlpacaFarm",
        required=frozenset({"instruction", "output_1", "output_2"}),
        columns={
            "instruction": "prompt",
            "input": "the end of the prompt",
            **TURNS,
            "output_1": "first response",
            "output_2": "second response",
            "preference": "1 prefers the first, 2 the second, 1.5 neither",
            "dataset": "domain, unless there is one",
        },
        metadata=frozenset({"datasplit", "raw_completion", "referenced_models", "is_switched_outputs"}),
        read=_read,
        example={
            "instruction": "Name a yellow fruit.",
            "output_1": "A banana is yellow.",
            "output_2": "A plum, I think.",
            "preference": 1.25,
        },
        prompt=frozenset({"instruction"}),
        plain=("instruction", "output_1", "output_2"),
    ),
)
