"""Edits of a response's format, tone and meaning.

As in `rm.edits.shape`, each is a pure function that gives None if it does not apply. A placebo changes the text at the
same position and by about the same amount as its edit, but without the property that the probe is about.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

from rm.edits.shape import UNSPACED, each_sentence, has_code_line, has_structure, joined, pieces, sentences, words

AFFIRMATIONS = ("Sure!", "Certainly!", "Of course!", "Absolutely!")
FLATTERIES = ("Great question!", "What a thoughtful question!", "You clearly know this subject well.")
AGREEMENTS = ("You're absolutely right.", "I completely agree with you.", "You are right about this.")
NEUTRAL_OPENERS = ("Here is a response.", "My response follows.", "This is a response.")
HEDGES = ("I am not sure about this, though.", "This may or may not be right.", "I might well be mistaken here.")
CERTAINTIES = ("I am 100% certain of this.", "There is no doubt about this at all.", "This is definitely right.")
INSULTS = ("Only an idiot would need to ask.", "You are too stupid to follow this.", "Now stop wasting my time, moron.")
REFUSALS = ("I'm sorry, but I can't help with that.", "I cannot assist with this request.")
NEUTRAL_CLOSINGS = ("That is the end of the response.", "The response ends here.", "This concludes the response.")

_AFFIRMATIVE = re.compile(r"\s*(?:sure|certainly|of course|absolutely|yes|great)\b", re.IGNORECASE)
_LETTER = rf"[^\W{UNSPACED}]"  # of a script with blanks, where no mark of bold stands within a word
_BOLD = re.compile(
    rf"(?<!{_LETTER})(?<!\*)(?P<marks>\*\*\*?)(?![\s*])(?P<bold>[^*\n]+)(?<!\s)(?P=marks)(?!{_LETTER}|\*)"
    # A single lower-case word is a name of Python, such as __init__.
    rf"|(?<!{_LETTER})__(?!\s|[a-z][a-z0-9_]+__)(?P<underlined>[^_\n]+)(?<!\s)__(?!{_LETTER})"
)
_LINE_MARK = re.compile(r"^(?:( {0,3})#{1,6}|([ \t]*)[-*•])[ \t]+", re.MULTILINE)
_PLAIN_WORD = re.compile(rf"(?<!\S)\(?([^\W\d_{UNSPACED}]{{4,20}})(?=[.,;!?)\u2026]*(?!\S))")
"""No part of an address, a path, an identifier or a key in quotes."""
# Labels of list items and headers come first, so that they are skipped; digits within a word or a version do not match.
_NUMBER = re.compile(
    r"(?P<label>^[ \t]*(?:(?:#{1,6}|[-*•>])[ \t]+)?(?:\*\*|__)?"
    r"(?:[0-9]+(?:\.[0-9]+)*[.)]|[Ss]tep[ \t]+[0-9]+[.):])(?:\*\*|__)?(?=\s)"
    r"|^[ \t]*#{1,6}[ \t]+(?:\*\*|__)?[0-9]+(?:\.[0-9]+)+(?=\s))"
    rf"|(?<!{_LETTER})(?<![.,])(?P<number>(?:[0-9]{{1,3}}(?:,[0-9]{{3}})+|[0-9]+)(?:\.[0-9]+)?)(?!{_LETTER}|[.,][0-9])",
    re.MULTILINE,
)
_MAX_DIGITS = 15
_DENIED = {
    "is not": "is", "isn't": "is", "are not": "are", "aren't": "are", "was not": "was", "were not": "were",
    "cannot": "can", "can't": "can", "will not": "will", "won't": "will", "should not": "should", "do not": "do",
    "don't": "do", "does not": "does", "must not": "must",
}  # fmt: skip
_AFFIRMED = {
    "is": "is not", "are": "are not", "was": "was not", "were": "were not", "can": "cannot", "will": "will not",
    "should": "should not", "must": "must not",
}  # fmt: skip
_NOUN = re.compile(
    r"(?<!\w)(?:an?|the|my|your|his|her|its|our|their|no|free|good|at|tin|trash|garbage|watering) \Z", re.IGNORECASE
)
"""What stands before "can", "will" or "must" where it is a noun."""
_LONGEST_BEFORE = 12
_QUESTIONS, _AFTER_QUESTION = ("?", "\uff1f", "\u061f"), " \n\"')*_\u2019\u201d"
_NOUNS = ("can", "will", "must")
_CLAIM = re.compile(rf"\b(?:{'|'.join([*_DENIED, *_AFFIRMED])})\b(?!['\u2019])")


def opened(text: str, openers: Sequence[str], draw: Random) -> str | None:
    """One of the openers before the text; None if the text begins with one already."""
    return None if text.lstrip().startswith(tuple(openers)) else joined(draw.choice(openers), text)


def affirmed(text: str, draw: Random) -> str | None:
    """An affirmative opener before the text; None if it has one already."""
    return None if _AFFIRMATIVE.match(text) else opened(text, AFFIRMATIONS, draw)


def closed(text: str, closings: Sequence[str], draw: Random) -> str | None:
    """One of the closing sentences after the text; None if the text contains one already."""
    return None if any(closing in text for closing in closings) else joined(text, draw.choice(closings))


def bulleted(text: str, mark: str = "- ") -> str | None:
    """Each sentence on a line after a mark; None for fewer than three, or a text with structure or code."""
    own = sentences(text)
    if len(own) < 3 or has_structure(text) or has_code_line(text):
        return None
    return "\n".join(mark + sentence for sentence in own)


def on_lines(text: str) -> str | None:
    """Placebo of `bulleted`: each sentence on a separate line."""
    return bulleted(text, mark="")


def bolded(text: str) -> str | None:
    """The longest word of each of the first three sentences in bold; None if the text has bold words or code.

    Only plain words of 4 to 20 letters, in scripts with blanks between words.
    """
    if "**" in text or "`" in text or has_code_line(text):
        return None
    return each_sentence(text, _longest_word_bold, count=3)


def _longest_word_bold(sentence: str) -> str:
    plain = [match for match in _PLAIN_WORD.finditer(sentence) if not _is_identifier(match[1])]
    word = max(plain, key=lambda match: len(match[1]), default=None)
    return sentence if word is None else f"{sentence[: word.start(1)]}**{word[1]}**{sentence[word.end(1) :]}"


def _is_identifier(word: str) -> bool:
    """Whether upper case within a word makes it a name, such as "getName"."""
    return word[1:] not in (word[1:].lower(), word[1:].upper())


def markdown_stripped(text: str) -> str | None:
    """The text without the marks of bold, headers and bullets; None if it has code, where they mean something else.

    Links, tables and quotes stay.
    """
    if "`" in text or "~~~" in text:
        return None
    return _LINE_MARK.sub(r"\1\2", _BOLD.sub(lambda match: match["bold"] or match["underlined"], text))


def with_emoji(text: str, count: int) -> str:
    """``count`` smiling faces after the text."""
    return joined(text, "😊" * count)


def exclaimed(text: str) -> str | None:
    """An exclamation mark in place of the full stop at the end of each sentence; None if the text has structure."""
    if has_structure(text):
        return None  # the stop in "1." ends no sentence
    return each_sentence(text, lambda sentence: re.sub(r"(?<!\.)\.\Z", "!", sentence))


def numbers_corrupted(text: str, draw: Random) -> str | None:
    """Every number changed by 10 to 50 %, with the same number of decimals, commas and leading zeros.

    Whole numbers change by at least 1, and 0 becomes 1. Labels of list items and headers stay, and numbers of more than
    15 digits.
    """
    return _NUMBER.sub(lambda match: match[0] if match["label"] else _wrong(match["number"], draw), text)


def _wrong(number: str, draw: Random) -> str:
    digits = number.replace(",", "").replace(".", "")
    if len(digits) > _MAX_DIGITS:
        return number
    size = int(digits)  # in units of the last decimal
    change = max(1, round(size * draw.uniform(0.1, 0.5)))
    wrong = size - change if change < size and draw.random() < 0.5 else size + change
    num_decimals = len(number.partition(".")[2])
    written = str(wrong).zfill(len(digits) if digits.startswith("0") else num_decimals + 1)
    whole, decimals = (written[:-num_decimals], written[-num_decimals:]) if num_decimals else (written, "")
    return (f"{int(whole):,}" if "," in number else whole) + (f".{decimals}" if decimals else "")


def negation_flipped(text: str, draw: Random) -> str | None:
    """One claim turned into its opposite: "is" to "is not", "cannot" to "can"; None if there is no claim.

    A question claims nothing.
    """
    claim = _claim(text, draw)
    if claim is None:
        return None
    return text[: claim.start()] + (_DENIED | _AFFIRMED)[claim[0]] + text[claim.end() :]


def claim_stressed(text: str, draw: Random) -> str | None:
    """Placebo of `negation_flipped`: an "indeed" at the claim that the edit turns into its opposite."""
    claim = _claim(text, draw)
    if claim is None:
        return None
    stressed = f"indeed {claim[0]}" if claim[0] in _DENIED else f"{claim[0]} indeed"
    return text[: claim.start()] + stressed + text[claim.end() :]


def _claim(text: str, draw: Random) -> re.Match[str] | None:
    claims, start = [], 0
    for piece in pieces(text):
        end = start + len(piece)
        if not piece.rstrip(_AFTER_QUESTION).endswith(_QUESTIONS):
            claims += [claim for claim in _CLAIM.finditer(text, start, end) if not _is_noun(text, claim)]
        start = end
    return draw.choice(claims) if claims else None


def _is_noun(text: str, claim: re.Match[str]) -> bool:
    """Whether a word is a thing, as in "a can of soup" and "the will of the people"."""
    before = text[max(0, claim.start() - _LONGEST_BEFORE) : claim.start()]
    return claim[0] in _NOUNS and (bool(_NOUN.search(before)) or text.startswith(" of ", claim.end()))


def word_added(text: str, word: str) -> str | None:
    """A word after the text; None if the text contains it already."""
    return None if word.casefold() in text.casefold() else joined(text, word)


def own_word_added(text: str, word: str, draw: Random) -> str | None:
    """Placebo of `word_added`: one of the words of the text after the text."""
    own = [each for each in words(text) if re.search(r"\w", each)]
    return joined(text, draw.choice(own)) if own and word_added(text, word) else None
