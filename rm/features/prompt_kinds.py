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
    """P prompts in lower case, with straight apostrophes."""

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


def _answered_by_yes(prompts: Prompts) -> Bools:
    left = pc.replace_substring_regex(prompts.asked, f"{_REQUEST}|{_CHOICE}", "")
    return np.asarray(pc.match_substring_regex(left, _YES_OR_NO), dtype=np.bool_)


_AMBIGUOUS = "codes?|functions?|programs?|java|rust|scripts?"
_BESIDE = (
    "bugs?|debug|structs?|methods?|variables?|arrays?|strings?|loops?|integers?|returns?|inputs?|outputs?|arguments?"
    "|parameters?|api|imports?|compile[sd]?|implement(?:s|ed|ation)?|linked list|binary tree|snippets?|syntax|recursive"
)
_CODE = (
    r"```|\bc(?:\+\+|#)(?:\W|$)|\bdef \w+\(|#include\b|\bpublic static\b"
    r"|\b(?:python|javascript|typescript|sql|html|css|json|regex|bash|programming|programmers?|coding|compilers?"
    r"|algorithms?|(?:source|this|my|following) code|code snippets?|lines? of code)\b"
    r"|\b(?:write|implement|define|debug|fix|refactor)(?: \w+){0,3} (?:function|code|program)\b"
    r"|\bjava (?:class(?:es)?|application|developer)\b"
    r"|\b(?:write|implement|sort|reverse|parse)\b[^\n]{0,80} in (?:java|rust)\b"
    rf"|\b(?:{_AMBIGUOUS})\b[^\n]{{0,60}}\b(?:{_AMBIGUOUS}|{_BESIDE})\b|\b(?:{_BESIDE})\b[^\n]{{0,60}}\b(?:{_AMBIGUOUS})\b"
)
"""A code may be a ZIP code and Java an island, so they need another sign beside them."""
_MATHEMATICS = (
    r"\b(?:calculate|equations?|integrals? of|integrate|derivatives?|differentiate|(?:square|cube) root|factori[sz]e"
    r"|probability|algebra|geometry|theorem|triangles?|polynomials?|prove that|solve for [a-z]|math(?:s|ematics)?)\b"
    r"|\bsimplify (?:the (?:expression|fraction)|[^a-z]|[b-hj-z]\b)"
    r"|\d ?(?:%|percent) of \d|\bwhat (?:is )?\d+(?:\.\d+)? ?(?:%|percent) of\b"
    r"|\d (?:times|plus|minus|divided by|multiplied by|mod) \d|\\(?:frac|sqrt|sum|int|cdot)\b"
    r"|\d\s*[+*^=\x{d7}\x{f7}]\s*[-(]?\d|\d [-/\x{2212}] \d|\d\s*[-/\x{2212}]\s*\d+\s*=|\d\s*=\s*\?"
    r"|[a-z0-9)]\^[({0-9n-z]|\b[k-z] [-+*/\x{2212}] \d|\d[a-z]\s?[-+=\x{2212}]\s?[\d(]|\d\s*[+*^=]\s*\d*[b-hj-z]\b"
    r"|\b(?:if|where|when|given|and) [a-z]\s*=\s*-?\d"
)
"""Without spaces around them - and / are of dates, numbers of telephones and ranges."""
# A request or a choice in the form of a question is left out before one that yes or no answers is looked for.
_REQUEST = (
    r"\b(?:can|could|would|will) you (?:(?:please|kindly)\b|(?:(?:also|just|maybe|briefly|quickly) )*(?:write|rewrite"
    r"|tell|explain|give|help|show|list|make|create|describe|provide|suggest|recommend|summari[sz]e|translate|generate|find"
    r"|name|teach|share|solve|fix|compare|draft|draw|compose|define|elaborate|expand|clarify|outline|convert|answer|do"
    r"|add|edit|correct|improve|design|plan|send|check|calculate|mind)\b)[^.!?\n]*\?"
)
_CHOICE = r"[^.!?\n]*\bor\b[^.!?\n]*\?"
_HELPING = r"(?:can't|won't|(?:is|are|was|were|do|does|did|can|could|should|would|will|has|have|am)(?:n't)?)"
_YES_OR_NO = (
    rf"(?:(?:^|[.!?:\n])[\s\"']*{_HELPING}|\b(?:and|but|so),? {_HELPING} (?:it|you|i|we|they|he|she|the|a|an|there|this"
    r"|that|my|your|his|her|their|our|any|people)\b)(?:[^.!?\n]|\.\w)*\?"
)
_HARM = (
    r"\b(?:kill(?:s|ed|ers?|ings?)?|murder\w*|weapon\w*|guns?|gunm[ae]n|bomb(?:s|ed|ers?|ings?)?|drug(?:s|ged|ging)?|poison\w*"
    r"|steal(?:s|ing)?|stole|stolen|rob(?:s|bed|bing|bery|beries|bers?)?|hack(?:ed|ers?|ing)?|fraud\w*|illegal\w*|suicid\w*"
    r"|rape[ds]?|raping|rapists?|racis\w*|porn\w*|sex|sexual\w*|sexis\w*|sexy|hurt(?:s|ing|ful)?|abus\w*|attack\w*"
    r"|terror(?:is\w*|i[sz]e\w*)?|violen\w*|hate(?:s|d|ful|rs?)?|hating|hatred|nazi\w*|stalk(?:ed|ers?|ing)?|blackmail\w*"
    r"|threat(?:s|en\w*)?)\b"
)
"""Whole words: a robot robs nobody, and celery has stalks."""

PROMPT_KINDS: tuple[PromptKind, ...] = (
    PromptKind("question", _asked(reading.QUESTION_MARK), "has a question mark in the user's last message"),
    PromptKind("code", _in_prompt(_CODE), "is about programming"),
    PromptKind("mathematics", _asked(_MATHEMATICS), "is about mathematics"),
    PromptKind(
        "writing",
        _asked(r"\b(?:write|compose|draft|rewrite|story|poem|essay|letter|email|article|summari[sz]e|translate)\b"),
        "asks for a text",
    ),
    PromptKind("long prompt", _is_long, "has over 500 characters"),
    PromptKind("not English", _foreign, "is surely in another language than English"),
    PromptKind("yes or no", _answered_by_yes, "asks a question that yes or no answers"),
    PromptKind(
        "how to", _asked(r"\bhow (?:to|do|can|could|would|should|does|did|might)\b"), "asks how something is done"
    ),
    PromptKind("names harm", _in_prompt(_HARM), "names a crime, a weapon, hatred or harm"),
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
    whole, asked = map(_plain, (texts, [_last_message(text) for text in texts]))
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


def _plain(texts: list[str]) -> pa.Array:
    return pc.replace_substring(pc.utf8_lower(pa.array(texts, pa.string())), "\u2019", "'")


def _last_message(prompt: str) -> str:
    """What the user said last; the whole text of a prompt that is one message."""
    _, found, said = f"\n\n{prompt}".rpartition(_USER)
    return _OTHERS.split(said, maxsplit=1)[0] if found else prompt
