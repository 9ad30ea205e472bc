"""Files of candidates: N responses to each prompt, what models picked among them, and labels from outside.

Each row has

- ``instruction`` or ``prompt``: a text, or messages with role and content;
- ``candidates``: the N texts, at least two;
- ``rewards``, a number for each candidate: of one model; or ``picked_by``, for each of several models the index of the
  candidate that it picked of all N;
- optionally ``preference``: for each candidate the probability that a judge prefers it to a reference answer, or null.
  A list that is shorter than N has none for the others.

``system``, ``history``, ``input`` and ``tools`` are a part of the prompt; other columns, such as ``reference``, are
ignored. Near-duplicate prompts count as one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rm.audit.best_of_n_labels import CandidateSets, Picker
from rm.data import near_duplicates, sources
from rm.data.formats.chosen_rejected import prompt_of
from rm.data.formats.row import RowError, number, texts, unicode
from rm.data.formats.tools import tools_of
from rm.data.preferences import Message, conversation_problem, prompt_text
from rm.errors import DataError

Choice = Mapping[str, tuple[float, ...]]
"""For each model a number per candidate, the highest for the candidate that it picks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateFile:
    """A file of candidates, prepared for the audit."""

    path: Path
    digest: str
    """SHA-256 of the file."""
    sets: CandidateSets
    pickers: tuple[Picker, ...]
    """One if the rows have rewards, else one for each name in ``picked_by``."""


class _Row(NamedTuple):
    prompt: tuple[Message, ...]
    candidates: tuple[str, ...]
    labels: tuple[float, ...]
    """NaN where there is none."""
    source: str
    """``rewards`` or ``picked_by``."""
    choice: Choice


def read(path: Path) -> CandidateFile:
    """Read a file of candidates.

    Raises
    ------
    DataError
        If the file cannot be read or has no rows, or a row is wrong or of another kind than the first; names row and
        key.
    """
    source = sources.open_file(path)
    model = path.name.partition(".")[0]
    rows: list[_Row] = []
    for row in source.rows:
        try:
            rows.append(_row(row.parsed(), model))
            _check_kind(rows[0], rows[-1])
        except RowError as error:
            raise DataError(f"{path}: row {row.line}: {error}") from None
    if not rows:
        raise DataError(f"{path}: expected rows with candidates, got none")
    choices = {name: [value for row in rows for value in row.choice[name]] for name in rows[0].choice}
    scored = rows[0].source == "rewards"
    return CandidateFile(
        path=path,
        digest=source.digest,
        sets=_sets(rows),
        pickers=tuple(
            Picker(name=name, reward=np.array(values, dtype=np.float64), scored=scored)
            for name, values in choices.items()
        ),
    )


def _sets(rows: list[_Row]) -> CandidateSets:
    return CandidateSets(
        set_of=np.repeat(np.arange(len(rows)), [len(row.candidates) for row in rows]),
        cluster=near_duplicates.clusters([row.prompt for row in rows]),
        prompts=tuple(prompt_text(row.prompt) for row in rows),
        texts=tuple(text for row in rows for text in row.candidates),
        label=np.array([label for row in rows for label in row.labels], dtype=np.float64),
    )


def _row(value: Any, model: str) -> _Row:
    if not isinstance(value, dict):
        raise RowError(f"expected an object with named fields, got {type(value).__name__}")
    prompt = (*tools_of(value), *prompt_of(value, _only(value, "instruction", "prompt"), "input"))
    candidates = texts(value, "candidates")
    if len(candidates) < 2:
        raise RowError("candidates: expected at least two texts, got one")
    # One may be empty, as policies write such.
    written = {f"candidates[{index}]": text for index, text in enumerate(candidates) if text.strip()}
    if reason := conversation_problem(prompt, written):
        raise RowError(reason)
    source = _only(value, "rewards", "picked_by")
    choice = {model: _rewards(value, len(candidates))} if source == "rewards" else _picked_by(value, len(candidates))
    return _Row(prompt, candidates, _labels(value, len(candidates)), source, choice)


def _only(row: dict[str, Any], one: str, other: str) -> str:
    """Which of two keys the row has; it must be exactly one."""
    given = [key for key in (one, other) if row.get(key) is not None]
    if len(given) != 1:
        raise RowError(f"expected either {one} or {other}, got {'both' if given else 'neither'}")
    return given[0]


def _rewards(row: dict[str, Any], num_candidates: int) -> tuple[float, ...]:
    values = row["rewards"]
    if not isinstance(values, list) or len(values) != num_candidates:
        raise RowError(f"rewards: expected a list of {num_candidates} numbers, one per candidate, got {_size(values)}")
    return tuple(number({(key := f"rewards[{index}]"): value}, key) for index, value in enumerate(values))


def _picked_by(row: dict[str, Any], num_candidates: int) -> Choice:
    values = row["picked_by"]
    if not isinstance(values, dict) or not values:
        raise RowError(f"picked_by: expected an object of models with their picks, got {_size(values)}")
    for name, index in values.items():
        unicode(name, "picked_by")
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < num_candidates:
            raise RowError(
                f"picked_by.{name}: expected the index of a candidate, 0 to {num_candidates - 1}, got {index!r:.60}"
            )
    return {name: tuple(float(place == index) for place in range(num_candidates)) for name, index in values.items()}


def _labels(row: dict[str, Any], num_candidates: int) -> tuple[float, ...]:
    values = row.get("preference")
    if values is None:
        return (math.nan,) * num_candidates
    if not isinstance(values, list) or len(values) > num_candidates:
        raise RowError(
            f"preference: expected a list of at most {num_candidates} numbers or nulls, one per candidate, "
            f"got {_size(values)}"
        )
    given = [_label(value, f"preference[{place}]") for place, value in enumerate(values)]
    return (*given, *[math.nan] * (num_candidates - len(given)))


def _label(value: Any, key: str) -> float:
    if value is None:
        return math.nan
    found = number({key: value}, key)
    if not 0 <= found <= 1:
        raise RowError(f"{key}: expected a probability, 0 to 1, got {found:g}")
    return found


def _size(value: Any) -> str:
    return f"a list of {len(value)}" if isinstance(value, list) else f"{type(value).__name__} {value!r:.60}"


def _check_kind(first: _Row, row: _Row) -> None:
    """Refuse a row that cannot be counted with the first: rewards among picks, or other models."""
    if row.source != first.source:
        raise RowError(f"expected {first.source} as in the first row, got {row.source}")
    if row.choice.keys() != first.choice.keys():
        raise RowError(
            f"picked_by: expected the models of the first row, {sorted(first.choice)}, got {sorted(row.choice)}"
        )
