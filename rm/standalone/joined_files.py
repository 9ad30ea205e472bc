"""Rewards in one file, the pairs that they belong to in another.

A row of rewards has two numbers, each alone or in a list of one, under the first of these names that it has:
``reward_chosen, reward_rejected``; ``score_chosen, score_rejected``; ``scores``, a list of two, the chosen one's first
or, where the row of pairs has a first and a second response, the first one's; ``chosen, rejected``. It may also have
``num_tokens_chosen, num_tokens_rejected`` and features, as in `rm.standalone.score_formats`. The pairs are in any
format of `rm.standalone.labelled_files`. Texts and ids that both rows have must be the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rm.audit.heldout import build_heldout
from rm.data import sources
from rm.data.config import IngestConfig
from rm.data.formats.catalog import FORMATS
from rm.data.formats.format import leaves
from rm.data.formats.row import RowError, name_of, number, shown
from rm.data.preferences import normalised, prompt_id, response_id
from rm.data.source_row import Row
from rm.errors import DataError
from rm.standalone import labelled_files
from rm.standalone.labelled_files import DataFile, LabelledPair, LabelledRow
from rm.standalone.score_files import ScoreFile
from rm.standalone.score_formats import ScoredText, scored_side, typed
from rm.standalone.scored_responses import ScoredResponse, merge

ID_KEYS = ("idx", "id", "pair_id", "prompt_id")
"""Keys that may identify a row; the first one that any row of both files has joins them, and every row must have it."""
_LIST = "scores"
_NAMED = (("reward_chosen", "reward_rejected"), ("score_chosen", "score_rejected"), (_LIST,), ("chosen", "rejected"))
_CHOSEN = "chosen"
_RESPONSE = re.compile(r"(?i)(chosen|rejected|orig)?[_ ]?(response|answer|output|conversation|human_ref)[ _]?\w?")
_TEXTS = frozenset(
    name
    for format_ in FORMATS
    for name in (
        *(*format_.prompt, *(format_.plain or ()), *(format_.dialogues or ()), "system", "history"),
        *filter(_RESPONSE.fullmatch, format_.required),
    )
)
"""Columns of any format that hold a prompt or a response."""
_PROBABILITY = "sampling_probability"
R = TypeVar("R", LabelledRow, Row)


def read(scores: Path, pairs: Path, settings: IngestConfig = labelled_files.AS_IT_IS) -> ScoreFile:
    """Read a file of rewards, and the pairs that it belongs to.

    Rows are joined by the first of `ID_KEYS` that both files have, else line by line. Rewards of a pair that cannot be
    used (see `rm.standalone.labelled_files.read`) are left out with it; joined by ids, such a row must have its own.

    Parameters
    ----------
    scores, pairs : Path
    settings : IngestConfig
        How the pairs are read, as in `rm.standalone.labelled_files.read`.

    Raises
    ------
    DataError
        If a file cannot be read, a row of pairs has more than two responses, an id is missing, repeated or in one file
        only, the numbers of rows differ without ids, rows that are joined have different texts or ids, or a reward is
        missing, not finite, or differs from an earlier one of the same response; names the row.
    AuditError
        If no pair is decided.
    """
    given = labelled_files.read(pairs, settings)
    if not given.rows:
        raise DataError(f"{pairs}: expected one chosen and one rejected response per row, got more")
    if wide := next((row for row in given.rows if row.num_responses > 2), None):
        raise DataError(
            f"{pairs}: row {wide.line}: expected one chosen and one rejected response per row, got "
            f"{wide.num_responses} responses"
        )
    source = sources.open_file(scores)
    rows = _rows(scores, source)
    key = next((key for key in ID_KEYS if _is_given(key, rows) and _is_given(key, given.rows)), None)
    joined = _by_id(scores, rows, given, key) if key else _by_line(scores, rows, given)
    responses = _responses(scores, joined, given)
    merged = merge(responses, scores)
    return ScoreFile(
        path=scores,
        digest=source.digest,
        format=f"rewards, joined with {pairs.name} {f'by {key}' if key else 'line by line'}",
        num_rows=len(rows),
        num_duplicates=given.num_duplicates,
        num_rescored=merged.num_rescored,
        num_respelled=merged.num_respelled,
        mixed=given.mixed,
        heldout=build_heldout(given.groups, merged.rewards, merged.num_tokens, str(scores), merged.own),
        pairs=given,
    )


def _rows(path: Path, source: sources.Source) -> list[Row]:
    rows = list(source.rows)
    for row in rows:
        try:
            if not isinstance(row.parsed(), dict):
                raise RowError(f"expected an object with named fields, got {type(row.value).__name__}")
        except RowError as error:
            raise DataError(f"{path}: row {row.line}: {error}") from None
    if not rows:
        raise DataError(f"{path}: expected rows with rewards, got none")
    return rows


def _is_given(key: str, rows: Sequence[Row] | Sequence[LabelledRow]) -> bool:
    """Whether any row has the key: the first one may be broken, or lack it."""
    return any(key in row.value for row in rows)


def _by_line(path: Path, rows: Sequence[Row], given: DataFile) -> list[tuple[LabelledRow, Row]]:
    if len(rows) != given.num_rows:
        raise DataError(
            f"{path}: expected {given.num_rows} rows as in {given.path}, got {len(rows)}; rows are joined line by line "
            f"unless both files have one of the keys {', '.join(ID_KEYS)}"
        )
    return list(zip(given.rows, rows, strict=True))


def _by_id(path: Path, rows: Sequence[Row], given: DataFile, key: str) -> list[tuple[LabelledRow, Row]]:
    """The rows of both files with the same id, in the order of the pairs."""
    scored, wanted = _ids(path, rows, key), _ids(given.path, given.rows, key)
    strangers = [name for name in scored if name not in wanted]
    if strangers:
        line = scored[strangers[0]].line
        raise DataError(
            f"{path}: row {line}: {key}: expected an id of {given.path}, got {strangers[0]!r}{_more(strangers)}"
        )
    missing = [name for name in wanted if name not in scored]
    if missing:
        line = wanted[missing[0]].line
        raise DataError(
            f"{path}: {key}: expected a row {missing[0]!r} as row {line} of {given.path}, got none{_more(missing)}"
        )
    return [(row, scored[name]) for name, row in wanted.items()]


def _more(names: Sequence[str]) -> str:
    return f", and {len(names) - 1} more such ids" if len(names) > 1 else ""


def _ids(path: Path, rows: Sequence[R], key: str) -> dict[str, R]:
    """Each row by its id, which is read as text since CSV has no numbers."""
    found: dict[str, R] = {}
    for row in rows:
        try:
            name = name_of(row.value, (key,))
        except RowError as error:
            raise DataError(f"{path}: row {row.line}: {error}") from None
        given = row.value.get(key)
        if name is None:
            raise DataError(f"{path}: row {row.line}: {key}: expected an id as in other rows, got {given!r}")
        if (before := found.setdefault(name, row)) is not row:
            raise DataError(
                f"{path}: row {row.line}: {key}: expected each id once, got {given!r} as in row {before.line}"
            )
    return found


def _responses(path: Path, joined: Sequence[tuple[LabelledRow, Row]], given: DataFile) -> list[list[ScoredResponse]]:
    """The responses of each group of the pairs, with their rewards."""
    known: dict[tuple[str, str], ScoredResponse] = {}
    for labelled, row in joined:
        if labelled.pair is None:
            continue
        prompt = prompt_id(labelled.pair.prompt)
        try:
            _check_probability(row.value, labelled.value)
            _check_same(row.value, labelled)
            for scored in _scored(typed(row.value), labelled.pair):
                place = (prompt, response_id(scored.text))
                known.setdefault(place, ScoredResponse.of(row.line, scored)).add(row.line, scored)
        except RowError as error:
            raise DataError(f"{path}: row {row.line}: {error}") from None
    return [[known[group.prompt_id, response_id(text)] for text in group.responses] for group in given.groups]


def _check_probability(row: Mapping[str, Any], pair: Mapping[str, Any]) -> None:
    """Refuse a sampling probability beside the rewards alone: it is the pair's, and would be passed over."""
    if row.get(_PROBABILITY) is not None and pair.get(_PROBABILITY) is None:
        raise RowError(f"{_PROBABILITY}: expected it in the file of pairs, got it with the rewards")


def _check_same(row: Mapping[str, Any], labelled: LabelledRow) -> None:
    """Refuse rewards whose row has other texts, or another id, than the row of pairs that it was joined with."""
    rewards = _names(row) or ()
    for name in row.keys() & labelled.value.keys() - {*rewards}:
        mine, theirs = row[name], labelled.value[name]
        if (name in ID_KEYS and _other_ids(row, labelled.value, name)) or (
            name in _TEXTS and _other_texts(mine, theirs)
        ):
            raise RowError(
                f"{name}: expected {shown(theirs)} as in row {labelled.line} of the pairs, got {shown(mine)}; are "
                "these the rewards of another pair?"
            )


def _other_ids(row: Mapping[str, Any], pair: Mapping[str, Any], key: str) -> bool:
    mine, theirs = name_of(row, (key,)), name_of(pair, (key,))
    return mine is not None and theirs is not None and mine != theirs


def _other_texts(mine: Any, theirs: Any) -> bool:
    """Whether two cells have other texts; a text and messages cannot be compared."""
    if isinstance(mine, str) != isinstance(theirs, str):
        return False
    one, other = (sorted(map(normalised, leaves(value))) for value in (mine, theirs))
    return bool(one and other) and one != other


def _names(row: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The names of a row's two rewards; None if it has none that are known."""
    return next((names for names in _NAMED if set(names) <= row.keys()), None)


def _scored(row: dict[str, Any], pair: LabelledPair) -> tuple[ScoredText, ...]:
    """The chosen and the rejected response with their rewards; of a tie, the first and the second."""
    names = _names(row)
    if names is None:
        known = "; ".join(", ".join(names) for names in _NAMED)
        raise RowError(f"expected two rewards under the names {known}; got {sorted(map(str, row))}")
    by_side = next((str(name) for name in row if str(name).endswith(_CHOSEN)), None)
    if by_side is not None and pair.preference == 0.5:
        raise RowError(f"{by_side}: the pair is a tie, so that neither is chosen; expected rewards as a list, {_LIST}")
    rewards = [_reward(row, name) for name in names] if names != (_LIST,) else _listed(row)
    texts = [pair.first, pair.second]
    if pair.preference < 0.5:
        texts.reverse()
        if names == (_LIST,):
            rewards.reverse()
    sides = zip(("chosen", "rejected"), texts, rewards, strict=True)
    return tuple(scored_side(row, side, response, reward) for side, response, reward in sides)


def _listed(row: dict[str, Any]) -> list[float]:
    found = row[_LIST]
    if not isinstance(found, list) or len(found) != 2:
        raise RowError(f"{_LIST}: expected a list of two rewards, got {found!r:.60}")
    named = {f"{_LIST}[{place}]": value for place, value in enumerate(found)}
    return [_reward(named, name) for name in named]


def _reward(row: dict[str, Any], key: str) -> float:
    """A number, or a list of one as models with one output give it."""
    value = row[key]
    single = value[0] if isinstance(value, list) and len(value) == 1 else value
    return number({key: single}, key)
