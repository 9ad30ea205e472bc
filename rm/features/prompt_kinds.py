"""Kinds of prompts, within which a feature is looked at by itself: a model may like length on questions only."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from rm.features import reading

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class PromptKind:
    """A kind of prompt that its text shows."""

    name: str
    holds: Callable[[pa.Array], Bools]
    """Gives an array of shape (P,) from P prompts in lower case."""
    about: str


def _found(pattern: str) -> Callable[[pa.Array], Bools]:
    return lambda prompts: np.asarray(pc.match_substring_regex(prompts, pattern), dtype=np.bool_)


def _foreign(prompts: pa.Array) -> Bools:
    return np.array([reading.language(text) not in (None, "en") for text in prompts.to_pylist()], dtype=np.bool_)


PROMPT_KINDS: tuple[PromptKind, ...] = (
    PromptKind("question", _found(r"\?"), "has a question mark"),
    PromptKind(
        "code",
        _found(r"```|\b(?:code|python|javascript|java|c\+\+|sql|html|function|regex|compile[rd]?|program(?:ming)?)\b"),
        "is about programming",
    ),
    PromptKind(
        "mathematics",
        _found(r"\b(?:solve|calculate|equation|prove|integral|probability|algebra|theorem)\b|\d\s*[-+*/^=]\s*\d"),
        "is about mathematics",
    ),
    PromptKind(
        "writing",
        _found(r"\b(?:write|compose|draft|rewrite|story|poem|essay|letter|email|article|summari[sz]e|translate)\b"),
        "asks for a text",
    ),
    PromptKind(
        "long prompt",
        lambda prompts: np.asarray(pc.greater(pc.utf8_length(prompts), _LONG), dtype=np.bool_),
        "has over 500 characters",
    ),
    PromptKind("not English", _foreign, "is surely in another language than English"),
    PromptKind(
        "yes or no",
        _found(
            r"(?:^|[.!?:\n]\s*|\b(?:and|but|so|or),? )"
            r"(?:is|are|was|were|do|does|did|can|could|should|would|will|has|have|am)(?:n't)? "
            r"(?:it|you|i|we|they|he|she|the|a|an|there|this|that|my|your|his|her|their|our|any|people)\b[^.!\n]*\?"
        ),
        "asks a question that yes or no answers",
    ),
    PromptKind(
        "how to", _found(r"\bhow (?:to|do|can|could|would|should|does|did|might)\b"), "asks how something is done"
    ),
    PromptKind(
        "names harm",
        _found(
            r"\b(?:kill|murder|weapon|gun|bomb|drug|poison|steal|rob|hack|fraud|illegal|suicide|rape|racis|porn|sex|hurt|"
            r"abuse|attack|terror|violen|hate|nazi|stalk|blackmail|threat)"
        ),
        "names a crime, a weapon, hatred or harm",
    ),
)
_PARTS = re.compile(r"^(?:tools: \[|tool_calls: \[|result_of: \{).*$", re.MULTILINE)
"""Tools and their calls in a prompt's text: their JSON would make each of them a prompt about functions."""
_LONG = 500
_MANY_TURNS = 3
"""Messages; a question, an answer and another question."""


def kinds(
    prompts: Sequence[str], num_turns: Sequence[int], columns: dict[str, Sequence[str | None]]
) -> dict[str, Bools]:
    """Which pairs belong to which kind of prompt.

    Parameters
    ----------
    prompts : sequence of str, B of them
    num_turns : sequence of int
        Messages of each prompt.
    columns : dict of sequences of str or None
        What is known of each pair, such as its domain and its source: each value is a kind.

    Returns
    -------
    dict of arrays of bool, shape (B,)
        By name of the kind; one that holds for no pair or for all is left out.
    """
    number: dict[str, int] = {}
    prompt_of = np.array([number.setdefault(prompt, len(number)) for prompt in prompts], dtype=np.int64)
    distinct = pc.utf8_lower(pa.array([_PARTS.sub("", prompt) for prompt in number], pa.string()))
    found = {kind.name: kind.holds(distinct)[prompt_of] for kind in PROMPT_KINDS}
    found["many turns"] = np.asarray(num_turns) >= _MANY_TURNS
    for column, values in columns.items():
        for value in sorted({value for value in values if value is not None}):
            found[f"{column} {value}"] = np.array([each == value for each in values], dtype=np.bool_)
    return {name: holds for name, holds in found.items() if holds.any() and not holds.all()}
