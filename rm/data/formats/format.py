"""What a format of annotations says of itself, and what may lie beside the columns that it reads.

Nothing of a row is lost without a word. Each column is read, or listed as metadata, or *unknown*. An unknown column
may be left out if it holds numbers, what repeats a text that is read, or, beside a prompt with a column of its own, an
id, a date or a name in one word. Which ones were left out is counted. Anything else could be a part of what the
annotator saw, so the row is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rm.data.formats.row import COMMON, RowError, shown
from rm.data.preferences import Judgement

METADATA = frozenset(
    {
        *("id", "_id", "uid", "uuid", "idx", "index", "hash", "url", "link", "version", "batch", "split", "status"),
        *("prompt_id", "question_id", "conversation_id", "conv_id", "pair_id", "message_id", "example_id", "task_id"),
        *(
            "source",
            "source_id",
            "dataset",
            "subset",
            "category",
            "topic",
            "language",
            "lang",
            "tags",
            "license",
        ),
        *("model", "model_a", "model_b", "chosen_model", "rejected_model", "chosen-model", "rejected-model"),
        *("model_chosen", "model_rejected", "generator", "generator_1", "generator_2", "generation_model"),
        *("updated_at", "inserted_at", "date", "time"),
    }
)
"""Columns of any format that say where a row comes from; they are never a part of what the annotator compared."""

_MEDIA = re.compile(r"(?i)image|img|audio|video|picture|screenshot|pixel_values")
_TOOLS = re.compile(
    r"(?i)(tools?|functions?|tool_calls?|function_call|available_tools|reasoning|reasoning_content|thinking)"
)
_ASKED = re.compile(r"(?i)(prompt|question|query|instruction|context|input|system|persona|history|document|passage)s?")
_LABEL = re.compile(r"(?i)(preference|winner|label|vote|choice|better|best|rank)s?(_.*)?|.*_(rank|label|winner)")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")
_SPACE = re.compile(r"\s")
_ONE_WORD = re.compile(r"\S{1,100}")
_DATE = re.compile(r"\d{4}-\d\d?-\d\d?[ T][\d:.]+ ?(Z|UTC|[+-]\d\d:?\d\d)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A format of annotations: its columns, and how a row of it becomes judgements."""

    name: str
    published: str
    """Who publishes or writes rows of this format."""
    required: frozenset[str]
    """Columns that a row of this format has; of all formats whose required columns a row has, the one that leaves the
    fewest of its columns unknown reads it."""
    columns: Mapping[str, str]
    """Every column that is read, to what becomes of it."""
    read: Callable[[dict[str, Any]], list[Judgement]]
    """The judgements of a row; raises RowError if something is wrong with the row."""
    example: Mapping[str, Any]
    """A small row, for the documentation and the tests."""
    metadata: frozenset[str] = frozenset()
    """More columns that are known and not read, beside `METADATA`."""
    fits: Callable[[dict[str, Any]], bool] = lambda row: True
    """Whether the values fit too, where formats have the same columns."""
    own: Callable[[Mapping[str, Any]], frozenset[str]] = lambda row: frozenset()
    """Columns of a row that are read or known under names that its annotators chose."""
    prompt: frozenset[str] = frozenset()
    """The columns that hold the prompt; where all are empty, the prompt is what both sides share."""
    plain: tuple[str, str, str] | None = None
    """The columns of prompt, first and second response, if plain texts there (`rm.data.plain_rows`) stand in the
    judgement as they are written and decide about nothing else."""
    dialogues: tuple[str, str] | None = None
    """The columns of both responses, if `rm.data.formats.dialogue.sides` alone says what is read of dialogues there:
    behind a plain prompt if there is a column for it."""

    def unknown(self, names: frozenset[str]) -> frozenset[str]:
        """Of a row's columns those that are neither read nor metadata."""
        known = (self.columns, self.metadata, METADATA, COMMON)
        return frozenset(name for name in names if not any(name in each for each in known))

    def infers_prompt(self, row: Mapping[str, Any]) -> bool:
        """Whether no column of the row holds the prompt alone."""
        return all(is_empty(row.get(name)) for name in self.prompt)


def left_out(
    found: list[Judgement], row: Mapping[str, Any], unknown: frozenset[str], *, infers_prompt: bool
) -> list[str]:
    """Unknown columns that hold something and can be left out, in order of the row.

    Parameters
    ----------
    found : list of Judgement
        What was read of the row.
    row : mapping
    unknown : frozenset of str
        Its columns that are neither read nor metadata.
    infers_prompt : bool
        Whether the prompt has no column of its own, so that no other text may lie beside.

    Raises
    ------
    RowError
        If one of them may be a part of what was compared.
    """
    for name in row.keys() & METADATA:
        if _is_no_metadata(row[name]):
            raise RowError(
                f"{name}: expected a name or the like, got {shown(row[name])}; leave it out: {_ignore(name)}"
            )
    left = [name for name in row if name in unknown and not is_empty(row[name])]
    if not left:
        return []
    known = {text.strip() for judgement in found for text in _texts_of(judgement)}
    for name in left:
        if reason := _reason(name, row[name], known, infers_prompt=infers_prompt):
            raise RowError(f"{name}: {reason}, got {shown(row[name])}; if it is none, leave it out: {_ignore(name)}")
    return left


def _ignore(name: str) -> str:
    return f"--set 'ingest.ignore=[{name}]'" if name else "without a name, it can only be taken out of the file"


def _is_no_metadata(value: Any) -> bool:
    """Whether a column that should say where a row comes from holds sentences or messages."""
    if isinstance(value, str):
        return _is_sentence(value.strip())
    return isinstance(value, list) and any(isinstance(each, dict) for each in value)


def _is_sentence(text: str) -> bool:
    """What no name, date or tag is: three words or more with a mark at their end, or a long text."""
    num_spaces = len(_SPACE.findall(text[:_LONG]))
    return num_spaces > 0 if len(text) >= _LONG else num_spaces > 1 and text[-1] in ".!?…"


_LONG = 60


def _texts_of(judgement: Judgement) -> Iterator[str]:
    yield from (message.content for message in judgement.prompt)
    yield from (judgement.first, judgement.second)


def is_empty(value: Any) -> bool:
    """Whether a cell holds nothing."""
    return value is None or value in ("", [], {}) or (isinstance(value, str) and not value.strip())


def _reason(name: str, value: Any, known: set[str], *, infers_prompt: bool) -> str | None:
    """Why a column cannot be left out, or None if it can."""
    if _has_bytes(value) or (_MEDIA.search(name) and not _is_number(value)):
        return "media, which a reward model of text cannot see"
    if _LABEL.fullmatch(name):
        return "a label that is not read"
    texts = [] if _is_number(value) else [text for text in leaves(value) if text.strip() not in known]
    if texts and _TOOLS.fullmatch(name):
        return "tools or reasoning, of which it is not known where they belong (then name it in ingest.fields)"
    if texts and infers_prompt:
        return "text beside a prompt that has no column of its own"
    short = all(_ONE_WORD.fullmatch(text) or _DATE.fullmatch(text) for text in texts)
    if texts and (isinstance(value, list) or _ASKED.fullmatch(name) or not short):
        return "text or messages that may be a part of the prompt (then name it in ingest.fields)"
    return None


def _is_number(value: Any) -> bool:
    """Whether a cell holds a number, or its text as in CSV."""
    return isinstance(value, bool | int | float) or (isinstance(value, str) and bool(_NUMBER.fullmatch(value.strip())))


def _has_bytes(value: Any) -> bool:
    if isinstance(value, dict | list):
        return any(map(_has_bytes, value.values() if isinstance(value, dict) else value))
    return isinstance(value, bytes)


def leaves(value: Any) -> Iterator[str]:
    """The texts in a cell; the roles of messages are none."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key not in ("role", "from"):
                yield from leaves(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from leaves(inner)
