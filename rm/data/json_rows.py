"""Rows of JSON: one object per line, or the elements of one array, alone or in an object."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import numpy as np
import orjson

from rm.data.formats.row import RowError, json_value
from rm.data.json_text import DoubledKey, JsonText
from rm.data.source_row import MAX_ROW, TOO_LARGE, Part, Row

Opened = Callable[[], io.BufferedReader]
"""Opens a file at its beginning."""

BOM = b"\xef\xbb\xbf"
_OF_ALL_ROWS = ("system", "system_prompt", "prompt", "instruction", "context")
_WRAPPERS = ("data", "rows", "examples", "instances", "items", "records")


def json_rows(opened: Opened) -> Iterator[Row]:
    """The elements of one array, alone or in an object, or one object per line: many files named .json hold lines.

    Rows are read one after another; an object that holds no rows is one row.
    """
    first, is_line = _beginning(opened)
    if first.startswith(b"["):
        return _only(opened, _elements)
    return _object_or_lines(opened) if first.startswith(b"{") and not is_line else _lines(opened)


def _beginning(opened: Opened) -> tuple[bytes, bool]:
    """The first line that is not empty, and whether it is an object and others follow."""
    with opened() as content:
        # In pieces: an array may be one line of any length.
        lines = (line.removeprefix(BOM).strip() for line in _pieces(content))
        first = next(filter(None, lines), b"")
        return first, first.startswith(b"{") and first.endswith(b"}") and any(lines)


def parts(opened: Opened, size: int) -> list[Part]:
    """Parts of a file with an object per line, of about some bytes; no other file can be read from the middle."""
    if not _beginning(opened)[1]:
        return []
    found: list[Part] = []
    start = before = place = lines = 0
    with opened() as content:
        while block := content.read(_LINES_AT_ONCE):
            lines += block.count(b"\n")
            end = place + block.rfind(b"\n") + 1
            if end > place and end - start >= size:
                found.append(Part(start, end, before))
                start, before = end, lines
            place += len(block)
    return [*found, Part(start, place, before)] if place > start else found


def rows_of_part(opened: Opened, part: Part) -> Iterator[Row]:
    """The rows of a part, which is all that is opened."""
    return _lines(opened, part.before)


def _pieces(content: io.BufferedReader) -> Iterator[bytes]:
    """Lines, or pieces of one; without blank ones, of which a small compressed file may have a thousand million."""
    while head := content.peek():
        if head.isspace():
            content.read(len(head))
        else:
            yield content.readline(MAX_ROW)


def _only(opened: Opened, rows: Callable[[JsonText], Iterator[Row]]) -> Iterator[Row]:
    """The rows of a file that holds nothing after them."""
    with opened() as content:
        text = JsonText(content)
        yield from rows(text)
        text.end()


def _elements(text: JsonText) -> Iterator[Row]:
    text.take("[", "Expecting value")
    if text.next_character() == "]":
        text.take("]", "")
        return
    held = text.held
    for position in count(1):
        try:
            row = Row(position, text.value(f"row {position}"))
        except DoubledKey as error:
            row = Row(position, None, error.text.encode("utf-8", "surrogatepass"), str(error))
        text.held = held
        yield row
        if text.take(",]", "Expecting ',' delimiter") == "]":
            return


def _object_or_lines(opened: Opened) -> Iterator[Row]:
    """The rows of an object; if it breaks off before the first, the file has lines, the first of which is broken."""
    rows = _only(opened, _members)
    try:
        first = next(rows, None)
    except RowError:
        raise
    except (ValueError, RecursionError):
        rows, first = _lines(opened), None
    if first is not None:
        yield first
    yield from rows


def _members(text: JsonText) -> Iterator[Row]:
    """The rows in a list of an object, or the object alone."""
    value: dict[str, Any] = {}
    text.take("{", "Expecting value")
    after = text.take("}", "") if text.next_character() == "}" else ","
    while after == ",":
        yield from _member(text, value)
        if text.held > MAX_ROW:
            raise RowError(f"row 1: {TOO_LARGE}")
        after = text.take(",}", "Expecting ',' delimiter")
    wrapper = next((key for key in _WRAPPERS if isinstance(value.get(key), list)), None)
    if wrapper is None:
        text.end()
        yield Row(1, value)
        return
    for name, beside in value.items():
        if name != wrapper and beside and (isinstance(beside, list) or name in _OF_ALL_ROWS):
            raise RowError(f"expected rows under {wrapper} alone, or one object per line, got {name} beside it")


def _member(text: JsonText, value: dict[str, Any]) -> Iterator[Row]:
    """Add a member to an object; yields the rows of a list of rows, of which only whether there are any is added."""
    if text.next_character() != '"':
        text.take('"', "Expecting property name enclosed in double quotes")
    key = text.value()
    text.take(":", "Expecting ':' delimiter")
    if key in value:
        raise RowError(f"expected each key once, got {key!r} twice")
    if key not in _WRAPPERS or text.next_character() != "[":
        value[key] = text.value()
        return
    value[key] = []
    for row in _elements(text):
        value[key] = [row.line]
        yield row


_LINES_AT_ONCE = 1 << 18
"""Bytes of lines whose colons are counted together."""
_SHOWN = 1000
"""Bytes that are kept of a line that is too large."""


def _lines(opened: Opened, before: int = 0) -> Iterator[Row]:
    number = before
    with opened() as content:
        for block in _blocks(content):
            if block.isspace():
                number += block.count(b"\n")
                continue
            lines = io.BytesIO(block).readlines()
            for line, most_keys in zip(lines, _most_keys(block, lines), strict=True):
                number += 1
                if len(line) > MAX_ROW:
                    yield Row(number, None, line[:_SHOWN], TOO_LARGE)
                elif stripped := line.removeprefix(BOM).strip():
                    yield _line(number, stripped, most_keys)


def _blocks(content: io.BufferedReader) -> Iterator[bytes]:
    """Some whole lines at a time; of one that is larger than `MAX_ROW` only the beginning, which is larger too."""
    rest: list[bytes] = []
    while block := content.read(_LINES_AT_ONCE):
        head, end, tail = block.rpartition(b"\n")
        if end:
            yield b"".join((*rest, head, end))
            rest = []
        if sum(map(len, rest)) <= MAX_ROW:
            rest.append(tail)
    if rest:
        yield b"".join(rest)


def _line(number: int, raw: bytes, most_keys: int) -> Row:
    try:
        value = orjson.loads(raw)
        if _num_keys(value) == most_keys:
            return Row(number, value, raw)
    except (ValueError, RecursionError):
        pass
    return _strictly(number, raw)


def _strictly(number: int, raw: bytes) -> Row:
    """The line as Python's own parser reads it, which sees each key and every number, and says what is wrong."""
    try:
        return Row(number, json_value(raw), raw)
    except UnicodeDecodeError as error:
        return Row(number, None, raw, f"not UTF-8 at byte {error.start + 1} of the line")
    except json.JSONDecodeError as error:
        return Row(number, None, raw, f"not JSON at column {error.colno}: {error.msg}")
    except RowError as error:
        return Row(number, None, raw, str(error))
    except (ValueError, RecursionError) as error:
        return Row(number, None, raw, f"JSON that Python cannot hold: {error}")


_QUOTE, _COLON, _SPACE = b'": '


def _most_keys(block: bytes, lines: list[bytes]) -> list[int]:
    """For each line of a block a number that its keys do not exceed: its colons behind a quote or white space.

    orjson keeps the last of two equal keys unsaid. If the object that it gives has as many keys, no key came twice.
    """
    text = np.frombuffer(block, dtype=np.uint8)
    colons = np.flatnonzero(text == _COLON)
    before = text[colons - 1]
    ends = np.cumsum([len(line) for line in lines])
    line_of = np.searchsorted(ends, colons[(before == _QUOTE) | (before <= _SPACE)], side="right")
    most: list[int] = np.bincount(line_of, minlength=len(lines)).tolist()
    return most


_LARGEST_WHOLE = float(1 << 63)


def _num_keys(value: Any) -> int:
    """The number of keys in a value; negative if it has a number that orjson may have rounded to a float."""
    if isinstance(value, dict):
        number = len(value)
        for each in value.values():
            if type(each) in _WITH_KEYS:
                number += _num_keys(each)
        return number
    if isinstance(value, list):
        return sum(_num_keys(each) for each in value if type(each) in _WITH_KEYS)
    return _ROUNDED if isinstance(value, float) and abs(value) >= _LARGEST_WHOLE else 0


_WITH_KEYS = frozenset({dict, list, float})
"""Types of values that may have keys, or may be whole numbers that were too large for orjson."""
_ROUNDED = -(1 << 62)
