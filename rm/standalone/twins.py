"""Rewards of twins, read from a file.

A row has ``prompt_id`` or ``prompt``, as text or messages, or both, and one of two sets of rewards; ``kind``, such as
``dialect``, is in every row or in none. Rows with one ``prompt_id`` or near-duplicate prompts are of one prompt.
``system``, ``history``, ``input`` and ``tools`` beside a prompt are a part of it.

responses
    ``reward`` and ``reward_twin`` of one response. Optional: the texts ``text`` and ``twin``, for examples.
pairs
    ``reward_chosen, reward_rejected, twin_reward_chosen, twin_reward_rejected``.

Other columns are ignored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from rm.audit.twin_results import TwinResult
from rm.audit.twins import Twins, measure
from rm.data import near_duplicates, sources
from rm.data.formats.chosen_rejected import prompt_of
from rm.data.formats.format import is_empty
from rm.data.formats.row import RowError, name_of, number, text, unicode
from rm.data.formats.tools import tools_of
from rm.data.preferences import Message, prompt_id
from rm.errors import AuditError, DataError
from rm.files import replace_text
from rm.report import twins as report
from rm.stats.config import BootstrapConfig

JSON_NAME = "twins.json"
MARKDOWN_NAME = "twins.md"
_PAIR = ("reward_chosen", "reward_rejected", "twin_reward_chosen", "twin_reward_rejected")
_RESPONSE = ("reward", "reward_twin")
_KIND = re.compile(r"[\w.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinFile:
    """A file of twins."""

    path: Path
    digest: str
    """SHA-256 of the file."""
    num_rows: int
    kinds: tuple[Twins, ...]
    """In order of appearance."""

    def measure(self, config: BootstrapConfig) -> tuple[TwinResult, ...]:
        """What was measured on each kind; see `rm.audit.twins.measure`."""
        return tuple(measure(twins, config) for twins in self.kinds)


class _Row(NamedTuple):
    prompt_id: str
    prompt: tuple[Message, ...] | None
    kind: str | None
    rewards: tuple[float, ...]
    """Of the original response, or of the chosen and the rejected one."""
    rewards_twin: tuple[float, ...]
    texts: tuple[str, str] | None


def read(path: Path) -> TwinFile:
    """Read a file of twins.

    Raises
    ------
    DataError
        If the file cannot be read or has no rows, or a row lacks a value or differs in format from the rows before;
        names the row.
    AuditError
        If a reward is too large.
    """
    source = sources.open_file(path)
    found: list[_Row] = []
    for line, value in _parsed(path, source):
        try:
            row = _row(value)
            if found:
                _check_alike(row, found[0])
        except RowError as error:
            raise DataError(f"{path}: row {line}: {error}") from None
        found.append(row)
    if not found:
        raise DataError(f"{path}: expected rows with rewards of twins, got none")
    kinds = dict.fromkeys(row.kind for row in found)
    try:
        joined = tuple(_joined([row for row in found if row.kind == kind], kind) for kind in kinds)
    except AuditError as error:
        raise AuditError(f"{path}: {error}") from None
    return TwinFile(path=path, digest=source.digest, num_rows=len(found), kinds=joined)


def write_files(results: Sequence[TwinResult], found: TwinFile, folder: Path) -> None:
    """Write ``twins.json`` and ``twins.md``.

    Parameters
    ----------
    results : sequence of TwinResult
    found : TwinFile
        The file that they were measured on.
    folder : Path

    Raises
    ------
    AuditError
        If the folder is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise AuditError(f"{folder}: expected a folder for the report, got a file")
    values = report.values(results, found.path.name, found.digest)
    replace_text(folder / JSON_NAME, json.dumps(values, indent=2, allow_nan=False) + "\n")
    replace_text(folder / MARKDOWN_NAME, report.markdown(results, found.path.name))


def remove_files(folder: Path) -> None:
    """Remove ``twins.json`` and ``twins.md`` of an earlier report."""
    for name in (JSON_NAME, MARKDOWN_NAME):
        (folder / name).unlink(missing_ok=True)


def _parsed(path: Path, source: sources.Source) -> Iterator[tuple[int, dict[str, Any]]]:
    for row in source.rows:
        try:
            value = row.parsed()
            if not isinstance(value, dict):
                raise RowError(f"expected an object with named fields, got {type(value).__name__}")
        except RowError as error:
            raise DataError(f"{path}: row {row.line}: {error}") from None
        yield row.line, value


def _row(row: dict[str, Any]) -> _Row:
    if any(row.get(name) is not None for name in _PAIR):
        rewards = [number(row, name) for name in _PAIR]
        return _Row(*_prompt(row), _kind(row), tuple(rewards[:2]), tuple(rewards[2:]), None)
    if all(row.get(name) is None for name in _RESPONSE):
        known = f"{' and '.join(_RESPONSE)}, or {', '.join(_PAIR)}"
        raise RowError(f"expected the rewards {known}, got the fields {sorted(map(str, row))}")
    reward, reward_twin = (number(row, name) for name in _RESPONSE)
    return _Row(*_prompt(row), _kind(row), (reward,), (reward_twin,), _texts(row))


def _check_alike(row: _Row, first: _Row) -> None:
    if len(row.rewards) != len(first.rewards):
        names = {1: "one response", 2: "a pair"}
        raise RowError(f"expected {names[len(first.rewards)]}, as in earlier rows, got {names[len(row.rewards)]}")
    if (row.kind is None) != (first.kind is None):
        raise RowError(f"kind: expected {'none' if first.kind is None else 'one'}, as in earlier rows, got {row.kind}")


def _joined(rows: Sequence[_Row], kind: str | None) -> Twins:
    return Twins.of(
        _clusters(rows),
        [row.rewards for row in rows],
        [row.rewards_twin for row in rows],
        kind,
        [row.texts for row in rows],
    )


def _clusters(rows: Sequence[_Row]) -> list[str]:
    """A name for each row's prompt; what one id or near-duplicate texts link has one."""
    number_of = {name: number for number, name in enumerate(dict.fromkeys(row.prompt_id for row in rows))}
    known = [(number_of[row.prompt_id], row.prompt) for row in rows if row.prompt is not None]
    near = near_duplicates.clusters([prompt for _, prompt in known]) + len(number_of)
    links = coo_array(
        (np.ones(len(known)), ([number for number, _ in known], near)), shape=(len(number_of) + len(known),) * 2
    )
    component = connected_components(links, directed=False)[1]
    return [str(component[number_of[row.prompt_id]]) for row in rows]


def _prompt(row: dict[str, Any]) -> tuple[str, tuple[Message, ...] | None]:
    """The prompt's id, and the prompt if it is known."""
    given = name_of(row, ("prompt_id",))
    if is_empty(row.get("prompt")):
        if given is None:
            raise RowError("expected prompt_id or prompt, got neither; rows of one prompt are not independent")
        return f"id {given}", None
    prompt = (*tools_of(row), *prompt_of(row, "prompt", "input"))
    for message in prompt:
        unicode(message.content, "prompt")
    return f"text {prompt_id(prompt)}" if given is None else f"id {given}", prompt  # the two are never equal


def _kind(row: dict[str, Any]) -> str | None:
    given = row.get("kind")
    if given is None:
        return None
    if not isinstance(given, str) or not _KIND.fullmatch(given):
        raise RowError(f"kind: expected letters, digits, '_', '-' or '.', such as dialect, got {given!r:.60}")
    return given


def _texts(row: dict[str, Any]) -> tuple[str, str] | None:
    return None if row.get("text") is None and row.get("twin") is None else (text(row, "text"), text(row, "twin"))
