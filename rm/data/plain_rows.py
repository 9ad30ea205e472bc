"""Rows that differ from an earlier one in plain texts alone are not read: that one is their template.

A text is plain if a format reads it as it is: it is not empty, holds no messages, no mark of a turn and no repeated
prompt. So of all rows with the same other cells one is read as every row is, with stand-ins for its three texts; what
was read of it holds for the others too. Most rows of most files are such rows. Any other row is read by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from rm.data.config import IngestConfig
from rm.data.formats.catalog import FORMATS, read_row
from rm.data.formats.dialogue import is_plain
from rm.data.formats.format import METADATA, Format
from rm.data.formats.row import ORIGIN, RowError
from rm.data.preferences import Message, normalised
from rm.data.template import Template

Texts = tuple[str, str, str]
"""The prompt, the first and the second response."""


class PlainReading(NamedTuple):
    """What was read of rows that differ in plain texts alone."""

    format: Format
    template: Template
    left_out: tuple[str, ...]


class PlainRows:
    """The templates of the rows of one source.

    Parameters
    ----------
    config : IngestConfig
    """

    def __init__(self, config: IngestConfig) -> None:
        self._config = config
        self._columns: dict[tuple[str, ...], list[_Columns]] = {}
        self._readings: dict[tuple[Any, ...], PlainReading | None] = {}

    def find(self, row: Any) -> tuple[PlainReading, Texts] | None:
        """What is read of a row, and its own texts; None if it has to be read by itself."""
        if type(row) is not dict:
            return None
        names = tuple(row)
        if (known := self._columns.get(names)) is None:
            known = self._columns[names] = list(_columns(names, self._config))
        for columns in known:
            if (texts := columns.texts(row)) and (reading := self._reading(columns, names, row)):
                return reading, texts
        return None

    def _reading(self, columns: _Columns, names: tuple[str, ...], row: dict[str, Any]) -> PlainReading | None:
        others = columns.others(row)
        if others is None:
            return None
        key = (names, columns.format.name, others)
        try:
            return self._readings[key]
        except KeyError:
            if len(self._readings) == _MOST_READINGS:
                self._readings.clear()
            found = self._readings[key] = _read(columns, row, self._config)
            return found


_MOST_READINGS = 10_000
_STAND_INS = ("\ufdd0", "\ufdd1", "\ufdd2")
"""Texts that no other cell holds."""


def _read(columns: _Columns, row: dict[str, Any], config: IngestConfig) -> PlainReading | None:
    """What is read of the row with stand-ins for its texts; None if they do not come back as they are."""
    others = "".join(value for name, value in row.items() if isinstance(value, str) and name not in columns.plain)
    if any(stand_in in others for stand_in in _STAND_INS):
        return None
    row = {**row, **dict(zip(columns.plain, _STAND_INS, strict=True))}
    try:
        found = read_row(row, config.fields, config.ignore, config.format)
    except RowError:
        return None
    judgement = found.judgements[0]
    texts = (*judgement.prompt[-1:], judgement.first, judgement.second)
    if found.format is not columns.format or texts != (Message("user", _STAND_INS[0]), *_STAND_INS[1:]):
        return None
    return PlainReading(found.format, Template(judgement), found.left_out)


class _Columns(NamedTuple):
    """The columns of rows with the same names, for one of the formats that may read them."""

    format: Format
    plain: Texts
    """Names of the columns with prompt, first and second response."""
    rest: tuple[tuple[str, bool, bool], ...]
    """Name of each other column, whether numbers in it decide about nothing, and whether single words do not."""

    def texts(self, row: dict[str, Any]) -> Texts | None:
        """The texts of the row if they are plain."""
        asked, first, second = self.plain
        texts = row[asked], row[first], row[second]
        return texts if _are_plain(*texts) else None

    def others(self, row: dict[str, Any]) -> tuple[Any, ...] | None:
        """What of the other cells decides about the reading; None if they hold more than texts and numbers."""
        found: list[Any] = []
        for name, numbers, words in self.rest:
            value = row[name]
            kind = type(value)
            if value is None:
                found.append(None)
            elif kind is str:
                found.append("word" if words and _WORD.fullmatch(value) else ("text", value))
            elif kind in _NUMBERS:
                found.append("number" if numbers else repr(value))  # 0.0 and -0.0, and 1 and True, are equal as keys
            else:
                return None
        return tuple(found)


_NUMBERS = frozenset({int, float, bool})
_WORD = re.compile(r"\S+")


def _are_plain(asked: Any, first: Any, second: Any) -> bool:
    if not (type(asked) is type(first) is type(second) is str):
        return False
    if not (is_plain(asked) and is_plain(first) and is_plain(second)):
        return False
    if not (asked.isascii() and first.isascii() and second.isascii()) and not _is_unicode(asked + first + second):
        return False
    question, one, other = normalised(asked), normalised(first), normalised(second)
    repeats = first.lstrip().startswith(asked.strip())
    return bool(question and one and other) and one != other and not repeats


def _is_unicode(text: str) -> bool:
    """Whether the text has no half surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _columns(names: tuple[str, ...], config: IngestConfig) -> Iterator[_Columns]:
    """The formats with plain columns that may read rows with these names."""
    if not all(isinstance(name, str) for name in names):
        return
    for format_ in FORMATS:
        plain = [config.fields.get(name, name) for name in format_.plain or ()]
        if plain and set(plain) <= set(names):
            read = {*format_.columns, *ORIGIN, *config.fields.values()}
            rest = [(name, name not in read, name in METADATA - read) for name in names if name not in plain]
            yield _Columns(format_, (plain[0], plain[1], plain[2]), tuple(rest))
