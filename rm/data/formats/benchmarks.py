"""Rows of published benchmarks as comparisons; `rm.benchmarks` has their own formulas.

RewardBench's rows are those of ``trl``.
"""

from __future__ import annotations

from itertools import product
from typing import Any, NamedTuple

from rm.data.formats.chosen_rejected import TURNS, prompt_of
from rm.data.formats.format import Format
from rm.data.formats.row import RowError, origin, text, texts, verdict
from rm.data.preferences import Judgement, Message

_QUESTION, _GOOD, _BAD = "Name a yellow fruit.", "A banana is yellow.", "A plum, I think."
_ORIGIN = {"annotator": "annotator", "created_at": "time"}


class Sides(NamedTuple):
    """Several right and several wrong responses to a prompt."""

    prompt: tuple[Message, ...]
    chosen: tuple[str, ...]
    rejected: tuple[str, ...]


def sides_of(row: dict[str, Any]) -> Sides:
    """The two lists of a row of RewardBench 2 or RM-Bench.

    Raises
    ------
    RowError
        If they are no lists of texts, or ``num_correct`` is not the number of chosen responses.
    """
    chosen = texts(row, "chosen")
    if row.get("num_correct") not in (None, len(chosen)):
        raise RowError(f"num_correct: expected {len(chosen)}, as many as chosen, got {row['num_correct']!r}")
    return Sides(prompt_of(row, "prompt"), chosen, texts(row, "rejected"))


def llmbar(row: dict[str, Any]) -> Judgement:
    """The comparison in a row of LLMBar; raises RowError if something is wrong with it."""
    return Judgement(
        prompt=prompt_of(row, "input"),
        first=text(row, "output_1"),
        second=text(row, "output_2"),
        preference=verdict(row, "label", {"1": 1.0, "2": 0.0}),
        **origin(row),
    )


def judgebench(row: dict[str, Any]) -> Judgement:
    """The comparison in a row of JudgeBench; raises RowError if something is wrong with it."""
    return Judgement(
        prompt=prompt_of(row, "question"),
        first=text(row, "response_A"),
        second=text(row, "response_B"),
        preference=verdict(row, "label", {"A>B": 1.0, "B>A": 0.0}),
        **origin(row, "source"),
    )


def _every_pair(row: dict[str, Any]) -> list[Judgement]:
    prompt, chosen, rejected = sides_of(row)
    domain = "subset" if row.get("domain") is None else "domain"
    return [
        Judgement(prompt=prompt, first=better, second=worse, preference=1.0, **origin(row, domain))
        for better, worse in product(chosen, rejected)
    ]


def _has_lists(row: dict[str, Any]) -> bool:
    """Whether both sides are lists of texts; lists of messages are dialogues."""
    sides = (row["chosen"], row["rejected"])
    return all(isinstance(side, list) and side and all(isinstance(one, str) for one in side) for side in sides)


FORMATS = (
    Format(
        name="chosen_rejected_lists",
        published="RewardBench 2, RM-Bench: several right and several wrong responses",
        required=frozenset({"prompt", "chosen", "rejected"}),
        columns={
            "prompt": "prompt",
            **TURNS,
            "chosen": "right responses, each compared with every wrong one",
            "rejected": "wrong responses",
            "num_correct": "checked: the number of right responses",
            **_ORIGIN,
            "domain": "domain",
            "subset": "domain, unless there is one",
        },
        metadata=frozenset(
            {"num_incorrect", "total_completions", "models", "additional_metadata", "error", "error_key"}
        ),
        fits=_has_lists,
        read=_every_pair,
        example={"prompt": _QUESTION, "chosen": [_GOOD], "rejected": [_BAD, "I do not know."], "subset": "Factuality"},
        prompt=frozenset({"prompt"}),
    ),
    Format(
        name="llmbar",
        published="LLMBar",
        required=frozenset({"input", "output_1", "output_2", "label"}),
        columns={
            "input": "prompt",
            **TURNS,
            "output_1": "first response",
            "output_2": "second response",
            "label": "1 or 2, the better response",
            **_ORIGIN,
            "domain": "domain",
        },
        read=lambda row: [llmbar(row)],
        example={"input": _QUESTION, "output_1": _GOOD, "output_2": _BAD, "label": 1},
        prompt=frozenset({"input"}),
    ),
    Format(
        name="judgebench",
        published="JudgeBench",
        required=frozenset({"question", "response_A", "response_B", "label"}),
        columns={
            "question": "prompt",
            **TURNS,
            "response_A": "first response",
            "response_B": "second response",
            "label": "A>B prefers the first, B>A the second",
            **_ORIGIN,
            "source": "domain",
        },
        metadata=frozenset({"original_id", "response_model", "judge_name", "judgments"}),
        read=lambda row: [judgebench(row)],
        example={
            "question": _QUESTION,
            "response_A": _GOOD,
            "response_B": _BAD,
            "label": "A>B",
            "source": "mmlu-pro-biology",
        },
        prompt=frozenset({"question"}),
    ),
)
