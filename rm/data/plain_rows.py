"""Rows that differ from an earlier one in plain texts alone are not read: that one is their template.

A text is plain if a format reads it as it is: it is not empty, holds no messages, no mark of a turn and no repeated
prompt. So of all rows with the same other cells one is read as every row is, with stand-ins for its three texts; what
was read of it holds for the others too. Most rows of most files are such rows.

Dialogues in both responses are taken apart as in every row; for all else, rows with the same other cells have a
template too. Any other row is read by itself.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from rm.data.config import IngestConfig
from rm.data.formats.catalog import FORMATS, read_row
from rm.data.formats.dialogue import is_plain, sides
from rm.data.formats.format import METADATA, Format, is_empty
from rm.data.formats.row import ORIGIN, RowError
from rm.data.preferences import Message, conversation_problem, is_unicode, normalised
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
        self._columns: dict[tuple[str, ...], tuple[list[_Columns], list[_Dialogues]]] = {}
        self._readings: dict[tuple[Any, ...], PlainReading | None] = {}

    def find(self, row: Any) -> tuple[PlainReading, Texts] | None:
        """What is read of a row, and its own texts; None if it has to be read by itself."""
        if type(row) is not dict:
            return None
        names = tuple(row)
        if (known := self._columns.get(names)) is None:
            known = self._columns[names] = _columns(names, self._config)
        plain, dialogues = known
        for columns in plain:
            if (texts := columns.texts(row)) and (reading := self._reading(columns, names, row)):
                return reading, texts
        for each in dialogues:
            if each.may_read(row) and (reading := self._reading(each, names, row)):
                if (said := each.said(row, reading.template.prompt[:-1])) is None:
                    return None
                prompt, texts = said
                return reading._replace(template=reading.template.after(prompt)), texts
        return None

    def _reading(
        self, columns: _Columns | _Dialogues, names: tuple[str, ...], row: dict[str, Any]
    ) -> PlainReading | None:
        others = _others(columns.rest, row)
        if others is None:
            return None
        key = (names, columns.format.name, columns.kind(row), others)
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


def _read(columns: _Columns | _Dialogues, row: dict[str, Any], config: IngestConfig) -> PlainReading | None:
    """What is read of the row with stand-ins for its texts; None if they do not come back as they are."""
    stand_ins = columns.stand_ins(row)
    others = "".join(value for name, value in row.items() if isinstance(value, str) and name not in stand_ins)
    if any(stand_in in others for stand_in in _STAND_INS):
        return None
    try:
        found = read_row({**row, **stand_ins}, config.fields, config.ignore, config.format)
    except RowError:
        return None
    judgement = found.judgements[0]
    texts = (*judgement.prompt[-1:], judgement.first, judgement.second)
    if found.format is not columns.format or texts != (Message("user", _STAND_INS[0]), *_STAND_INS[1:]):
        return None
    if isinstance(columns, _Dialogues) and any(message.role == "tools" for message in judgement.prompt):
        return None  # they come before what `sides` gives
    return PlainReading(found.format, Template(judgement), found.left_out)


_Rest = tuple[tuple[str, bool, bool], ...]
"""Name of each other column, whether numbers in it decide about nothing, and whether single words do not."""


class _Columns(NamedTuple):
    """The columns of rows with the same names, for one of the formats that may read them."""

    format: Format
    plain: Texts
    """Names of the columns with prompt, first and second response."""
    rest: _Rest

    def texts(self, row: dict[str, Any]) -> Texts | None:
        """The texts of the row if they are plain."""
        asked, first, second = self.plain
        texts = row[asked], row[first], row[second]
        return texts if _are_plain(*texts) else None

    def kind(self, row: dict[str, Any]) -> str:
        """What decides about the reading beside other cells."""
        return "plain"

    def stand_ins(self, row: dict[str, Any]) -> dict[str, Any]:
        """What takes the place of the texts."""
        return dict(zip(self.plain, _STAND_INS, strict=True))


class _Dialogues(NamedTuple):
    """The same for dialogues in both responses, behind a plain prompt if there is a column for it."""

    format: Format
    asked: str | None
    first: str
    second: str
    rest: _Rest
    prompts: tuple[str, ...]
    """Columns that hold the prompt in other formats: if one does, there is no reading without it."""

    def may_read(self, row: dict[str, Any]) -> bool:
        """Whether both responses are lists, or texts with marks of turns where these alone have the prompt."""
        kinds = type(row[self.first]), type(row[self.second])
        if self.asked is None:
            return kinds in _SAME_KINDS and all(is_empty(row[name]) for name in self.prompts)
        asked = row[self.asked]
        return kinds == (list, list) and type(asked) is str and not is_empty(asked) and is_plain(asked)

    def kind(self, row: dict[str, Any]) -> str:
        """What decides about the reading beside other cells."""
        return "transcripts" if type(row[self.first]) is str else "messages"

    def stand_ins(self, row: dict[str, Any]) -> dict[str, Any]:
        """What takes the place of the texts."""
        question, *answers = _STAND_INS
        asked = {} if self.asked is None else {self.asked: question}
        if type(row[self.first]) is str:
            sides: list[Any] = [f"\n\nHuman: {question}\n\nAssistant: {answer}" for answer in answers]
        else:
            user = {"role": "user", "content": question}
            sides = [[user, {"role": "assistant", "content": answer}] for answer in answers]
        return {**asked, self.first: sides[0], self.second: sides[1]}

    def said(self, row: dict[str, Any], before: tuple[Message, ...]) -> tuple[tuple[Message, ...], Texts] | None:
        """The whole prompt, and the three texts of the row; None if something is wrong with them.

        Parameters
        ----------
        row : dict
        before : tuple of Message
            What other columns say of what came before the prompt.
        """
        asked = before if self.asked is None else (*before, Message("user", row[self.asked]))
        try:
            prompt, first, second = sides(asked, row[self.first], row[self.second], (self.first, self.second))
        except RowError:
            return None
        responses = {"first response": first, "second response": second}
        if conversation_problem(prompt, responses) or normalised(first) == normalised(second):
            return None
        return prompt, (prompt[-1].content, first, second)


_SAME_KINDS = frozenset({(str, str), (list, list)})


def _others(rest: _Rest, row: dict[str, Any]) -> tuple[Any, ...] | None:
    """What of the other cells decides about the reading; None if they hold more than texts and numbers."""
    found: list[Any] = []
    for name, numbers, words in rest:
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
    if not (asked.isascii() and first.isascii() and second.isascii()) and not is_unicode(asked + first + second):
        return False
    question, one, other = normalised(asked), normalised(first), normalised(second)
    repeats = first.lstrip().startswith(asked.strip())
    return bool(question and one and other) and one != other and not repeats


def _columns(names: tuple[str, ...], config: IngestConfig) -> tuple[list[_Columns], list[_Dialogues]]:
    """The formats that may read rows with these names, by plain texts and by dialogues."""
    plain: list[_Columns] = []
    dialogues: list[_Dialogues] = []
    if not all(isinstance(name, str) for name in names):
        return plain, dialogues
    for format_ in FORMATS:
        if own := _own(names, config, *(format_.plain or ())):
            plain.append(_Columns(format_, (own[0], own[1], own[2]), _rest(names, config, format_, own)))
        asked = format_.plain[:1] if format_.plain else ()
        if format_.dialogues and (own := _own(names, config, *asked, *format_.dialogues)):
            rest = _rest(names, config, format_, own)
            dialogues.append(_Dialogues(format_, own[0] if asked else None, own[-2], own[-1], rest, ()))
    prompts = tuple(each.asked for each in dialogues if each.asked)
    return plain, [each._replace(prompts=prompts) for each in dialogues]


def _own(names: tuple[str, ...], config: IngestConfig, *columns: str) -> tuple[str, ...]:
    """The names that a row has for some columns; none if it lacks one."""
    own = tuple(config.fields.get(column, column) for column in columns)
    return own if set(own) <= set(names) else ()


def _rest(names: tuple[str, ...], config: IngestConfig, format_: Format, own: tuple[str, ...]) -> _Rest:
    read = {*format_.columns, *ORIGIN, *config.fields.values()}
    return tuple((name, name not in read, name in METADATA - read) for name in names if name not in own)
