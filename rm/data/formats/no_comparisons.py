"""Rows of published files that compare nothing by themselves, and which file of the same publisher does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class NoComparison(NamedTuple):
    """Rows that are known and cannot be read."""

    columns: frozenset[str]
    reason: str


def _one_response(kind: str) -> str:
    return (
        f"{kind} is no comparison: expected both responses to a prompt in one row, such as "
        "prompt, first, second, preference, or instruction, generations, ratings"
    )


_KTO = _one_response("one response with a label, as for KTO,")

NO_COMPARISONS = (
    NoComparison(frozenset({"prompt", "completion", "label"}), _KTO),
    NoComparison(frozenset({"messages", "label"}), _KTO),
    NoComparison(frozenset({"kto_tag"}), _KTO),
    NoComparison(
        frozenset({"prompt", "completions", "labels"}),
        _one_response("the steps of one response with their labels, as for process rewards,"),
    ),
    NoComparison(
        frozenset({"prompt", "response", "helpfulness"}),
        _one_response("one response with its ratings, as in HelpSteer,"),
    ),
    NoComparison(
        frozenset({"message_id", "parent_id", "text", "role"}),
        "message_id: a message of OpenAssistant alone is no comparison; expected a row of the file of trees "
        "(such as 2023-04-12_oasst_ready.trees.jsonl.gz), with prompt and its replies",
    ),
    NoComparison(
        frozenset({"info", "summary"}),
        "summary: ratings of one summary are no comparison; expected a row of the comparisons, with summaries and "
        "choice",
    ),
    *(
        NoComparison(
            frozenset({column, "target_output"}),
            f"{column}: the query and the responses are part of a judge's prompt, where they end cannot be known; "
            "expected a row of Auto-J's test set, with prompt, response 1, response 2 and label",
        )
        for column in ("usermsg", "usrmsg")
    ),
    NoComparison(
        frozenset({"input_sequence", "output_sequence"}),
        "input_sequence: the task and the responses are part of a judge's prompt, where they end cannot be known; "
        "expected a row of PandaLM's test set, with instruction, response1, response2 and annotator1",
    ),
)


def no_comparison(row: Mapping[str, Any]) -> str | None:
    """Why a row of no format is no comparison; None if it is not known."""
    if row.keys() == {"text"}:
        return _one_response("one text, as in NeMo-Aligner's lines for reward models,")
    return next((known.reason for known in NO_COMPARISONS if known.columns <= row.keys()), None)
