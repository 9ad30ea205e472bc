"""JSON in one piece, parsed value by value, so that memory holds little more than the largest value."""

from __future__ import annotations

import codecs
import io
import json
import re
from typing import Any

from rm.data.formats.row import RowError, object_of_pairs
from rm.data.source_row import MAX_ROW, TOO_LARGE

_AT_ONCE = 1 << 20
"""Bytes that are read at once, at least."""
_CUT = 16
"""Characters before the end of what was read in which an error may be that the text was cut there."""
_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder(object_pairs_hook=object_of_pairs)
_LENIENT = json.JSONDecoder()


class DoubledKey(RowError):
    """A value with a key that comes twice, behind which the text goes on."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(reason)
        self.text = text


class JsonText:
    """A JSON text and a place in it; errors are those of `json.loads`, with line and column in the whole text.

    Parameters
    ----------
    content : io.BufferedReader
        UTF-8, perhaps with a byte order mark.
    """

    def __init__(self, content: io.BufferedReader) -> None:
        self._content = content
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogatepass")
        self._num_bytes = self._lines_before = self._columns_before = self._place = 0
        self._text = ""
        self._ended = False
        self.held = 0
        """Characters of the values that were stepped over; who does not keep a value takes them off."""

    def next_character(self) -> str:
        """The next character that is no white space, which stays the next one; empty at the end."""
        while True:
            if found := _SPACE.match(self._text, self._place):
                self._place = found.end()
            if self._place < len(self._text) or self._ended:
                return self._text[self._place : self._place + 1]
            self._read()

    def take(self, characters: str, otherwise: str) -> str:
        """Step over the next character, one of some; another one is an error."""
        found = self.next_character()
        if not found or found not in characters:
            raise self._error(otherwise, self._place)
        self._place += 1
        return found

    def value(self, name: str = "a value") -> Any:
        """Step over the next value.

        Parameters
        ----------
        name : str
            What an error calls the value.

        Raises
        ------
        DoubledKey
            The next value is then the one behind it.
        json.JSONDecodeError, ValueError, RecursionError
            As `rm.data.formats.row.json_value`, or if the value is larger than `MAX_ROW`.
        """
        self.next_character()
        decoder, reason = _DECODER, ""
        while True:
            try:
                value, end = decoder.raw_decode(self._text, self._place)
            except RowError as error:
                decoder, reason = _LENIENT, str(error)
                continue
            except json.JSONDecodeError as error:
                end = len(self._text)
                if self._ended or (error.pos < end - _CUT and not error.msg.startswith("Unterminated string")):
                    raise self._error(error.msg, error.pos) from None
            else:
                if end < len(self._text) or self._ended:  # else a number may go on
                    break
            self._check_size(name, end)
            self._read()
        self._check_size(name, end)
        text = self._text[self._place : end] if reason else ""
        self.held += end - self._place
        self._place = end
        if reason:
            raise DoubledKey(reason, text)
        return value

    def _check_size(self, name: str, end: int) -> None:
        if end - self._place > MAX_ROW:
            raise RowError(f"{name}: {TOO_LARGE}")

    def end(self) -> None:
        """Anything but white space is an error."""
        if self.next_character():
            raise self._error("Extra data", self._place)

    def _read(self) -> None:
        """Read on; twice as much each time while one value goes on."""
        self._lines_before, self._columns_before = self._position(self._place)
        rest = self._text[self._place :]
        raw = self._content.read(max(_AT_ONCE, len(rest)))
        self._ended = not raw
        self._text, self._place = rest + self._decoded(raw), 0

    def _decoded(self, raw: bytes) -> str:
        is_first, waiting = not self._num_bytes, len(self._decoder.getstate()[0])
        try:
            text = self._decoder.decode(raw, final=self._ended)
        except UnicodeDecodeError as error:
            raise ValueError(f"not UTF-8 at byte {self._num_bytes - waiting + error.start + 1}") from None
        self._num_bytes += len(raw)
        return text.removeprefix("\ufeff") if is_first else text

    def _position(self, place: int) -> tuple[int, int]:
        """Whole lines, and characters of the line, before a place in the part that is held."""
        lines = self._text.count("\n", 0, place)
        if lines:
            return self._lines_before + lines, place - self._text.rindex("\n", 0, place) - 1
        return self._lines_before, self._columns_before + place

    def _error(self, message: str, place: int) -> json.JSONDecodeError:
        error = json.JSONDecodeError(message, self._text, place)
        lines, columns = self._position(place)
        error.lineno, error.colno = lines + 1, columns + 1
        return error
