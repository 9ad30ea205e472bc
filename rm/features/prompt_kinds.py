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
from rm.stats.clustered import Ints
from rm.stats.sufficiency import MIN_CLUSTERS

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Prompts:
    """P prompts in lower case."""

    whole: pa.Array
    asked: pa.Array
    """Of each the last message of its user, which is what a response answers."""


@dataclass(frozen=True, slots=True)
class PromptKind:
    """A kind of prompt that its text shows."""

    name: str
    holds: Callable[[Prompts], Bools]
    """Gives an array of shape (P,)."""
    about: str


def _in_prompt(pattern: str) -> Callable[[Prompts], Bools]:
    return lambda prompts: np.asarray(pc.match_substring_regex(prompts.whole, pattern), dtype=np.bool_)


def _asked(pattern: str) -> Callable[[Prompts], Bools]:
    return lambda prompts: np.asarray(pc.match_substring_regex(prompts.asked, pattern), dtype=np.bool_)


def _is_long(prompts: Prompts) -> Bools:
    return np.asarray(pc.greater(pc.utf8_length(prompts.whole), _LONG), dtype=np.bool_)


def _foreign(prompts: Prompts) -> Bools:
    return np.array([reading.language(text) not in (None, "en") for text in prompts.whole.to_pylist()], dtype=np.bool_)


PROMPT_KINDS: tuple[PromptKind, ...] = (
    PromptKind("question", _asked(r"\?"), "has a question mark in the user's last message"),
    PromptKind(
        "code",
        _in_prompt(
            r"```|\b(?:code|python|javascript|java|c\+\+|sql|html|function|regex|compile[rd]?|program(?:ming)?)\b"
        ),
        "is about programming",
    ),
    PromptKind(
        "mathematics",
        _in_prompt(r"\b(?:solve|calculate|equation|prove|integral|probability|algebra|theorem)\b|\d\s*[-+*/^=]\s*\d"),
        "is about mathematics",
    ),
    PromptKind(
        "writing",
        _asked(r"\b(?:write|compose|draft|rewrite|story|poem|essay|letter|email|article|summari[sz]e|translate)\b"),
        "asks for a text",
    ),
    PromptKind("long prompt", _is_long, "has over 500 characters"),
    PromptKind("not English", _foreign, "is surely in another language than English"),
    PromptKind(
        "yes or no",
        _asked(
            r"(?:^|[.!?:\n]\s*|\b(?:and|but|so|or),? )"
            r"(?:is|are|was|were|do|does|did|can|could|should|would|will|has|have|am)(?:n't)? "
            r"(?:it|you|i|we|they|he|she|the|a|an|there|this|that|my|your|his|her|their|our|any|people)\b[^.!\n]*\?"
        ),
        "asks a question that yes or no answers",
    ),
    PromptKind(
        "how to", _asked(r"\bhow (?:to|do|can|could|would|should|does|did|might)\b"), "asks how something is done"
    ),
    PromptKind(
        "names harm",
        _in_prompt(
            r"\b(?:kill|murder|weapon|gun|bomb|drug|poison|steal|rob|hack|fraud|illegal|suicide|rape|racis|porn|sex|hurt|"
            r"abuse|attack|terror|violen|hate|nazi|stalk|blackmail|threat)"
        ),
        "names a crime, a weapon, hatred or harm",
    ),
)
_PARTS = re.compile(r"^(?:tools: \[|tool_calls: \[|result_of: \{).*$", re.MULTILINE)
"""Tools and their calls in a prompt's text: their JSON would make each of them a prompt about functions."""
_USER, _OTHERS = "\n\nuser: ", re.compile(r"\n\n(?:assistant|tool): ")
"""Before a message in `rm.data.preferences.prompt_text`."""
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
        What is known of each pair, such as its domain and its source: each value is a kind that at least 15 prompts
        have. In fewer no feature can be tested (`rm.stats.sufficiency.MIN_CLUSTERS`), and a value may be of one row.

    Returns
    -------
    dict of arrays of bool, shape (B,)
        By name of the kind; one that holds for no pair or for all is left out.
    """
    number: dict[str, int] = {}
    prompt_of = np.array([number.setdefault(prompt, len(number)) for prompt in prompts], dtype=np.int64)
    texts = [_PARTS.sub("", prompt) for prompt in number]
    whole, asked = (pc.utf8_lower(pa.array(each, pa.string())) for each in (texts, map(_last_message, texts)))
    found = {kind.name: kind.holds(Prompts(whole, asked))[prompt_of] for kind in PROMPT_KINDS}
    found["many turns"] = np.asarray(num_turns) >= _MANY_TURNS
    for column, values in columns.items():
        found |= {f"{column} {value}": holds for value, holds in _values(values, prompt_of).items()}
    return {name: holds for name, holds in found.items() if holds.any() and not holds.all()}


def _values(values: Sequence[str | None], prompt_of: Ints) -> dict[str, Bools]:
    """Which pairs have each value, without the values that too few prompts have to be tested."""
    place = {value: number for number, value in enumerate(sorted({value for value in values if value is not None}))}
    number = np.array([-1 if value is None else place[value] for value in values], dtype=np.int64)
    apart = np.unique(np.stack([number, prompt_of]), axis=1)[0]
    num_prompts = np.bincount(apart[apart >= 0], minlength=len(place))
    return {value: number == at for value, at in place.items() if num_prompts[at] >= MIN_CLUSTERS}


def _last_message(prompt: str) -> str:
    """What the user said last; the whole text of a prompt that is one message."""
    _, found, said = f"\n\n{prompt}".rpartition(_USER)
    return _OTHERS.split(said, maxsplit=1)[0] if found else prompt
