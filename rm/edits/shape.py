"""Edits that change a response's length, order or spelling, but not its words.

An edit is a pure function of a text, and of a random number generator if it makes a choice. It gives None if it does
not apply, such as shuffling a text of one sentence. It may also give the text unchanged; who edits treats that as not
applicable, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
"""Scripts without blanks between words, within brackets of a pattern: Thai, Lao, Burmese, Khmer, kana and Han."""
_VOWELS_AND_TONES = (
    "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece\u102b-\u103e\u1056-\u1059\u17b4-\u17d3\u17dd"
    "\u3099\u309a\ufe00-\ufe0f\U000e0100-\U000e01ef"
)
_WIDE_MARKS = "\u3001-\u3003\u3008-\u3011\u3014-\u301f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
_WORD = re.compile(rf"[{UNSPACED}][{_VOWELS_AND_TONES}]*|[^\s{UNSPACED}{_WIDE_MARKS}]+")
"""A character with its marks stands for a word where there are no blanks, for no dictionary is needed then."""
_STOPS, _CLOSING = "\u3002\uff01\uff1f\u061f\u0964", "\u201d\u2019\u300d\u300f\uff09"
"""Ends of sentences after which there may be no blank, and quotes and brackets that may follow them."""
_SENTENCE_BREAK = re.compile(
    rf"(?<=[.!?])\s+|\n+|(?:(?<=[{_STOPS}])|(?<=[{_STOPS}][{_CLOSING}]))(?![{_STOPS}{_CLOSING}]|\Z)\s*"
)
_ABBREVIATION = re.compile(
    r"(?<![\w.])(?:[A-Z]\.)+\Z"
    r"|(?<![^\W\d])(?<!\.)(?:[ap]\.m|e\.g|i\.e|Ph\.D|Mrs?|Ms|Drs?|Prof|St|Mt|Jr|Sr|Gen|Gov|Capt|Lt|Col|Sgt|Rev|Hon"
    r"|Inc|Ltd|Corp|vs|etc|al|cf|ca|approx|resp)\.\Z"
)
_BEFORE_NUMBER = re.compile(r"(?<!\w)(?:[Nn]os?|[Ff]igs?|[Ee]qs?|[Cc]h|[Ss]ecs?|[Vv]ol|pp?|Art)\.\Z")
"""Abbreviations before a number alone: "No." may also be an answer."""
_LONGEST = 12
_STRUCTURE = re.compile(r"^[^\S\n]*(?:[-*•]\s|\d+[.)]\s|#{1,6}\s|\||>|```|~~~)", re.MULTILINE)
"""Without the empty lines before it, which would cost time by their square."""
_CODE_LINE = re.compile(r"^(?:[^\S\n]*(?:```|~~~)|(?: {4}|\t)[^\S\n]*\S)", re.MULTILINE)
_LETTER_PAIR = re.compile(r"([A-Za-z])(?!\1)(?=[A-Za-z])")
_EMPTY_LINE = "\n\n"
_MIN_WORDS = 5
_MAX_TRIES = 10


def sentences(text: str) -> list[str]:
    """Sentences and non-empty lines of a text, in order."""
    return [piece for piece in pieces(text.strip())[::2] if piece]


def pieces(text: str) -> list[str]:
    """Sentences and lines of a text, and between every two of them the blanks, if there are any."""
    found, end = [], 0
    for between in _SENTENCE_BREAK.finditer(text):
        if "\n" in between[0] or not _is_abbreviated(text, between):
            found += [text[end : between.start()], between[0]]
            end = between.end()
    return [*found, text[end:]]


def _is_abbreviated(text: str, between: re.Match[str]) -> bool:
    """Whether the stop before the blanks belongs to an abbreviation."""
    start, end = max(0, between.start() - _LONGEST), between.start()
    if _ABBREVIATION.search(text, start, end):
        return True
    return text[between.end() : between.end() + 1].isdigit() and bool(_BEFORE_NUMBER.search(text, start, end))


def words(text: str) -> list[str]:
    """Words of a text, or characters of scripts without blanks between words."""
    return _WORD.findall(text)


def has_structure(text: str) -> bool:
    """Whether a text contains a list, header, table, quote or code block, so that its lines are not only sentences."""
    return bool(_STRUCTURE.search(text))


def has_code_line(text: str) -> bool:
    """Whether a text contains a fence, or a line that four blanks before it make code."""
    return bool(_CODE_LINE.search(text))


def joined(text: str, other: str) -> str:
    """The text, a blank and the other text; an empty line for the blank where a line that would meet is structure.

    A sentence beside a fence, on the line of a header or in the row of a table would break the Markdown of both.
    """
    before = text.rstrip()
    meeting = before[before.rfind("\n") + 1 :], other.lstrip("\n").partition("\n")[0]
    return f"{before}{_EMPTY_LINE if any(map(_is_structure, meeting)) else ' '}{other}"


def _is_structure(line: str) -> bool:
    return has_structure(line) or has_code_line(line)


def ending_repeated(text: str, times: int) -> str | None:
    """The text followed by its last sentence, ``times`` times; None if it has only one or ends with structure."""
    own = sentences(text)
    if len(own) < 2 or _is_structure(text.rstrip().rpartition("\n")[2]) or not re.search(r"\w", own[-1]):
        return None
    return joined(text, " ".join(own[-1:] * times))


def repeated(text: str, times: float) -> str | None:
    """The text repeated ``times`` times; a fraction repeats only the first words, and None if there are too few."""
    own, rest = text.strip(), times % 1
    part = first_words(own, rest)
    if not own or (rest and not part):
        return None
    return (_EMPTY_LINE if "\n" in own or _is_structure(own) else " ").join([own] * int(times) + [part] * bool(part))


def first_words(text: str, share: float) -> str:
    """The first words of a text, or characters of scripts without blanks, at most that share of all of them."""
    return beginning(text, int(len(words(text)) * share))


def beginning(text: str, count: int) -> str:
    """The first words of a text, or characters of scripts without blanks: so many, or all if it has fewer."""
    ends = [word.end() for word in _WORD.finditer(text)][:count]
    return text[: ends[-1]] if ends else ""


def truncated(text: str, percent: float) -> str | None:
    """The first part of a text, cut off within a sentence; None for fewer than five words.

    In scripts without blanks between words, characters are counted.
    """
    found = list(_WORD.finditer(text))
    count = int(len(found) * percent / 100) if len(found) >= _MIN_WORDS else 0
    while count > 1 and _ends_sentence(text, found[count - 1].end()):
        count -= 1  # a part that ends with a sentence could be a complete, shorter response
    return text[: found[count - 1].end()] if count else None


def _ends_sentence(text: str, end: int) -> bool:
    return text.endswith((".", "!", "?", *_STOPS), 0, end) or text.startswith(tuple(_STOPS), end)


def sentences_shuffled(text: str, draw: Random) -> str | None:
    """The sentences in another order; None for fewer than three, or if the text has structure."""
    if has_structure(text):
        return None
    found = pieces(text.strip())
    return _shuffled(found[::2], ["", *found[1::2], ""], 3, draw)


def words_scrambled(text: str, draw: Random) -> str | None:
    """The words in another order, between the same spaces and line breaks; None for fewer than five words.

    In scripts without blanks between words, the characters change their order, between the same marks.
    """
    return _shuffled(words(text), _WORD.split(text.strip()), _MIN_WORDS, draw)


def _shuffled(moving: list[str], between: list[str], at_least: int, draw: Random) -> str | None:
    """The pieces in another order, with the same before the first, between every two and after the last."""
    if len(moving) < at_least:
        return None
    before = list(moving)
    for _ in range(_MAX_TRIES):  # a few sentences are often shuffled into their old order
        draw.shuffle(moving)
        if moving != before:
            return "".join(piece for pair in zip(between, [*moving, ""], strict=True) for piece in pair)
    return None


def mistyped(text: str, percent: float, draw: Random) -> str | None:
    """Typing errors in ``percent`` of the characters, at least one: letters swapped, doubled or left out."""
    starts = [match.start() for match in _LETTER_PAIR.finditer(text)]
    if not starts:
        return None
    count = min(len(starts), max(1, round(len(text) * percent / 100)))
    parts, end = [], 0
    for start in sorted(draw.sample(starts, count)):
        if start >= end:  # otherwise the previous error has changed this letter already
            one, other = text[start], text[start + 1]
            parts += [text[end:start], draw.choice([other + one, one + one + other, other])]
            end = start + 2
    return "".join([*parts, text[end:]])


def spaces_doubled(text: str) -> str | None:
    """Two spaces in place of every single space between words."""
    return re.sub(r"(?<=\S) (?=\S)", "  ", text)


def whitespace_trailing(text: str) -> str | None:
    """Spaces and line breaks after the text, which are invisible."""
    return text + "  \n\n"


def each_sentence(text: str, change: Callable[[str], str], count: int | None = None) -> str:
    """A text with a change made to its first ``count`` sentences, or to all of them."""
    found = pieces(text)
    own = [index for index in range(0, len(found), 2) if found[index].strip()]
    for index in own[:count]:
        found[index] = change(found[index])
    return "".join(found)
